/** Pictures of this browser, drawn or dropped, and their vectors. They never leave it but to be looked at. */
export type Drawn = {
  prompt: string
  style: string
  size: string
  steps: number
  guidance: number
  negative: string
  seed: number
  strength?: number
}
export type Kept = { id: string; time: number; blob: Blob; name: string; vector?: Float32Array; drawn?: Drawn }

const MEMORY = new Map<string, Kept>()
let opened: Promise<IDBDatabase | null> | undefined

function database(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    const request = indexedDB.open('tritone', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('pictures', { keyPath: 'id' })
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => resolve(null) // in some private windows: they are kept in memory
  })
  return opened
}

async function inStore<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | null> {
  const db = await database()
  if (!db) return null
  return new Promise((resolve) => {
    const request = work(db.transaction('pictures', mode).objectStore('pictures'))
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => resolve(null) // no room: they are kept in memory
  })
}

export async function all(): Promise<Kept[]> {
  if (!MEMORY.size)
    for (const each of (await inStore('readonly', (store) => store.getAll())) ?? []) MEMORY.set(each.id, each)
  return [...MEMORY.values()].sort((a, b) => b.time - a.time)
}

/** Keep a picture, or what is now known of it. */
export async function put(kept: Kept): Promise<void> {
  await all()
  MEMORY.set(kept.id, kept)
  await inStore('readwrite', (store) => store.put(kept))
  changed()
}

export async function remove(ids: string[]): Promise<void> {
  for (const id of ids) {
    MEMORY.delete(id)
    await inStore('readwrite', (store) => store.delete(id))
  }
  changed()
}

const PAUSE_MS = 250 // between two times that it is told: a folder has many pictures
let pausing = false
let more = false

function changed(): void {
  more = pausing
  if (pausing) return
  document.dispatchEvent(new CustomEvent('pictures'))
  pausing = true
  setTimeout(() => {
    pausing = false
    if (more) changed()
  }, PAUSE_MS)
}

/** The name of a picture's content, so that the same one is kept once. */
export async function idOf(blob: Blob): Promise<string> {
  if (!crypto.subtle) return crypto.randomUUID?.() ?? String(Math.random()) // plain http from elsewhere
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()))
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
