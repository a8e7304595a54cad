import { aloudButton } from '../shared/aloud'
import { chat, type Message, type Part } from '../shared/calls'
import { pictureOf } from '../shared/composer'
import { h, iconButton } from '../shared/dom'
import { failureOf } from '../shared/failure'
import { ICONS } from '../shared/icons'
import { Announcer, announce } from '../shared/live'
import { notice } from '../shared/notice'
import { dataUrl } from '../shared/pictures'
import { settings } from '../shared/settings'
import { say, text, type Words } from '../i18n'

type Turn = { question: Message; answers: Answer[] }

/** The conversation: what was asked, and what is answered, word by word. */
export class Thread {
  readonly element = h('ol', { class: 'thread', sayLabel: 'ask.thread' })
  private turns: Turn[] = []
  private stopping = new AbortController()

  constructor(private readonly busy: (is: boolean) => void) {}

  async ask(words: string, picture: Blob | null): Promise<void> {
    const parts: Part[] = picture ? [{ type: 'image_url', image_url: { url: await dataUrl(picture) } }] : []
    const turn: Turn = { question: { role: 'user', content: [...parts, { type: 'text', text: words }] }, answers: [] }
    const before = this.history()
    this.turns.push(turn)
    const said = h('li', { class: 'question' }, picture && pictureOf(picture), h('p', {}, words))
    const { model, compare } = settings.ask
    const names = compare && model !== 'llava' ? ['llava', model] : [model]
    turn.answers = names.map((name) => new Answer(name, names.length > 1))
    this.element.append(said, h('li', { class: 'answers' }, ...turn.answers.map((answer) => answer.element)))
    said.scrollIntoView({ block: 'start', behavior: 'smooth' })
    await this.run(turn, [...before, turn.question])
  }

  stop(): void {
    this.stopping.abort()
  }

  clear(): void {
    this.stop()
    this.turns = []
    this.element.replaceChildren()
  }

  private async run(turn: Turn, messages: Message[]): Promise<void> {
    this.stopping = new AbortController()
    this.busy(true)
    const again = (answer: Answer) => () => {
      this.stopping = new AbortController()
      this.busy(true)
      void answer.run(messages, this.stopping.signal, again(answer)).finally(() => this.busy(false))
    }
    await Promise.all(turn.answers.map((answer) => answer.run(messages, this.stopping.signal, again(answer))))
    this.busy(false)
    this.element.lastElementChild?.scrollIntoView({ block: 'nearest', behavior: 'smooth' })
  }

  /** What was said so far; of two answers, that of the chosen model. */
  private history(): Message[] {
    return this.turns.flatMap(({ question, answers }) => {
      const said = answers.at(-1)?.text
      return said ? [question, { role: 'assistant' as const, content: said }] : []
    })
  }
}

class Answer {
  readonly element: HTMLElement
  private readonly words = h('p', { class: 'words' })
  private readonly state = h('p', { class: 'state' })
  private readonly actions: HTMLElement
  private readonly below = h('div', {})
  text = ''

  constructor(
    private readonly model: string,
    titled: boolean,
  ) {
    const title = titled && h('h2', { class: 'whose', say: this.title })
    const copy = iconButton(ICONS.copy, 'copy', () => {
      void navigator.clipboard.writeText(this.text).then(() => announce(text('copied')))
    })
    const aloud = aloudButton(
      () => this.text,
      (failure) => this.below.replaceChildren(notice(failure)),
    )
    copy.hidden = !navigator.clipboard // on plain http from elsewhere
    this.actions = h('div', { class: 'actions', hidden: true }, copy, aloud)
    this.element = h('article', { class: 'answer' }, title, this.words, this.state, this.below, this.actions)
  }

  private get title(): Words {
    return this.model === 'llava'
      ? 'ask.base'
      : { key: 'ask.adapter', with: { name: this.model.slice('llava:'.length) } }
  }

  async run(messages: Message[], signal: AbortSignal, retry: () => void): Promise<void> {
    const aloud = new Announcer()
    this.text = ''
    this.words.textContent = ''
    this.below.replaceChildren()
    this.element.classList.add('waiting')
    this.element.ariaBusy = 'true'
    say(this.state, 'ask.thinking')
    const waiting = (ms: number) => say(this.state, { key: 'busy', with: { seconds: Math.ceil(ms / 1000) } })
    try {
      for await (const piece of chat(this.model, messages, { signal, waiting })) {
        this.state.textContent = ''
        this.state.removeAttribute('data-say-text')
        this.text += piece
        this.words.append(piece)
        aloud.add(piece)
      }
    } catch (error) {
      const failure = failureOf(error)
      if (failure) this.below.append(notice(failure, retry))
      else this.below.append(h('p', { class: 'state', say: 'ask.stopped' }))
    }
    aloud.end()
    this.state.textContent = ''
    this.state.removeAttribute('data-say-text')
    this.element.classList.remove('waiting')
    this.element.ariaBusy = 'false'
    this.actions.hidden = !this.text
  }
}
