import { h, iconButton } from './dom'
import { failureOf, type Failure } from './failure'
import { say, type Words } from '../i18n'
import { ICONS } from './icons'
import { chooser, photograph } from './intake'
import { prepared } from './pictures'

type Options = {
  label: Words
  placeholder: Words
  send: (text: string, picture: Blob | null) => void
  stop: () => void
  fail: (failure: Failure) => void
  more?: HTMLElement[]
  /** What is told of a picture as soon as it is there; without it the picture waits for the words. */
  shown?: (picture: Blob | null) => void
}

/** Where one writes, and holds a picture beside the words. */
export class Composer {
  readonly element: HTMLElement
  readonly input: HTMLTextAreaElement
  private readonly held = h('div', { class: 'held', hidden: true })
  private readonly sendButton: HTMLButtonElement
  private readonly stopButton: HTMLButtonElement
  picture: Blob | null = null

  constructor(private readonly options: Options) {
    this.input = h('textarea', { rows: 1, sayLabel: options.label, sayPlaceholder: options.placeholder })
    this.input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      this.send()
    })
    this.sendButton = iconButton(ICONS.send, 'send', () => this.send(), { class: 'icon-button primary' })
    this.stopButton = iconButton(ICONS.stop, 'stop', options.stop, { class: 'icon-button primary', hidden: true })
    const camera = iconButton(ICONS.camera, 'camera.open', () => void this.photograph(), {
      class: 'icon-button camera',
    })
    const tools = h(
      'div',
      { class: 'tools' },
      chooser('picture.choose', 'image/*', ([file]) => void this.take(file)),
      camera,
    )
    tools.append(...(options.more ?? []), h('span', { class: 'space' }), this.stopButton, this.sendButton)
    this.element = h('div', { class: 'composer' }, this.held, this.input, tools)
  }

  /** Hold a picture until it is sent. */
  async take(file: Blob | undefined): Promise<void> {
    if (!file) return
    try {
      this.hold(await prepared(file))
      this.options.shown?.(this.picture)
      this.input.focus()
    } catch (error) {
      const failure = failureOf(error)
      if (failure) this.options.fail(failure)
    }
  }

  hold(picture: Blob | null): void {
    this.picture = picture
    this.held.hidden = !picture
    const drop = () => {
      this.hold(null)
      this.options.shown?.(null)
      this.input.focus()
    }
    this.held.replaceChildren()
    if (picture)
      this.held.append(
        pictureOf(picture),
        iconButton(ICONS.close, 'picture.remove', drop, { class: 'icon-button small' }),
      )
  }

  busy(is: boolean): void {
    const focused = document.activeElement === this.sendButton || document.activeElement === this.stopButton
    this.sendButton.hidden = is
    this.stopButton.hidden = !is
    if (focused) (is ? this.stopButton : this.input).focus()
  }

  private send(): void {
    const words = this.input.value.trim()
    if (!words || this.sendButton.hidden) return
    const picture = this.picture
    this.input.value = ''
    if (!this.options.shown) this.hold(null)
    this.options.send(words, picture)
  }

  private async photograph(): Promise<void> {
    try {
      const taken = await photograph()
      if (taken) await this.take(taken)
    } catch (error) {
      const failure = failureOf(error)
      if (failure) this.options.fail(failure)
    }
  }
}

/** A picture as it is shown beside words. */
export function pictureOf(picture: Blob, alt: Words = 'picture.yours'): HTMLImageElement {
  const element = h('img', { src: URL.createObjectURL(picture), class: 'thumb' })
  element.addEventListener('load', () => URL.revokeObjectURL(element.src), { once: true })
  say(element, alt, 'alt')
  return element
}
