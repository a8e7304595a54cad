import { h } from '../shared/dom'
import { say } from '../i18n'

export type State = 'idle' | 'connecting' | 'listening' | 'thinking' | 'speaking' | 'waiting' | 'interrupted' | 'error'

const BARS = [0.55, 1, 0.8]
const LOUD = 0.09 // the level of somebody who speaks plainly
const EASE = 0.35
const CALM = matchMedia('(prefers-reduced-motion: reduce)')

/** The one large control: it shows who speaks, and moves with the sound. */
export class Control {
  readonly element: HTMLElement
  readonly button: HTMLButtonElement
  private readonly bars = BARS.map(() => h('span', { class: 'bar-of-sound' }))
  private readonly ring = h('span', { class: 'ring' })
  private readonly name = h('p', { class: 'state-name', role: 'status' })
  private readonly hint = h('p', { class: 'small hint' })
  private shown = 0
  state: State = 'idle'

  constructor(private readonly level: () => number) {
    this.button = h('button', { type: 'button', class: 'orb' }, this.ring, h('span', { class: 'bars' }, ...this.bars))
    this.element = h('div', { class: 'control' }, this.button, this.name, this.hint)
    this.to('idle', true)
  }

  to(state: State, handsFree: boolean): void {
    const mode = handsFree ? 'free' : 'hold'
    if (state !== this.state && state !== 'idle') requestAnimationFrame(() => this.move())
    this.state = state
    this.element.dataset.state = state
    say(this.name, `talk.state.${state}`)
    say(this.hint, state === 'speaking' || state === 'listening' ? `talk.hint.${state}.${mode}` : `talk.hint.${mode}`)
    this.hint.hidden = state !== 'idle' && state !== 'speaking' && !(state === 'listening' && !handsFree)
    const press =
      state === 'idle' || state === 'error' || state === 'waiting'
        ? 'start'
        : state === 'speaking'
          ? 'interrupt'
          : handsFree
            ? 'end'
            : 'hold'
    say(this.button, `talk.press.${press}`, 'aria-label')
  }

  private move(): void {
    const loudness = CALM.matches ? 0 : Math.min(1, this.level() / LOUD)
    this.shown += (loudness - this.shown) * EASE
    const loud = Math.sqrt(this.shown)
    for (const [index, bar] of this.bars.entries()) bar.style.scale = `1 ${0.3 + 0.7 * BARS[index]! * loud}`
    this.ring.style.scale = String(1 + 0.14 * loud)
    if (this.state !== 'idle' && this.state !== 'error') requestAnimationFrame(() => this.move())
    else for (const element of [...this.bars, this.ring]) element.style.scale = ''
  }
}
