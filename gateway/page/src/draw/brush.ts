import { button, field, h } from '../shared/dom'
import type { Change } from '../shared/calls'
import { keep, settings } from '../shared/settings'
import { number } from '../i18n'

const AREAS = {
  all: [0, 0, 1, 1],
  left: [0, 0, 0.5, 1],
  right: [0.5, 0, 0.5, 1],
  top: [0, 0, 1, 0.5],
  bottom: [0, 0.5, 1, 0.5],
  middle: [0.25, 0.25, 0.5, 0.5],
} as const
type Area = keyof typeof AREAS | 'brush'

/** A picture that is to be changed, as a whole, in a part, or where one paints. */
export class Brush {
  readonly element = h('div', { class: 'editing', hidden: true })
  private picture: Blob | null = null
  private readonly canvas = h('canvas', { class: 'paint', role: 'img', sayLabel: 'draw.change.canvas' })
  private readonly area = h('select', {})
  private readonly strength = h('input', { type: 'range', min: 0.1, max: 1, step: 0.05 })
  private readonly mark = new OffscreenCanvas(1, 1)
  private image: ImageBitmap | null = null

  constructor(private readonly left: () => void) {
    this.area.append(
      ...[...Object.keys(AREAS), 'brush'].map((name) =>
        h('option', { value: name, say: `draw.change.${name as Area}` }),
      ),
    )
    this.area.addEventListener('change', () => this.markArea())
    this.strength.value = String(settings.draw.strength)
    this.canvas.addEventListener('pointerdown', (event) => this.paint(event, true))
    this.canvas.addEventListener('pointermove', (event) => event.buttons && this.paint(event, false))
    const output = h('output', {})
    const show = () => (output.textContent = number(Number(this.strength.value), 2))
    this.strength.addEventListener('input', () => {
      show()
      settings.draw.strength = Number(this.strength.value)
      keep()
    })
    show()
    const strength = field('draw.strength', this.strength)
    strength.classList.add('slider')
    strength.append(output)
    this.element.append(
      h('h2', { say: 'draw.change.title' }),
      this.canvas,
      field('draw.change.where', this.area, 'draw.change.hint'),
      strength,
      button('draw.change.leave', () => this.leave(), { class: 'button quiet' }),
    )
  }

  async begin(picture: Blob): Promise<void> {
    this.picture = picture
    this.image = await createImageBitmap(picture)
    for (const each of [this.canvas, this.mark]) {
      each.width = this.image.width
      each.height = this.image.height
    }
    this.area.value = 'all'
    this.element.hidden = false
    this.markArea()
  }

  leave(): void {
    this.picture = null
    this.element.hidden = true
    this.left()
  }

  /** What the server is asked to change, or null where nothing is to be. */
  async change(): Promise<Change | null> {
    if (!this.picture || !this.image) return null
    const strength = Number(this.strength.value)
    if (this.area.value === 'all') return { image: this.picture, strength }
    const mask = new OffscreenCanvas(this.mark.width, this.mark.height)
    const brush = mask.getContext('2d')!
    brush.fillRect(0, 0, mask.width, mask.height)
    brush.globalCompositeOperation = 'destination-out' // transparent is what shall change
    brush.drawImage(this.mark, 0, 0)
    return { image: this.picture, mask: await mask.convertToBlob({ type: 'image/png' }), strength }
  }

  private markArea(): void {
    const brush = this.mark.getContext('2d')!
    const { width, height } = this.mark
    brush.clearRect(0, 0, width, height)
    const area = this.area.value as Area
    if (area !== 'brush' && area !== 'all') {
      const [x, y, w, h] = AREAS[area]
      brush.fillRect(x * width, y * height, w * width, h * height)
    }
    this.canvas.classList.toggle('brushing', area === 'brush')
    this.show()
  }

  private paint(event: PointerEvent, begins: boolean): void {
    if (this.area.value !== 'brush') {
      this.area.value = 'brush'
      this.markArea()
    }
    if (begins) this.canvas.setPointerCapture(event.pointerId)
    const box = this.canvas.getBoundingClientRect()
    const scale = this.mark.width / box.width
    const brush = this.mark.getContext('2d')!
    brush.beginPath()
    brush.arc(
      (event.clientX - box.left) * scale,
      (event.clientY - box.top) * scale,
      this.mark.width / 14,
      0,
      2 * Math.PI,
    )
    brush.fill()
    this.show()
  }

  private show(): void {
    const brush = this.canvas.getContext('2d')!
    brush.globalAlpha = 1
    brush.drawImage(this.image!, 0, 0)
    brush.globalAlpha = 0.6
    const veil = new OffscreenCanvas(this.mark.width, this.mark.height)
    const colour = veil.getContext('2d')!
    colour.drawImage(this.mark, 0, 0)
    colour.globalCompositeOperation = 'source-in'
    colour.fillStyle = getComputedStyle(this.canvas).getPropertyValue('color')
    colour.fillRect(0, 0, veil.width, veil.height)
    brush.drawImage(veil, 0, 0)
  }
}
