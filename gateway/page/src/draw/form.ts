import { field, h } from '../shared/dom'
import { keep, settings } from '../shared/settings'
import type { Drawn } from '../shared/store'
import { number, text, type Key, type Words } from '../i18n'
import { SIZES, STYLES } from './styles'

const MOST_SEED = 2 ** 32

type Slider = { element: HTMLElement; input: HTMLInputElement }

function slider(label: Words, min: number, max: number, step: number, value: number): Slider {
  const input = h('input', { type: 'range', min, max, step })
  input.value = String(value)
  const output = h('output', {})
  const show = () => (output.textContent = number(Number(input.value), step < 1 ? (step < 0.1 ? 2 : 1) : 0))
  input.addEventListener('input', show)
  show()
  const element = field(label, input)
  element.classList.add('slider')
  element.append(output)
  return { element, input }
}

/** What a picture is drawn from. */
export class DrawForm {
  readonly prompt = h('textarea', { rows: 3, sayPlaceholder: 'draw.placeholder', required: true })
  private readonly style = h('select', {})
  private readonly size = h('select', {})
  private readonly count = h('select', {})
  private readonly seed = h('input', {
    type: 'text',
    inputmode: 'numeric',
    pattern: '[0-9]*',
    autocomplete: 'off',
    sayPlaceholder: 'draw.seed.new',
  })
  private readonly negative = h('textarea', { rows: 2 })
  private readonly steps = slider('draw.steps', 4, 50, 1, settings.draw.steps)
  private readonly guidance = slider('draw.guidance', 1, 20, 0.5, settings.draw.guidance)
  readonly element: HTMLElement

  constructor(submit: HTMLElement, editing: HTMLElement) {
    this.style.append(
      h('option', { value: '', say: 'draw.style.none' }),
      ...STYLES.map(({ name, key }) => h('option', { value: name, say: key })),
    )
    this.size.append(
      ...SIZES.map((size) =>
        h(
          'option',
          { value: size, ...(size === 'auto' ? { say: 'draw.size.auto' as Key } : {}) },
          size === 'auto' ? '' : size.replace('x', ' × '),
        ),
      ),
    )
    this.count.append(...[1, 2, 3, 4].map((count) => h('option', { value: count }, String(count))))
    const more = h(
      'details',
      { class: 'more' },
      h('summary', { say: 'draw.more' }),
      this.steps.element,
      this.guidance.element,
      field('draw.negative', this.negative),
    )
    this.element = h(
      'form',
      { class: 'draw-form' },
      editing,
      field('draw.prompt', this.prompt),
      h('div', { class: 'pair' }, field('draw.style', this.style), field('draw.size', this.size)),
      h('div', { class: 'pair' }, field('draw.count', this.count), field('draw.seed', this.seed)),
      more,
      submit,
    )
    this.show()
    this.element.addEventListener('change', () => this.keep())
    this.prompt.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      ;(this.element as HTMLFormElement).requestSubmit()
    })
  }

  private show(): void {
    const { style, size, count, negative, steps, guidance } = settings.draw
    this.style.value = style
    this.size.value = SIZES.includes(size) ? size : 'auto'
    this.count.value = String(count)
    this.negative.value = negative
    this.steps.input.value = String(steps)
    this.guidance.input.value = String(guidance)
    for (const each of [this.steps, this.guidance]) each.input.dispatchEvent(new Event('input'))
  }

  private keep(): void {
    settings.draw = {
      ...settings.draw,
      style: this.style.value,
      size: this.size.value,
      count: Number(this.count.value),
      steps: Number(this.steps.input.value),
      guidance: Number(this.guidance.input.value),
      negative: this.negative.value,
    }
    keep()
  }

  /** One wish for each picture; each has its own seed, the next after the one before. */
  wishes(): Drawn[] {
    this.keep()
    const { style, size, count, steps, guidance, negative } = settings.draw
    const given = this.seed.value.trim()
    const seed = /^\d+$/.test(given) ? Number(given) : Math.floor(Math.random() * MOST_SEED)
    const prompt = this.prompt.value.trim()
    return Array.from({ length: count }, (_, index) => ({
      prompt,
      style,
      size,
      steps,
      guidance,
      negative,
      seed: seed + index,
    }))
  }

  /** Take over what another picture was drawn from. */
  like(drawn: Drawn): void {
    this.prompt.value = drawn.prompt
    this.seed.value = String(drawn.seed)
    settings.draw = {
      ...settings.draw,
      style: drawn.style,
      size: drawn.size,
      steps: drawn.steps,
      guidance: drawn.guidance,
      negative: drawn.negative,
      count: 1,
    }
    this.show()
    this.prompt.focus()
  }

  example(key: Key): void {
    this.prompt.value = text(key)
    this.prompt.focus()
  }
}

/** The settings as one line, as other programs that draw write them too. */
export function parameters(drawn: Drawn): string {
  const lines = [drawn.prompt]
  if (drawn.negative) lines.push(`Negative prompt: ${drawn.negative}`)
  const rest = [`Steps: ${drawn.steps}`, `CFG scale: ${drawn.guidance}`, `Seed: ${drawn.seed}`, `Size: ${drawn.size}`]
  if (drawn.style) rest.push(`Style: ${drawn.style}`)
  if (drawn.strength !== undefined) rest.push(`Denoising strength: ${drawn.strength}`)
  return [...lines, rest.join(', ')].join('\n')
}
