import type { Word } from '../shared/calls'

const MOST_LETTERS = 74
const MOST_S = 6
const PAUSE_S = 1

export type Piece = Word & { before: string } // what stands between it and the word before it

/** The words with what stands between them, from the text that they are the words of. */
export function pieces(text: string, words: Word[]): Piece[] {
  let at = 0
  return words.map((word) => {
    const bare = word.word.trim()
    const found = text.indexOf(bare, at)
    const before = found < 0 ? ' ' : text.slice(at, found)
    if (found >= 0) at = found + bare.length
    return { ...word, word: bare, before }
  })
}

type Cue = { start: number; end: number; text: string }

function cues(words: Piece[]): Cue[] {
  const made: Cue[] = []
  for (const word of words) {
    const last = made.at(-1)
    const ended = !last || /[.!?。！？]$/.test(last.text) || word.start - last.end > PAUSE_S
    if (ended || last.text.length + word.word.length > MOST_LETTERS || word.end - last.start > MOST_S) {
      made.push({ start: word.start, end: word.end, text: word.word })
    } else {
      last.text += word.before + word.word
      last.end = word.end
    }
  }
  return made
}

function time(seconds: number, mark: string): string {
  const ms = Math.round(seconds * 1000)
  const part = (value: number, digits = 2) => String(value).padStart(digits, '0')
  return `${part(Math.floor(ms / 3_600_000))}:${part(Math.floor(ms / 60_000) % 60)}:${part(Math.floor(ms / 1000) % 60)}${mark}${part(ms % 1000, 3)}`
}

export function srt(words: Piece[]): string {
  return cues(words)
    .map(({ start, end, text }, index) => `${index + 1}\n${time(start, ',')} --> ${time(end, ',')}\n${text}\n`)
    .join('\n')
}

export function vtt(words: Piece[]): string {
  const said = cues(words).map(({ start, end, text }) => `${time(start, '.')} --> ${time(end, '.')}\n${text}\n`)
  return `WEBVTT\n\n${said.join('\n')}`
}
