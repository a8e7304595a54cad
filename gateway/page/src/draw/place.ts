import type { Change } from '../shared/calls'
import { h } from '../shared/dom'
import { EXAMPLES } from '../shared/examples'
import { takes } from '../shared/intake'
import { prepared } from '../shared/pictures'
import type { Drawn } from '../shared/store'
import { say, type Key } from '../i18n'
import { Brush } from './brush'
import './draw.css'
import { DrawForm } from './form'
import { Gallery } from './gallery'
import { Job } from './job'

const STARTERS = [
  ['star', 'draw.example.star'],
  ['heart', 'draw.example.heart'],
  ['square', 'draw.example.square'],
] as const

/** Draw: words become a picture, while one looks. */
export function drawPlace(): HTMLElement {
  const submit = h('button', { class: 'button primary', say: 'draw.go' })
  const brush = new Brush(() => say(submit, 'draw.go'))
  const form = new DrawForm(submit, brush.element)
  const empty = starters((key) => form.example(key))
  const start = (drawn: Drawn, change: Change | null) => {
    const with_ = change ? { ...drawn, strength: change.strength } : drawn
    gallery.begin(new Job(with_, change, () => start(drawn, change)).element)
  }
  const change = async (picture: Blob) => {
    await brush.begin(await prepared(picture))
    say(submit, 'draw.change.go')
    form.prompt.focus({ preventScroll: true })
    scrollTo({ top: 0 })
  }
  const gallery = new Gallery(
    { like: (drawn) => form.like(drawn), change: (picture) => void change(picture) },
    (count) => (empty.hidden = count > 0),
  )
  form.element.addEventListener('submit', (event) => {
    event.preventDefault()
    void brush.change().then((wished) => {
      for (const drawn of form.wishes().reverse()) start(drawn, wished)
      gallery.element.scrollIntoView({ block: 'nearest', behavior: 'smooth' })
    })
  })
  const place = h(
    'section',
    { class: 'place-draw wide' },
    h('div', { class: 'side' }, h('h1', { say: 'draw.title' }), form.element),
    h('div', { class: 'wall' }, empty, gallery.element),
  )
  takes(place, 'image', ([file]) => file && void change(file))
  return place
}

function starters(start: (key: Key) => void): HTMLElement {
  const list = h('ul', { class: 'starters' })
  for (const [name, key] of STARTERS) {
    const image = h('img', { alt: '', width: 64, height: 64 })
    void EXAMPLES[name]().then((file) => (image.src = URL.createObjectURL(file)))
    list.append(
      h(
        'li',
        {},
        h(
          'button',
          { type: 'button', class: 'starter', on: { click: () => start(key) } },
          image,
          h('span', { say: key }),
        ),
      ),
    )
  }
  return h('div', { class: 'welcome' }, h('p', { class: 'lead', say: 'draw.lead' }), list)
}
