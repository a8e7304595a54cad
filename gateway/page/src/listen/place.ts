import { align, speak, timed, transcribe } from '../shared/calls'
import { button, field, h } from '../shared/dom'
import { Failure, failureOf } from '../shared/failure'
import { ICONS } from '../shared/icons'
import { chooser, takes } from '../shared/intake'
import { Announcer } from '../shared/live'
import { notice } from '../shared/notice'
import { save } from '../shared/pictures'
import { say, text, type Words } from '../i18n'
import { pieces, srt, vtt, type Piece } from './captions'
import './listen.css'
import { recorder } from './recorder'
import { Transcript } from './transcript'
import { wav } from './wav'

const MOST_BYTES = 80 * 2 ** 20
const LANGUAGES = [
  ['', 'listen.language.any'],
  ['en', 'listen.language.en'],
  ['zh', 'listen.language.zh'],
] as const

/** Listen: a recording becomes text, whose words play it. */
export function listenPlace(): HTMLElement {
  return new Listen().element
}

class Listen {
  readonly element: HTMLElement
  private readonly audio = h('audio', { controls: true, sayLabel: 'listen.player' })
  private readonly transcript = new Transcript(this.audio)
  private readonly state = h('p', { class: 'state small', role: 'status' })
  private readonly bar = h('div', { class: 'progress', role: 'progressbar', sayLabel: 'listen.hearing', hidden: true })
  private readonly troubles = h('div', {})
  private readonly words = h('textarea', { rows: 6, sayLabel: 'listen.correct' })
  private readonly language = h('select', {})
  private readonly welcome: HTMLElement
  private readonly work: HTMLElement
  private readonly reading: HTMLElement
  private readonly correcting: HTMLElement
  private file: File | null = null
  private pieces: Piece[] = []
  private stopping = new AbortController()

  constructor() {
    this.language.append(...LANGUAGES.map(([code, words]) => h('option', { value: code, say: words })))
    this.language.addEventListener('change', () => this.file && void this.hear(this.file))
    const intake = () => [
      chooser('listen.choose', 'audio/*,video/*', ([file]) => file && void this.hear(file), {
        words: true,
        path: ICONS.folder,
      }),
      recorder(
        (file) => void this.hear(file),
        (error) => this.fail(error),
      ),
    ]
    const example = button('listen.example', () => void this.example())
    const lead = h('p', { class: 'lead', say: 'listen.lead' })
    this.welcome = h('div', { class: 'empty' }, lead, h('div', { class: 'row centre' }, ...intake(), example))
    this.reading = h(
      'div',
      { class: 'row' },
      button('listen.correct', () => this.correct()),
      ...this.downloads(),
    )
    const done = h(
      'div',
      { class: 'row' },
      button('listen.align', () => void this.realign(), { class: 'button primary' }),
      button('cancel', () => this.read(), { class: 'button quiet' }),
    )
    this.correcting = h('div', { class: 'correcting', hidden: true }, this.words, done)
    const head = h(
      'div',
      { class: 'row under' },
      field('listen.language', this.language),
      h('span', { class: 'space' }),
      ...intake(),
    )
    this.work = h(
      'div',
      { class: 'work', hidden: true },
      head,
      this.audio,
      this.bar,
      this.state,
      this.transcript.element,
      this.correcting,
      this.reading,
    )
    this.element = h(
      'section',
      { class: 'place-listen column' },
      h('h1', { say: 'listen.title' }),
      this.troubles,
      this.welcome,
      this.work,
    )
    takes(this.element, 'audio', ([file]) => file && void this.hear(file))
  }

  private downloads(): HTMLElement[] {
    const name = (end: string) => `${this.file?.name.replace(/\.\w+$/, '') ?? 'recording'}.${end}`
    const offer = (words: Words, end: string, type: string, content: () => string) =>
      button(words, () => save(new Blob([content()], { type }), name(end)), { class: 'button quiet' })
    return [
      offer('listen.srt', 'srt', 'application/x-subrip', () => srt(this.pieces)),
      offer('listen.vtt', 'vtt', 'text/vtt', () => vtt(this.pieces)),
      offer('listen.txt', 'txt', 'text/plain', () => `${this.said}\n`),
    ]
  }

  private get said(): string {
    return this.transcript.element.textContent?.trim() ?? ''
  }

  /** First the text as it is heard, then the times of its words. */
  private async hear(file: File): Promise<void> {
    this.stopping.abort()
    const { signal } = (this.stopping = new AbortController())
    if (file.size > MOST_BYTES) return this.fail(new Failure('large'))
    if (this.file !== file) this.audio.src = URL.createObjectURL(file)
    this.file = file
    this.open()
    this.begin('listen.hearing')
    this.transcript.text('')
    const aloud = new Announcer()
    try {
      let heard = ''
      const more = {
        signal,
        waiting: (ms: number) => say(this.state, { key: 'busy', with: { seconds: Math.ceil(ms / 1000) } }),
      }
      for await (const piece of transcribe(file, this.language.value, more)) {
        heard += piece
        this.transcript.text(heard)
        aloud.add(piece)
      }
      aloud.end()
      if (!heard.trim()) return this.end('listen.nothing')
      say(this.state, 'listen.timing')
      const { text: whole, words } = await timed(file, this.language.value, more)
      this.show(whole, words)
      this.end('listen.ready')
    } catch (error) {
      if (!signal.aborted) this.fail(error, () => void this.hear(file))
    }
  }

  private show(whole: string, words: Parameters<typeof pieces>[1]): void {
    this.pieces = pieces(whole, words)
    this.transcript.show(this.pieces)
    this.reading.hidden = false
  }

  private open(): void {
    this.welcome.hidden = true
    this.work.hidden = false
  }

  private begin(words: Words): void {
    this.troubles.replaceChildren()
    this.bar.hidden = false
    this.reading.hidden = true
    this.correcting.hidden = true
    this.transcript.element.hidden = false
    say(this.state, words)
  }

  private end(words: Words): void {
    this.bar.hidden = true
    say(this.state, words)
  }

  private correct(): void {
    this.words.value = this.said
    this.transcript.element.hidden = true
    this.reading.hidden = true
    this.correcting.hidden = false
    this.words.focus()
  }

  private read(): void {
    this.correcting.hidden = true
    this.transcript.element.hidden = false
    this.reading.hidden = false
  }

  private async realign(): Promise<void> {
    const words = this.words.value.trim()
    if (!this.file || !words) return
    this.begin('listen.timing')
    try {
      const aligned = await align(this.file, words, { signal: this.stopping.signal })
      this.show(words, aligned.words)
      this.end(aligned.matches ? 'listen.aligned' : 'listen.mismatch')
    } catch (error) {
      this.fail(error, () => void this.realign())
      this.correcting.hidden = false
      this.transcript.element.hidden = true
    }
  }

  private fail(error: unknown, again?: () => void): void {
    this.bar.hidden = true
    this.state.textContent = ''
    const failure = failureOf(error)
    if (failure) this.troubles.replaceChildren(notice(failure, again))
  }

  private async example(): Promise<void> {
    this.open()
    this.begin('listen.voicing')
    try {
      const parts: Float32Array[] = []
      for await (const part of speak(text('listen.example.text'), '', {})) parts.push(part)
      await this.hear(new File([wav(parts)], 'example.wav', { type: 'audio/wav' }))
    } catch (error) {
      this.fail(error, () => void this.example())
    }
  }
}
