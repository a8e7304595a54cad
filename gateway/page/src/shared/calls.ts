/** The calls that the page makes, typed. */
import { ask, events, stopped, type Asked } from './api'

export type Part = { type: 'text'; text: string } | { type: 'image_url'; image_url: { url: string } }
export type Message = { role: 'user' | 'assistant' | 'system'; content: string | Part[] }
export type Word = { word: string; start: number; end: number }
export type Voice = { id: string; languages?: string[] }
type More = Pick<Asked, 'signal' | 'waiting'>
type ChatChunk = { choices: { delta: { content?: string | null }; finish_reason: string | null }[] }
type HeardEvent = { type: string; delta?: string; text?: string }
type Aligned = { words: Word[]; matches: boolean; duration: number }
type Verbose = { text: string; language: string; duration: number; words: Word[] }

export type ImageEvent = { type: string; b64_json: string; partial_image_index?: number; seed?: number; size: string }
export type ImageWish = {
  prompt: string
  size: string
  num_inference_steps: number
  guidance_scale: number
  seed: number
  style?: string
  negative_prompt?: string
  partial_images: number
}
export type Change = { image: Blob; mask?: Blob; strength: number }

export async function models(): Promise<string[]> {
  const answer = (await (await ask('v1/models')).json()) as { data: { id: string }[] }
  return answer.data.map((each) => each.id)
}

export async function voices(): Promise<Voice[]> {
  return ((await (await ask('v1/audio/voices')).json()) as { data: Voice[] }).data
}

/** The answer, word by word. */
export async function* chat(model: string, messages: Message[], more: More): AsyncGenerator<string> {
  const answer = await ask('v1/chat/completions', { ...more, json: { model, messages, stream: true } })
  for await (const chunk of events<ChatChunk>(answer, () => false)) {
    const said = chunk.choices[0]?.delta.content
    if (said) yield said
  }
}

/** The text spoken: 24 kHz, mono, samples −1..1, as they come. */
export async function* speak(input: string, voice: string, more: More): AsyncGenerator<Float32Array> {
  const json = { model: 'tts', voice: voice || 'alloy', input, response_format: 'pcm' }
  const answer = await ask('v1/audio/speech', { ...more, json })
  const reader = answer.body!.getReader()
  let rest = new Uint8Array()
  while (true) {
    const { done, value } = await reader.read().catch(stopped)
    if (done) return
    const bytes = new Uint8Array(rest.length + value.length)
    bytes.set(rest)
    bytes.set(value, rest.length)
    const whole = bytes.length - (bytes.length % 2)
    rest = bytes.slice(whole)
    yield samplesOf(bytes.subarray(0, whole))
  }
}

/** Little-endian 16-bit samples as numbers from −1 to 1. */
export function samplesOf(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Float32Array.from({ length: bytes.length >> 1 }, (_, index) => view.getInt16(2 * index, true) / 32768)
}

/** What is said in a recording, stretch by stretch. */
export async function* transcribe(file: Blob, language: string, more: More): AsyncGenerator<string> {
  const form = formOf({ file, model: 'whisper', stream: 'true', language })
  const answer = await ask('v1/audio/transcriptions', { ...more, form })
  const isLast = (event: HeardEvent) => event.type === 'transcript.text.done'
  for await (const event of events<HeardEvent>(answer, isLast)) if (event.delta) yield event.delta
}

/** The same with the times of its words, once all of it has been heard. */
export async function timed(file: Blob, language: string, more: More): Promise<Verbose> {
  const form = formOf({ file, model: 'whisper', response_format: 'verbose_json', language })
  form.append('timestamp_granularities[]', 'word')
  return (await (await ask('v1/audio/transcriptions', { ...more, form })).json()) as Verbose
}

/** When each word of a text is said. */
export async function align(file: Blob, text: string, more: More): Promise<Aligned> {
  const form = formOf({ file, text, model: 'aligner' })
  return (await (await ask('v1/audio/alignments', { ...more, form })).json()) as Aligned
}

/** A unit vector for each text or picture (a data URL). */
export async function embed(input: string[], more: More): Promise<Float32Array[]> {
  const json = { model: 'clip', input, truncate: true }
  const answer = (await (await ask('v1/embeddings', { ...more, json })).json()) as { data: { embedding: number[] }[] }
  return answer.data.map((each) => Float32Array.from(each.embedding))
}

/** Previews, then the picture: drawn from words, or another picture changed by them. */
export async function* draw(wish: ImageWish, change: Change | null, more: More): AsyncGenerator<ImageEvent> {
  const body = { ...wish, model: 'stable_diffusion', stream: true }
  const answer = change
    ? await ask('v1/images/edits', { ...more, form: formOf({ ...body, ...change }) })
    : await ask('v1/images/generations', { ...more, json: body })
  yield* events<ImageEvent>(answer, (event) => event.type.endsWith('.completed'))
}

function formOf(values: Record<string, string | number | boolean | Blob | undefined>): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(values)) {
    if (value instanceof Blob) form.append(name, value, value instanceof File ? value.name : `${name}.png`)
    else if (value !== undefined && value !== '') form.append(name, String(value))
  }
  return form
}
