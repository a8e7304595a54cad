import { h } from '../shared/dom'
import { all, type Drawn, type Kept } from '../shared/store'
import { view } from '../shared/viewer'

export type Actions = { like: (drawn: Drawn) => void; change: (picture: Blob) => void }

/** What has been drawn, newest first. */
export class Gallery {
  readonly element = h('ul', { class: 'gallery', sayLabel: 'draw.gallery' })
  private shown = new Map<string, HTMLElement>()

  constructor(
    private readonly actions: Actions,
    private readonly counted: (count: number) => void,
  ) {
    document.addEventListener('pictures', () => void this.refresh())
    void this.refresh()
  }

  async refresh(): Promise<void> {
    const kept = (await all()).filter((each) => each.drawn)
    const tiles = new Map(kept.map((each) => [each.id, this.shown.get(each.id) ?? this.tile(each)]))
    const jobs = [...this.element.querySelectorAll('.job')]
    this.shown = tiles
    this.element.replaceChildren(...jobs, ...tiles.values())
    this.counted(jobs.length + kept.length)
  }

  /** What is being drawn stands first. */
  begin(job: HTMLElement): void {
    this.element.prepend(job)
    this.counted(1)
  }

  private tile(kept: Kept): HTMLElement {
    const drawn = kept.drawn!
    const image = h('img', { alt: drawn.prompt, src: URL.createObjectURL(kept.blob), class: 'canvas' })
    const open = () =>
      view(kept, [
        { words: 'draw.like', work: () => this.actions.like(drawn) },
        { words: 'draw.change', work: () => this.actions.change(kept.blob) },
      ])
    return h('li', { class: 'tile' }, h('button', { type: 'button', class: 'frame', on: { click: open } }, image))
  }
}
