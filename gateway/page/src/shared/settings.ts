/** What the reader has chosen; it survives a reload. Keys are kept for the tab alone. */
const DEFAULTS = {
  language: '' as '' | 'en' | 'zh',
  theme: 'system' as 'system' | 'light' | 'dark',
  place: 'talk',
  ask: { model: 'llava', compare: false },
  draw: { style: '', size: 'auto', count: 1, steps: 20, guidance: 7.5, negative: '', strength: 0.7 },
  talk: { handsFree: true, microphone: '', voice: '' },
}

export type Settings = typeof DEFAULTS
const NAME = 'tritone.settings'
const KEY = 'tritone.key'

function read(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? '{}') as Partial<Settings>
    const ask = { ...DEFAULTS.ask, ...kept.ask }
    const draw = { ...DEFAULTS.draw, ...kept.draw }
    const talk = { ...DEFAULTS.talk, ...kept.talk }
    return { ...DEFAULTS, ...kept, ask, draw, talk }
  } catch {
    return structuredClone(DEFAULTS)
  }
}

export const settings: Settings = read()

/** Keep what was changed in `settings`. */
export function keep(): void {
  try {
    localStorage.setItem(NAME, JSON.stringify(settings))
  } catch {
    // A browser that keeps nothing shows the page all the same.
  }
}

let key = ''
try {
  key = sessionStorage.getItem(KEY) ?? ''
} catch {
  key = ''
}

export function apiKey(): string {
  return key
}

export function setApiKey(next: string): void {
  key = next
  try {
    sessionStorage.setItem(KEY, next)
  } catch {
    // It is still in memory.
  }
}
