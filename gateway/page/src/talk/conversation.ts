import { noteAway } from '../shared/api'
import { Failure } from '../shared/failure'
import { dataUrl } from '../shared/pictures'
import { Player } from '../shared/player'
import { settings } from '../shared/settings'
import { Capture } from './capture'
import type { State } from './control'
import { configuration, message, type ServerEvent } from './events'
import { Link } from './link'
import type { Script } from './script'
import { Utterance } from './utterance'

const INTERRUPTED_MS = 1200 // for so long it is shown

type Turn = { role: 'user' | 'assistant'; text: string; picture?: string; utterance?: Utterance }

/** A talk: a session of /v1/realtime, the microphone and the loudspeaker. */
export class Conversation {
  readonly player = new Player()
  readonly capture = new Capture()
  private readonly turns: Turn[] = []
  private link: Link | null = null
  private present: Utterance | null = null
  private responding = false
  private holding = false
  private ended = 0 // when the last question ended
  private pending: Promise<void> | null = null

  constructor(
    private readonly script: Script,
    private readonly show: (state: State) => void,
    private readonly fail: (failure: unknown) => void,
  ) {
    this.player.onEmpty = () => this.settle()
  }

  get isOpen(): boolean {
    return this.link?.isOpen ?? false
  }

  get isSpeaking(): boolean {
    return this.responding || this.player.busy
  }

  /** Open the session, and the microphone unless it is only written in. */
  async start(listening: boolean): Promise<void> {
    this.show('connecting')
    try {
      await this.player.start()
      if (listening) await this.open()
      this.pending ??= this.connect().finally(() => (this.pending = null))
      await this.pending
      this.settle()
    } catch (error) {
      this.end()
      throw error
    }
  }

  private async open(): Promise<void> {
    this.capture.close()
    await this.capture.open(settings.talk.microphone, (samples) => {
      if (settings.talk.handsFree || this.holding)
        this.link?.send({ type: 'input_audio_buffer.append', audio: samples })
    })
  }

  private async connect(): Promise<void> {
    if (this.isOpen) return
    const link = new Link(
      settings.ask.model,
      (event) => this.hear(event),
      (said) => this.broken(said),
    )
    await link.open()
    this.link = link
    this.configure()
    for (const { role, text, picture, utterance } of this.turns) {
      if (picture) link.send(message('user', [{ type: 'input_image', image_url: picture }]))
      const words = utterance?.heardText ?? text
      if (words) link.send(message(role, [{ type: role === 'user' ? 'input_text' : 'output_text', text: words }]))
    }
  }

  configure(): void {
    this.link?.send(configuration(settings.talk.handsFree, settings.talk.voice))
  }

  end(): void {
    this.silence()
    this.capture.close()
    this.link?.close()
    this.link = null
    this.responding = false
    this.show('idle')
  }

  /** A picture that belongs to the talk from now on. */
  async picture(picture: Blob): Promise<void> {
    const url = await dataUrl(picture)
    this.script.write('', picture)
    this.turns.push({ role: 'user', text: '', picture: url })
    this.link?.send(message('user', [{ type: 'input_image', image_url: url }]))
  }

  /** Something written in the same talk. */
  async write(text: string): Promise<void> {
    if (this.isSpeaking) this.interrupt()
    if (!this.isOpen) await this.start(false)
    this.script.write(text, null)
    this.turns.push({ role: 'user', text })
    this.link?.send(message('user', [{ type: 'input_text', text }]))
    this.answer()
  }

  hold(): void {
    this.holding = true
    if (this.isSpeaking) this.interrupt()
    this.link?.send({ type: 'input_audio_buffer.clear' })
    this.show('listening')
  }

  release(): void {
    if (!this.holding) return
    this.holding = false
    this.link?.send({ type: 'input_audio_buffer.commit' }) // the answer is asked for once it is
    this.show('thinking')
  }

  /** Let the talk's last question be answered. */
  answer(): void {
    this.ended = performance.now()
    this.responding = true
    this.link?.send({ type: 'response.create' })
    this.show('thinking')
  }

