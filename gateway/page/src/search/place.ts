import { pictureOf } from '../shared/composer'
import { button, h, iconButton } from '../shared/dom'
import { EXAMPLES } from '../shared/examples'
import { Failure, failureOf } from '../shared/failure'
import { ICONS } from '../shared/icons'
import { chooser, takes } from '../shared/intake'
import { announce } from '../shared/live'
import { notice } from '../shared/notice'
import { all, remove, type Kept } from '../shared/store'
import { view } from '../shared/viewer'
import { say, text } from '../i18n'
import { add, look, ranked, vectorOfPicture, vectorOfText } from './index'
import './search.css'
import { Tile } from './tile'

const PAUSE_MS = 350 // in typing, before it is searched

/** Search: pictures found by words, in either language, or by a picture. */
export function searchPlace(): HTMLElement {
  return new Search().element
}

class Search {
  readonly element: HTMLElement
  private readonly words = h('input', {
    type: 'search',
    sayLabel: 'search.label',
    sayPlaceholder: 'search.placeholder',
    autocomplete: 'off',
  })
  private readonly like = h('div', { class: 'like', hidden: true })
  private readonly grid = h('ul', { class: 'gallery', sayLabel: 'search.results' })
  private readonly state = h('p', { class: 'state small', role: 'status' })
  private readonly bar = h('progress', { sayLabel: 'search.progress', hidden: true })
  private readonly waiting = h('div', {
    class: 'progress',
    role: 'progressbar',
    sayLabel: 'search.searching',
    hidden: true,
  })
  private readonly troubles = h('div', {})
  private readonly tiles = new Map<string, Tile>()
  private readonly empty: HTMLElement
  private readonly count = h('div', { class: 'row under' })
  private query: Float32Array | null = null
  private looking = false
  private asked = 0
  private typing = 0

  constructor() {
    const form = h('form', { class: 'composer search-bar', role: 'search' }, this.like, this.words)
    form.append(chooser('search.byPicture', 'image/*', ([file]) => file && void this.byPicture(file)))
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      void this.byWords()
    })
    this.words.addEventListener('input', () => {
      clearTimeout(this.typing)
      this.typing = window.setTimeout(() => void this.byWords(), PAUSE_MS)
    })
    const intake = () => [
      chooser('search.add', 'image/*', (files) => void this.take(files), { many: true, words: true }),
      chooser('search.folder', 'image/*', (files) => void this.take(files), { folder: true, many: true, words: true }),
    ]
    const examples = button(
      'search.examples',
      () => void Promise.all(Object.values(EXAMPLES).map((make) => make())).then((files) => this.take(files)),
    )
    this.empty = h(
      'div',
      { class: 'empty' },
      h('p', { class: 'lead', say: 'search.lead' }),
      h('div', { class: 'row centre' }, ...intake(), examples),
    )
    this.count.append(
      this.state,
      h('span', { class: 'space' }),
      ...intake(),
      iconButton(ICONS.bin, 'search.clear', () => void this.clear()),
    )
    this.element = h(
      'section',
      { class: 'place-search wide' },
      h('h1', { say: 'search.title' }),
      form,
      this.waiting,
      this.troubles,
      this.bar,
      this.count,
      this.grid,
      this.empty,
    )
    takes(this.element, 'image', (files) => void this.take(files))
    this.element.addEventListener('shown', () => void this.look())
    document.addEventListener('pictures', () => void this.show())
    document.addEventListener('server-back', () => void this.look())
    document.addEventListener('language', () => void this.show())
    void this.show()
  }

  private async take(files: File[]): Promise<void> {
    await add(files.filter((file) => file.type.startsWith('image/')))
    await this.look()
  }

  /** Whatever is new is looked at; what is known can be found meanwhile. */
  private async look(): Promise<void> {
    if (this.looking) return
    this.looking = true
    try {
      await look(
        (done, of) => {
          this.bar.hidden = done >= of
          this.bar.max = of
          this.bar.value = done
          if (done < of) say(this.state, { key: 'search.looking', with: { done, of } })
        },
        (kept) => {
          this.fail(new Failure('rule', `${kept.name}: not a picture that this browser can show`))
          void remove([kept.id])
        },
      )
    } catch (error) {
      this.fail(error, () => void this.look())
    }
    this.bar.hidden = true
    this.looking = false
    await this.show()
  }

  private async byWords(): Promise<void> {
    clearTimeout(this.typing)
    const words = this.words.value.trim()
    if (!words && !this.like.hidden) return
    this.unlike()
    await this.search(
      () => (words ? vectorOfText(words) : Promise.resolve(null)),
      () => void this.byWords(),
    )
  }

  private async byPicture(picture: Blob): Promise<void> {
    const image = pictureOf(picture, 'search.like')
    this.words.value = ''
    this.like.replaceChildren(
      image,
      iconButton(ICONS.close, 'picture.remove', () => (this.unlike(), void this.byWords()), { class: 'icon-button' }),
    )
    this.like.hidden = false
    await this.search(
      () => vectorOfPicture(picture),
      () => void this.byPicture(picture),
    )
  }

  private unlike(): void {
    this.like.hidden = true
    this.like.replaceChildren()
  }

  private async search(vector: () => Promise<Float32Array | null>, again: () => void): Promise<void> {
    const asked = ++this.asked
    this.troubles.replaceChildren()
    this.waiting.hidden = false
    try {
      const found = await vector()
      if (asked !== this.asked) return // something else was asked meanwhile
      this.query = found
      await this.show()
      if (found) announce(text({ key: 'search.found', with: { count: this.grid.childElementCount } }))
    } catch (error) {
      if (asked === this.asked) this.fail(error, again)
    }
    if (asked === this.asked) this.waiting.hidden = true
  }

  private fail(error: unknown, again?: () => void): void {
    const failure = failureOf(error)
    if (failure) this.troubles.replaceChildren(notice(failure, again))
  }

  private async show(): Promise<void> {
    const found = await ranked(this.query)
    this.grid.replaceChildren(...found.map(({ kept, score }) => this.tile(kept).scored(score)))
    this.empty.hidden = found.length > 0
    this.count.hidden = !found.length
    if (!this.looking)
      say(this.state, { key: found.length === 1 ? 'search.one' : 'search.count', with: { count: found.length } })
  }

  private tile(kept: Kept): Tile {
    const similar = () => void this.byPicture(kept.blob)
    const known =
      this.tiles.get(kept.id) ?? new Tile(kept, () => view(kept, [{ words: 'search.similar', work: similar }]))
    this.tiles.set(kept.id, known)
    return known
  }

  private async clear(): Promise<void> {
    if (confirm(text('search.clear.sure'))) await remove((await all()).map((each) => each.id))
  }
}
