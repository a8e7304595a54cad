import { say, type Words } from '../i18n'

type Child = Node | string | null | undefined | false
type Handlers = { [E in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[E]) => void }

export type Props = {
  say?: Words
  sayLabel?: Words
  sayPlaceholder?: Words
  sayTitle?: Words
  on?: Handlers
} & Record<string, string | number | boolean | null | undefined | Words | Handlers>

const SAID = { say: 'text', sayLabel: 'aria-label', sayPlaceholder: 'placeholder', sayTitle: 'title' } as const

/** An element; `say…` are words in the reader's language, which change with it. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (name in SAID) say(element, value as Words, SAID[name as keyof typeof SAID])
    else if (name === 'on') {
      for (const [event, handler] of Object.entries(value as Handlers)) {
        element.addEventListener(event, handler as EventListener)
      }
    } else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value))
  }
  element.append(...children.filter((child): child is Node | string => !!child))
  return element
}

const SVG = 'http://www.w3.org/2000/svg'

/** A line drawing; its meaning stands beside it or in its button's label. */
export function icon(path: string, size = 20): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  const attributes = { viewBox: '0 0 24 24', width: size, height: size, class: 'icon', 'aria-hidden': 'true' }
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, String(value))
  const line = document.createElementNS(SVG, 'path')
  line.setAttribute('d', path)
  svg.append(line)
  return svg
}

/** A button with an icon; without visible words its label says what it does. */
export function iconButton(path: string, label: Words, press: () => void, more: Props = {}): HTMLButtonElement {
  const props: Props = { type: 'button', class: 'icon-button', sayLabel: label, sayTitle: label, ...more }
  return h('button', { ...props, on: { click: press } }, icon(path))
}

/** A button with words. */
export function button(label: Words, press: () => void, more: Props = {}): HTMLButtonElement {
  return h('button', { type: 'button', class: 'button', say: label, ...more, on: { click: press } })
}

let named = 0

/** A label above its control. */
export function field(label: Words, control: HTMLElement, hint?: Words): HTMLElement {
  control.id ||= `control-${++named}`
  const below = hint && h('small', { say: hint, id: `${control.id}-hint` })
  if (below) control.setAttribute('aria-describedby', below.id)
  return h('div', { class: 'field' }, h('label', { for: control.id, say: label }), control, below)
}