  /** Silence at once; the talk remembers only what was heard. */
  interrupt(cancel = true): void {
    if (this.responding && cancel) this.link?.send({ type: 'response.cancel' })
    this.silence()
    this.responding = false
    this.show('interrupted')
    setTimeout(() => this.settle(), INTERRUPTED_MS)
  }

  /** Stop the sound; who hears of it in this session, or in the next, is told of no more than was heard. */
  private silence(): void {
    const spoken = this.present
    this.present = null
    if (spoken?.hasSound && !spoken.isHeard) {
      const heard = spoken.interrupt()
      this.link?.send({ type: 'conversation.item.truncate', item_id: spoken.id, content_index: 0, audio_end_ms: heard })
    }
    this.player.stop()
  }

  private settle(): void {
    if (!this.isOpen) return this.show('idle')
    if (this.player.busy) return this.show('speaking')
    this.show(this.responding ? 'thinking' : this.capture.isOpen ? 'listening' : 'waiting')
  }

  private broken(said: string): void {
    this.silence()
    this.capture.close()
    this.responding = false
    this.show('error')
    noteAway()
    this.fail(new Failure('broken', said))
  }

  private hear(event: ServerEvent): void {
    const id = event.item_id ?? ''
    switch (event.type) {
      case 'input_audio_buffer.speech_started':
        if (this.isSpeaking) this.interrupt(false)
        else this.show('listening')
        this.script.hearing(id)
        break
      case 'input_audio_buffer.speech_stopped':
        this.ended = performance.now()
        this.show('thinking')
        break
      case 'input_audio_buffer.committed':
        this.script.hearing(id)
        if (!settings.talk.handsFree) this.answer()
        break
      case 'conversation.item.input_audio_transcription.delta':
        this.script.hear(id, event.delta ?? '')
        break
      case 'conversation.item.input_audio_transcription.completed':
        this.script.understood(id, event.transcript ?? '')
        this.turns.push({ role: 'user', text: event.transcript ?? '' })
        if (!this.responding) this.settle()
        break
      case 'conversation.item.input_audio_transcription.failed':
        this.script.understood(id, '')
        this.fail(new Failure('failed', event.error?.message))
        break
      case 'response.created':
        this.responding = true
        if (!this.player.busy) this.show('thinking')
        break
      case 'response.output_audio_transcript.delta':
        this.utterance(id).say(event.delta ?? '', event.words ?? [])
        this.script.follow()
        break
      case 'response.output_audio.delta':
        this.sound(this.utterance(id), event.delta ?? '')
        break
      case 'response.done':
        this.done(event)
        break
      case 'error':
        this.refused(event.error?.code ?? '', event.error?.message)
    }
  }

  private refused(code: string, said = ''): void {
    if (code === 'response_cancel_not_active') return // it ended meanwhile
    this.fail(code === 'input_audio_buffer_commit_empty' ? new Failure('short') : new Failure('rule', said))
    this.settle()
  }

  private utterance(id: string): Utterance {
    const known = this.turns.findLast(({ utterance }) => utterance?.id === id)?.utterance
    if (known) return known
    const utterance = new Utterance(id, this.player)
    this.present = utterance
    this.turns.push({ role: 'assistant', text: '', utterance })
    this.script.answer(utterance)
    const light = () => {
      utterance.light()
      if (this.present === utterance) requestAnimationFrame(light)
    }
    requestAnimationFrame(light)
    return utterance
  }

  private sound(utterance: Utterance, base64: string): void {
    if (!utterance.hasSound) this.script.took(utterance, (performance.now() - this.ended) / 1000)
    utterance.sound(base64)
    if (this.present === utterance) this.show('speaking')
  }

  private done({ response }: ServerEvent): void {
    if (response?.status === 'cancelled') return
    this.responding = false
    if (response?.status === 'failed') {
      noteAway()
      this.fail(new Failure('failed', response.status_details?.error?.message))
    }
    this.settle()
  }
}
