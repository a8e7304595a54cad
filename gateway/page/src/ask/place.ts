import { Composer } from '../shared/composer'
import { field, h } from '../shared/dom'
import { models } from '../shared/calls'
import { EXAMPLES } from '../shared/examples'
import { onAsked } from '../shared/handover'
import { takes } from '../shared/intake'
import { notice } from '../shared/notice'
import { keep, settings } from '../shared/settings'
import { text, type Key } from '../i18n'
import './ask.css'
import { Thread } from './thread'

const STARTERS = [
  ['pair', 'ask.example.colour'],
  ['three', 'ask.example.count'],
  ['circle', 'ask.example.describe'],
] as const

/** Ask: a picture, a question, and the answer as it comes. */
export function askPlace(): HTMLElement {
  const troubles = h('div', {})
  const welcome = h(
    'div',
    { class: 'welcome' },
    h('h1', { say: 'ask.title' }),
    h('p', { class: 'lead', say: 'ask.lead' }),
  )
  const thread = new Thread((busy) => composer.busy(busy))
  const composer = new Composer({
    label: 'ask.label',
    placeholder: 'ask.placeholder',
    send: (words, picture) => {
      welcome.hidden = true
      fresh.hidden = false
      troubles.replaceChildren()
      void thread.ask(words, picture)
    },
    stop: () => thread.stop(),
    fail: (failure) => troubles.replaceChildren(notice(failure)),
  })
  const fresh = h('button', { type: 'button', class: 'button quiet fresh', say: 'ask.fresh', hidden: true })
  fresh.addEventListener('click', () => {
    thread.clear()
    welcome.hidden = false
    fresh.hidden = true
    composer.input.focus()
  })
  const place = h(
    'section',
    { class: 'place-ask column' },
    welcome,
    thread.element,
    h('div', { class: 'dock' }, troubles, composer.element, h('div', { class: 'row under' }, picker(), fresh)),
  )
  welcome.append(starters((name, question) => void startWith(name, question)))
  async function startWith(name: keyof typeof EXAMPLES, question: Key): Promise<void> {
    await composer.take(await EXAMPLES[name]())
    composer.input.value = text(question)
    composer.input.focus()
  }
  takes(place, 'image', ([file]) => void composer.take(file))
  onAsked((picture) => void composer.take(picture))
  return place
}

function starters(start: (name: keyof typeof EXAMPLES, question: Key) => void): HTMLElement {
  const list = h('ul', { class: 'starters' })
  for (const [name, question] of STARTERS) {
    const image = h('img', { alt: '', width: 64, height: 64 })
    void EXAMPLES[name]().then((file) => (image.src = URL.createObjectURL(file)))
    const press = () => start(name, question)
    list.append(
      h(
        'li',
        {},
        h('button', { type: 'button', class: 'starter', on: { click: press } }, image, h('span', { say: question })),
      ),
    )
  }
  return list
}

/** Which LLaVA answers; where there are adapters, both side by side if wished. */
function picker(): HTMLElement {
  const select = h('select', {})
  const compare = h('input', { type: 'checkbox', id: 'compare' })
  const both = h('label', { class: 'check', for: 'compare' }, compare, h('span', { say: 'ask.compare' }))
  const box = h('div', { class: 'row adapters', hidden: true }, field('ask.model', select), both)
  const show = () => {
    settings.ask = { model: select.value || 'llava', compare: compare.checked }
    both.hidden = !select.value.includes(':')
    keep()
  }
  select.addEventListener('change', show)
  compare.addEventListener('change', show)
  const fill = async () => {
    const names = (await models().catch(() => [])).filter((name) => name.startsWith('llava'))
    box.hidden = names.length < 2
    select.replaceChildren(
      ...names.map((name) =>
        name === 'llava'
          ? h('option', { value: name, say: 'ask.base' })
          : h('option', { value: name }, name.slice('llava:'.length)),
      ),
    )
    select.value = names.includes(settings.ask.model) ? settings.ask.model : 'llava'
    compare.checked = settings.ask.compare
    if (names.length) show()
  }
  void fill()
  document.addEventListener('server-back', () => void fill())
  return box
}
