import { h } from './dom'

const region = h('div', { class: 'unseen', 'aria-live': 'polite' })

/** Where what streams is said to a screen reader. */
export function liveRegion(): HTMLElement {
  return region
}

export function announce(sentence: string): void {
  region.append(h('p', {}, sentence))
  while (region.childElementCount > 3) region.firstElementChild?.remove()
}

const SENTENCE = /[^.!?。！？\n]*[.!?。！？\n]+(?=\s|$|[^\x00-\x7f])/y

/** Says streamed text sentence by sentence, as half a sentence says nothing. */
export class Announcer {
  private rest = ''

  add(piece: string): void {
    this.rest += piece
    for (SENTENCE.lastIndex = 0; ;) {
      const from = SENTENCE.lastIndex
      const found = SENTENCE.exec(this.rest)
      if (!found || found[0] === '') {
        this.rest = this.rest.slice(from)
        return
      }
      if (found[0].trim()) announce(found[0].trim())
    }
  }

  end(): void {
    if (this.rest.trim()) announce(this.rest.trim())
    this.rest = ''
  }
}
