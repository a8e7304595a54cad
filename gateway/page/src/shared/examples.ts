/** Pictures that the page draws itself, so that an empty place has something to begin with. */
type Shape = 'circle' | 'square' | 'triangle' | 'star' | 'heart'
export type Thing = { shape: Shape; colour: string; x: number; y: number; radius: number }

const SIDE = 256

function path(shape: Shape, x: number, y: number, r: number): Path2D {
  const line = new Path2D()
  const polygon = (points: [number, number][]) => {
    for (const [a, b] of points) line.lineTo(x + r * a, y + r * b)
    line.closePath()
  }
  const turn = (step: number, of: number, radius = 1): [number, number] => [
    radius * Math.sin((2 * Math.PI * step) / of),
    -radius * Math.cos((2 * Math.PI * step) / of),
  ]
  const heart = (t: number): [number, number] => [
    Math.sin(t) ** 3,
    -(13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t)) / 16 - 0.1,
  ]
  const steps = (count: number) => Array.from({ length: count }, (_, step) => step)
  if (shape === 'circle') line.arc(x, y, r, 0, 2 * Math.PI)
  if (shape === 'square')
    polygon([
      [-0.85, -0.85],
      [0.85, -0.85],
      [0.85, 0.85],
      [-0.85, 0.85],
    ])
  if (shape === 'triangle')
    polygon([
      [0, -0.95],
      [0.98, 0.8],
      [-0.98, 0.8],
    ])
  if (shape === 'star') polygon(steps(10).map((step) => turn(step, 10, step % 2 ? 0.42 : 1)))
  if (shape === 'heart') polygon(steps(48).map((step) => heart((2 * Math.PI * step) / 48)))
  return line
}

/** A PNG of shapes on a ground. */
export async function paint(name: string, ground: string, things: Thing[]): Promise<File> {
  const canvas = new OffscreenCanvas(SIDE, SIDE)
  const brush = canvas.getContext('2d')!
  brush.fillStyle = ground
  brush.fillRect(0, 0, SIDE, SIDE)
  for (const { shape, colour, x, y, radius } of things) {
    brush.fillStyle = colour
    brush.fill(path(shape, x * SIDE, y * SIDE, radius * SIDE))
  }
  return new File([await canvas.convertToBlob({ type: 'image/png' })], `${name}.png`, { type: 'image/png' })
}

const RED = '#d42420'
const BLUE = '#2450d6'
const GREEN = '#269638'
const YELLOW = '#f2d822'
const PURPLE = '#842aaa'
const ORANGE = '#f08a14'
const PAPER = '#f1efe9'

export const EXAMPLES: Record<'circle' | 'pair' | 'three' | 'star' | 'heart' | 'square', () => Promise<File>> = {
  circle: () => paint('circle', PAPER, [{ shape: 'circle', colour: RED, x: 0.5, y: 0.5, radius: 0.3 }]),
  pair: () =>
    paint('pair', '#dfe6ea', [
      { shape: 'circle', colour: RED, x: 0.24, y: 0.24, radius: 0.19 },
      { shape: 'star', colour: BLUE, x: 0.78, y: 0.76, radius: 0.2 },
    ]),
  three: () =>
    paint('three', '#2b2d33', [
      { shape: 'heart', colour: PURPLE, x: 0.22, y: 0.22, radius: 0.19 },
      { shape: 'triangle', colour: ORANGE, x: 0.8, y: 0.5, radius: 0.18 },
      { shape: 'square', colour: GREEN, x: 0.22, y: 0.8, radius: 0.18 },
    ]),
  star: () => paint('star', '#e8ecf2', [{ shape: 'star', colour: BLUE, x: 0.5, y: 0.52, radius: 0.34 }]),
  heart: () => paint('heart', '#f3ead9', [{ shape: 'heart', colour: PURPLE, x: 0.5, y: 0.52, radius: 0.32 }]),
  square: () => paint('square', '#ece7ef', [{ shape: 'square', colour: YELLOW, x: 0.5, y: 0.5, radius: 0.3 }]),
}
