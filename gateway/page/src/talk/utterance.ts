import { samplesOf, type Word } from '../shared/calls'
import { h } from '../shared/dom'
import { RATE, type Player } from '../shared/player'
import { pieces } from '../listen/captions'

const FRAMES_A_MS = RATE / 1000

type Shown = { before: string; start: number; end: number; element: HTMLElement }

/** One answer: its words, its sound, and how much of it has been heard. */
export class Utterance {
  readonly element = h('p', { class: 'words spoken' })
  private words: Shown[] = []
  private from: number | null = null // place of its first sample in the player
  private frames = 0
  private cut: number | null = null // ms
  text = ''

  constructor(
    readonly id: string,
    private readonly player: Player,
  ) {}

  /** Words, with their times in this answer's sound where they have any. */
  say(delta: string, words: Word[]): void {
    this.text += delta
    if (!words.length) {
      this.element.append(delta)
      return
    }
    const shown = pieces(delta, words)
    for (const { word, before, start, end } of shown) {
      const element = h('span', { class: 'ahead' }, word)
      this.words.push({ before, start, end, element })
      this.element.append(before, element)
    }
    const told = shown.map(({ before, word }) => before + word).join('')
    if (delta.startsWith(told)) this.element.append(delta.slice(told.length))
  }

  /** Sound in base64, which is played behind what is queued. */
  sound(base64: string): void {
    if (this.cut !== null) return
    const samples = samplesOf(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)))
    const place = this.player.push(samples)
    this.from ??= place
    this.frames += samples.length
  }

  get heardMs(): number {
    if (this.cut !== null) return this.cut
    if (this.from === null) return 0
    const heard = Math.min(Math.max(0, this.player.heard - this.from), this.frames)
    return Math.floor(heard / FRAMES_A_MS)
  }

  get hasSound(): boolean {
    return this.frames > 0
  }

  /** Whether all of its sound so far has been heard. */
  get isHeard(): boolean {
    return this.heardMs >= Math.floor(this.frames / FRAMES_A_MS)
  }

  /** Stop it here. Returns the ms that were heard. */
  interrupt(): number {
    this.cut = this.heardMs
    this.light()
    this.element.classList.add('cut')
    return this.cut
  }

  /** What was heard of its words. */
  get heardText(): string {
    if (this.cut === null) return this.text
    return this.words
      .filter(({ start }) => start * 1000 < this.cut!)
      .map(({ before, element }) => before + element.textContent)
      .join('')
      .trim()
  }

  /** Light the words that have been heard, and the one that is. */
  light(): void {
    const now = this.heardMs / 1000
    const over = this.cut !== null || this.isHeard
    for (const { start, end, element } of this.words) {
      element.classList.toggle('ahead', now < start || (now === 0 && !over))
      element.classList.toggle('now', !over && start <= now && now < end)
    }
  }
}
