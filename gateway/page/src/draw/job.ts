import { draw, type Change } from '../shared/calls'
import { button, h } from '../shared/dom'
import { failureOf } from '../shared/failure'
import { announce } from '../shared/live'
import { notice } from '../shared/notice'
import { blobOf } from '../shared/pictures'
import { idOf, put, type Drawn } from '../shared/store'
import { say, text } from '../i18n'
import { parameters } from './form'
import { withTexts } from './png'

const PREVIEWS = 3

/** A picture while it is drawn: previews, then itself in the gallery. */
export class Job {
  readonly element: HTMLElement
  private readonly image = h('img', { class: 'canvas', hidden: true })
  private readonly state = h('p', { class: 'state small' })
  private readonly below = h('div', {})
  private readonly bar = h('div', { class: 'progress', role: 'progressbar', sayLabel: 'draw.drawing' })
  private readonly cancel = button('cancel', () => this.stop(), { class: 'button quiet' })
  private readonly stopping = new AbortController()

  constructor(
    private readonly drawn: Drawn,
    private readonly change: Change | null,
    private readonly again: () => void,
  ) {
    say(this.image, { key: 'draw.preview', with: { prompt: drawn.prompt } }, 'alt')
    const frame = h('div', { class: 'frame' }, this.image)
    const prompt = h('p', { class: 'prompt' }, drawn.prompt)
    this.element = h(
      'li',
      { class: 'tile job' },
      frame,
      this.bar,
      prompt,
      h('div', { class: 'row' }, this.state, h('span', { class: 'space' }), this.cancel),
      this.below,
    )
    void this.run()
  }

  private stop(): void {
    this.stopping.abort()
    this.element.remove()
  }

  private async run(): Promise<void> {
    const { prompt, size, style, negative, steps, guidance, seed } = this.drawn
    const wish = { prompt, size, seed, num_inference_steps: steps, guidance_scale: guidance, partial_images: PREVIEWS }
    const words = { ...wish, ...(style && { style }), ...(negative && { negative_prompt: negative }) }
    say(this.state, 'draw.drawing')
    const waiting = (ms: number) => say(this.state, { key: 'busy', with: { seconds: Math.ceil(ms / 1000) } })
    try {
      for await (const event of draw(words, this.change, { signal: this.stopping.signal, waiting })) {
        const picture = blobOf(event.b64_json, 'image/png')
        this.preview(picture)
        if (event.partial_image_index === undefined) await this.finish(picture, event.size, event.seed ?? seed)
      }
    } catch (error) {
      const failure = failureOf(error)
      if (failure) this.failed(notice(failure, () => this.restart()))
    }
  }

  private preview(picture: Blob): void {
    URL.revokeObjectURL(this.image.src)
    this.image.src = URL.createObjectURL(picture)
    this.image.hidden = false
  }

  private async finish(picture: Blob, size: string, seed: number): Promise<void> {
    const drawn = { ...this.drawn, seed }
    const texts = { parameters: parameters({ ...drawn, size: size.replace(' ', '') }), Software: 'Tritone' }
    const blob = await withTexts(picture, texts)
    await put({ id: await idOf(blob), time: Date.now(), blob, name: `tritone-${seed}.png`, drawn })
    announce(text({ key: 'draw.done', with: { prompt: drawn.prompt } }))
    this.element.remove()
  }

  private failed(said: HTMLElement): void {
    this.bar.hidden = true
    this.state.textContent = ''
    this.below.replaceChildren(said)
  }

  private restart(): void {
    this.element.remove()
    this.again()
  }
}
