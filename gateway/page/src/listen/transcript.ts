import { h } from '../shared/dom'
import type { Piece } from './captions'

const ROUNDED = 0.005 // seconds that a place in a recording may lie before the one that was asked for

/** Words that play when they are pressed, and show where the recording is. Arrows go from word to word. */
export class Transcript {
  readonly element = h('p', { class: 'transcript' })
  private words: { piece: Piece; element: HTMLButtonElement }[] = []
  private frame = 0

  constructor(private readonly audio: HTMLAudioElement) {
    audio.addEventListener('play', () => this.follow())
    audio.addEventListener('seeked', () => this.mark())
    this.element.addEventListener('keydown', (event) => this.key(event))
  }

  /** Text without times yet. */
  text(words: string): void {
    this.words = []
    this.element.textContent = words
  }

  show(pieces: Piece[]): void {
    this.words = pieces.map((piece, index) => {
      const play = () => {
        this.audio.currentTime = piece.start
        this.audio.play().catch(() => undefined) // somebody paused it before it began
      }
      const element = h(
        'button',
        { type: 'button', class: 'word', tabindex: index ? -1 : 0, on: { click: play } },
        piece.word,
      )
      return { piece, element }
    })
    this.element.replaceChildren(...this.words.flatMap(({ piece, element }) => [piece.before, element]))
  }

  private follow(): void {
    cancelAnimationFrame(this.frame)
    this.mark()
    if (!this.audio.paused) this.frame = requestAnimationFrame(() => this.follow())
  }

  private mark(): void {
    const now = this.audio.currentTime + ROUNDED
    for (const { piece, element } of this.words) element.classList.toggle('now', piece.start <= now && now < piece.end)
  }

  private key(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowDown: 1,
      ArrowLeft: -1,
      ArrowUp: -1,
      Home: -1e6,
      End: 1e6,
    }
    const step = steps[event.key]
    const at = this.words.findIndex(({ element }) => element === document.activeElement)
    if (step === undefined || at < 0) return
    event.preventDefault()
    const next = this.words[Math.min(Math.max(at + step, 0), this.words.length - 1)]!
    this.words[at]!.element.tabIndex = -1
    next.element.tabIndex = 0
    next.element.focus()
  }
}
