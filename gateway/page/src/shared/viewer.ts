import { button, h, iconButton } from './dom'
import { askAbout } from './handover'
import { ICONS } from './icons'
import { save } from './pictures'
import { remove, type Drawn, type Kept } from './store'
import type { Key, Words } from '../i18n'

export type Action = { words: Words; work: () => void }

/** A picture large, what it was drawn from, and what can be done with it. */
export function view(kept: Kept, actions: Action[]): void {
  const close = () => dialog.close()
  const act = (work: () => void) => () => {
    close()
    work()
  }
  const url = URL.createObjectURL(kept.blob)
  const title = kept.drawn?.prompt ?? kept.name
  const all: Action[] = [...actions, { words: 'ask.about', work: () => askAbout(kept.blob) }]
  const buttons = h(
    'div',
    { class: 'row' },
    button('save', () => save(kept.blob, kept.name), { class: 'button primary' }),
    ...all.map(({ words, work }) => button(words, act(work))),
    iconButton(
      ICONS.bin,
      'remove',
      act(() => void remove([kept.id])),
    ),
  )
  const told = h(
    'div',
    { class: 'told' },
    h('p', { class: 'prompt', id: 'shown' }, title),
    kept.drawn && facts(kept.drawn),
    buttons,
  )
  const image = h('img', { src: url, alt: title, class: 'canvas' })
  const corner = iconButton(ICONS.close, 'close', close, { class: 'icon-button corner' })
  const dialog = h('dialog', { class: 'sheet picture', 'aria-labelledby': 'shown' }, corner, image, told)
  dialog.addEventListener('close', () => {
    dialog.remove()
    URL.revokeObjectURL(url)
  })
  dialog.addEventListener('click', (event) => event.target === dialog && close())
  document.body.append(dialog)
  dialog.showModal()
}

function facts({ seed, steps, guidance, style, negative }: Drawn): HTMLElement {
  const rows: [Words, Node | string | false][] = [
    ['draw.seed', String(seed)],
    ['draw.steps', String(steps)],
    ['draw.guidance', String(guidance)],
    ['draw.style', style !== '' && h('span', { say: `style.${style}` as Key })],
    ['draw.negative', negative],
  ]
  return h(
    'dl',
    {},
    ...rows.filter(([, value]) => value).flatMap(([name, value]) => [h('dt', { say: name }), h('dd', {}, value)]),
  )
}
