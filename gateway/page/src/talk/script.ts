import { pictureOf } from '../shared/composer'
import { h } from '../shared/dom'
import type { Utterance } from './utterance'
import { number } from '../i18n'

/** What both sides said, as it is said. */
export class Script {
  readonly element = h('ol', { class: 'thread', sayLabel: 'talk.script' })
  private readonly heard = new Map<string, HTMLElement>()

  /** Somebody begins to speak; his words come. */
  hearing(id: string): void {
    if (this.heard.has(id)) return
    const words = h('p', { class: 'hearing' }, '…')
    this.heard.set(id, words)
    this.add(h('li', { class: 'question' }, words))
  }

  hear(id: string, piece: string): void {
    this.hearing(id)
    const words = this.heard.get(id)!
    words.textContent = (words.classList.contains('begun') ? words.textContent! : '') + piece
    words.classList.add('begun')
  }

  /** What was said in the end; nothing, and the turn goes away. */
  understood(id: string, text: string): void {
    this.hearing(id)
    const words = this.heard.get(id)!
    words.classList.remove('hearing')
    words.textContent = text
    if (!text.trim()) words.parentElement!.remove()
  }

  write(text: string, picture: Blob | null): void {
    this.add(h('li', { class: 'question' }, picture && pictureOf(picture), text ? h('p', {}, text) : null))
  }

  answer(utterance: Utterance): void {
    this.add(h('li', { class: 'answers' }, h('article', { class: 'answer' }, utterance.element)))
  }

  /** How long the first sound of an answer took. */
  took(utterance: Utterance, seconds: number): void {
    utterance.element.parentElement?.append(
      h('p', { class: 'small took', sayTitle: 'talk.took' }, `${number(seconds, 1)} s`),
    )
  }

  follow(): void {
    this.element.lastElementChild?.scrollIntoView({ block: 'nearest' })
  }

  private add(turn: HTMLElement): void {
    this.element.append(turn)
    this.follow()
  }
}
