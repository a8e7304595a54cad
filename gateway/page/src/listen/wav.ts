import { RATE } from '../shared/player'

/** A WAV file of mono samples, −1..1. */
export function wav(parts: Float32Array[]): Blob {
  const count = parts.reduce((sum, part) => sum + part.length, 0)
  const view = new DataView(new ArrayBuffer(44 + 2 * count))
  const word = (at: number, letters: string) =>
    [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)))
  word(0, 'RIFF')
  view.setUint32(4, 36 + 2 * count, true)
  word(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, RATE, true)
  view.setUint32(28, 2 * RATE, true)
  view.setUint16(32, 2, true)
  view.setUint16(34, 16, true)
  word(36, 'data')
  view.setUint32(40, 2 * count, true)
  let at = 44
  for (const part of parts) {
    for (const sample of part) {
      view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true)
      at += 2
    }
  }
  return new Blob([view.buffer], { type: 'audio/wav' })
}
