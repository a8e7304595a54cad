import { en, type Key } from './en'
import { zh } from './zh'

export type { Key }
export type Language = 'en' | 'zh'
/** Words of the dictionaries, and what stands in their braces, which is said as it is: it may be the reader's own. */
export type Words = Key | { key: Key; with: Record<string, string | number> }

const DICTIONARIES: Record<Language, Record<Key, string>> = { en, zh }
const ATTRIBUTES = ['aria-label', 'placeholder', 'title', 'alt'] as const

let spoken: Language = 'en'

/** The language that the browser asks for. */
export function preferred(): Language {
  return navigator.languages
    .find((each) => /^(zh|en)\b/i.test(each))
    ?.toLowerCase()
    .startsWith('zh')
    ? 'zh'
    : 'en'
}

export function language(): Language {
  return spoken
}

/** The words, in the language of now. */
export function text(words: Words): string {
  const { key, with: values } = typeof words === 'string' ? { key: words, with: {} } : words
  return DICTIONARIES[spoken][key].replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = (values as Record<string, string | number>)[name] ?? ''
    return typeof value === 'number' ? number(value) : value
  })
}

export function number(value: number, digits = 0): string {
  return value.toLocaleString(spoken === 'zh' ? 'zh-CN' : 'en-GB', {
    maximumFractionDigits: digits,
    minimumFractionDigits: digits,
    useGrouping: false,
  })
}

/** Let an element say the words, now and after the language has changed. */
export function say(element: Element, words: Words, where: 'text' | (typeof ATTRIBUTES)[number] = 'text'): void {
  element.setAttribute(`data-say-${where}`, JSON.stringify(words))
  speak(element, where, words)
}

function speak(element: Element, where: string, words: Words): void {
  if (where === 'text') element.textContent = text(words)
  else element.setAttribute(where, text(words))
}

/** Change the language of everything that is shown. */
export function setLanguage(next: Language): void {
  spoken = next
  document.documentElement.lang = next === 'zh' ? 'zh-CN' : 'en'
  for (const where of ['text', ...ATTRIBUTES]) {
    for (const element of document.querySelectorAll(`[data-say-${where}]`)) {
      speak(element, where, JSON.parse(element.getAttribute(`data-say-${where}`) ?? '""') as Words)
    }
  }
  document.dispatchEvent(new CustomEvent('language'))
}
