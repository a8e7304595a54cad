import { embed } from '../shared/calls'
import { dataUrl } from '../shared/pictures'
import { all, idOf, put, type Kept } from '../shared/store'

const AT_ONCE = 8
const SIDE = 384 // more than CLIP looks at

export type Found = { kept: Kept; score: number | null }

/** Pictures of this browser, and the vectors by which they are found. */
export async function add(files: File[]): Promise<void> {
  const known = new Set((await all()).map((each) => each.id))
  for (const file of files) {
    const id = await idOf(file)
    if (!known.has(id)) await put({ id, time: Date.now(), blob: file, name: file.name })
    known.add(id)
  }
}

/** Look at what has not been looked at, some at a time; a file that is no picture is told by its name. */
export async function look(
  progress: (done: number, of: number) => void,
  unreadable: (kept: Kept) => void,
): Promise<void> {
  const blind = (await all()).filter((each) => !each.vector)
  for (let from = 0; from < blind.length; from += AT_ONCE) {
    progress(from, blind.length)
    const some = blind.slice(from, from + AT_ONCE)
    const small = await Promise.all(some.map(async (kept) => ({ kept, url: await smallUrl(kept.blob) })))
    for (const { kept, url } of small) if (!url) unreadable(kept)
    const seen = small.filter((each): each is { kept: Kept; url: string } => each.url !== null)
    const vectors = seen.length
      ? await embed(
          seen.map(({ url }) => url),
          {},
        )
      : []
    const still = new Set((await all()).map((each) => each.id)) // some may have been removed meanwhile
    for (const [index, vector] of vectors.entries()) {
      const { kept } = seen[index]!
      if (still.has(kept.id)) await put({ ...kept, vector })
    }
  }
  progress(blind.length, blind.length)
}

export async function vectorOfText(words: string): Promise<Float32Array> {
  return (await embed([words], {}))[0]!
}

export async function vectorOfPicture(picture: Blob): Promise<Float32Array | null> {
  const url = await smallUrl(picture)
  return url ? (await embed([url], {}))[0]! : null
}

/** All pictures, those first that go best with the query: the cosine of the angle between the two. */
export async function ranked(query: Float32Array | null): Promise<Found[]> {
  const kept = await all()
  if (!query) return kept.map((each) => ({ kept: each, score: null }))
  const scored = kept.map((each) => ({ kept: each, score: each.vector ? dot(each.vector, query) : null }))
  return scored.sort((a, b) => (b.score ?? -2) - (a.score ?? -2))
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0)
}

async function smallUrl(picture: Blob): Promise<string | null> {
  const bitmap = await createImageBitmap(picture).catch(() => null)
  if (!bitmap) return null
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height))
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.round(bitmap.width * scale)),
    Math.max(1, Math.round(bitmap.height * scale)),
  )
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return dataUrl(await canvas.convertToBlob({ type: 'image/png' }))
}
