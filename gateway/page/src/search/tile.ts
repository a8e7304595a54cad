import { h } from '../shared/dom'
import type { Kept } from '../shared/store'
import { number } from '../i18n'

/** A picture among those that are searched. */
export class Tile {
  private readonly score = h('span', { class: 'score', sayTitle: 'search.score' })
  private readonly element: HTMLElement

  constructor(kept: Kept, open: () => void) {
    const name = kept.drawn?.prompt ?? kept.name
    const image = h('img', { alt: name, src: URL.createObjectURL(kept.blob), class: 'canvas', loading: 'lazy' })
    const caption = h('p', { class: 'caption small' }, h('span', { class: 'name' }, name), this.score)
    this.element = h(
      'li',
      { class: 'tile' },
      h('button', { type: 'button', class: 'frame', on: { click: open } }, image),
      caption,
    )
  }

  /** Itself, with how well it goes with what is looked for. */
  scored(score: number | null): HTMLElement {
    this.score.hidden = score === null
    this.score.textContent = score === null ? '' : number(score, 2)
    return this.element
  }
}
