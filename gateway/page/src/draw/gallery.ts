import { button, h, iconButton } from '../shared/dom'
import { ICONS } from '../shared/icons'
import { save } from '../shared/pictures'
import { all, remove, type Drawn, type Kept } from '../shared/store'
import type { Words } from '../i18n'

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
    this.shown = tiles
    this.element.replaceChildren(...this.element.querySelectorAll('.job'), ...tiles.values())
    this.counted(kept.length)
  }

  /** What is being drawn stands first. */
  begin(job: HTMLElement): void {
    this.element.prepend(job)
    this.counted(1)
  }

  private tile(kept: Kept): HTMLElement {
    const image = h('img', { alt: kept.drawn!.prompt, src: URL.createObjectURL(kept.blob), class: 'canvas' })
    const open = h('button', { type: 'button', class: 'frame', on: { click: () => this.open(kept) } }, image)
    return h('li', { class: 'tile' }, open)
  }

  private open(kept: Kept): void {
    const drawn = kept.drawn!
    const close = () => dialog.close()
    const act = (work: () => void) => () => {
      close()
      work()
    }
    const url = URL.createObjectURL(kept.blob)
    const image = h('img', { src: url, alt: drawn.prompt, class: 'canvas' })
    const actions = h(
      'div',
      { class: 'row' },
      button('save', () => save(kept.blob, kept.name), { class: 'button primary' }),
      button('draw.like', act(() => this.actions.like(drawn))),
      button('draw.change', act(() => this.actions.change(kept.blob))),
      button('draw.ask', act(() => askAbout(kept.blob))),
      iconButton(ICONS.bin, 'remove', act(() => void remove([kept.id]))),
    )
    const text = h('div', { class: 'told' }, h('p', { class: 'prompt', id: 'drawn' }, drawn.prompt), facts(drawn), actions)
    const dialog = h('dialog', { class: 'sheet picture', 'aria-labelledby': 'drawn' }, iconButton(ICONS.close, 'close', close, { class: 'icon-button corner' }), image, text)
    dialog.addEventListener('close', () => {
      dialog.remove()
      URL.revokeObjectURL(url)
    })
    dialog.addEventListener('click', (event) => event.target === dialog && close())
    document.body.append(dialog)
    dialog.showModal()
  }
}

/** Take a picture to where it can be asked about. */
export function askAbout(picture: Blob): void {
  location.hash = '#ask'
  setTimeout(() => dispatchEvent(new CustomEvent('ask-about', { detail: picture })), 50)
}

function facts(drawn: Drawn): HTMLElement {
  const style: Words | string = drawn.style ? (`style.${drawn.style}` as Words) : ''
  const rows: [Words, string, Words?][] = [
    ['draw.seed', String(drawn.seed)],
    ['draw.steps', String(drawn.steps)],
    ['draw.guidance', String(drawn.guidance)],
    ...(style ? [['draw.style', '', style as Words] as [Words, string, Words]] : []),
    ...(drawn.negative ? [['draw.negative', drawn.negative] as [Words, string]] : []),
  ]
  return h('dl', {}, ...rows.flatMap(([name, value, words]) => [h('dt', { say: name }), words ? h('dd', { say: words }) : h('dd', {}, value)]))
}
