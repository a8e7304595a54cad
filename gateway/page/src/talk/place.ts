import { Composer } from '../shared/composer'
import { button, field, h } from '../shared/dom'
import { EXAMPLES } from '../shared/examples'
import { failureOf } from '../shared/failure'
import { takes } from '../shared/intake'
import { notice } from '../shared/notice'
import { voices } from '../shared/calls'
import { microphones } from '../shared/microphone'
import { keep, settings } from '../shared/settings'
import { Control, type State } from './control'
import { Conversation } from './conversation'
import { Script } from './script'
import './talk.css'

/** Talk: aloud, about whatever is shown, and interruptible. */
export function talkPlace(): HTMLElement {
  const troubles = h('div', {})
  const script = new Script()
  const control: Control = new Control(() => (control.state === 'speaking' ? talk.player.level : talk.capture.level))
  const end = button('talk.end', () => talk.end(), { class: 'button quiet', hidden: true })
  let wanted = false // a talk that breaks off comes back by itself
  const show = (state: State) => {
    control.to(state, settings.talk.handsFree)
    end.hidden = state === 'idle' || state === 'error'
    place.classList.toggle('begun', state !== 'idle' || script.element.childElementCount > 0)
    place.classList.toggle('on', state !== 'idle')
    if (state === 'idle') wanted = false
  }
  const fail = (error: unknown) => {
    const failure = failureOf(error)
    if (failure)
      troubles.replaceChildren(
        notice(failure, failure.kind === 'broken' ? undefined : () => (talk.isOpen ? talk.answer() : void start(true))),
      )
  }
  const talk = new Conversation(script, show, fail)
  const start = async (listening: boolean) => {
    troubles.replaceChildren()
    try {
      await talk.start(listening)
      wanted = true
      void fillMicrophones()
    } catch (error) {
      fail(error)
    }
  }
  document.addEventListener('server-back', () => {
    if (wanted && !talk.isOpen) void start(true)
  })

  const composer = new Composer({
    label: 'talk.label',
    placeholder: 'talk.placeholder',
    send: (words) => {
      void talk.write(words).catch((error) => {
        composer.input.value ||= words // what was written is not lost
        fail(error)
      })
    },
    stop: () => talk.interrupt(),
    fail,
    shown: (picture) => {
      if (!picture) return
      composer.hold(null)
      place.classList.add('begun')
      void talk.picture(picture)
    },
  })
  holdOrPress(control.button, talk, start)

  const microphone = h('select', {})
  const voice = h('select', {})
  const free = h('input', { type: 'checkbox', id: 'hands-free' })
  free.checked = settings.talk.handsFree
  const fillMicrophones = async () => {
    const found = await microphones()
    microphone.replaceChildren(
      h('option', { value: '', say: 'talk.microphone.any' }),
      ...found.map(({ deviceId, label }) => h('option', { value: deviceId }, label || deviceId.slice(0, 8))),
    )
    microphone.value = found.some(({ deviceId }) => deviceId === settings.talk.microphone)
      ? settings.talk.microphone
      : ''
  }
  const fillVoices = async () => {
    const own = (await voices().catch(() => [])).filter(({ languages }) => languages)
    voice.replaceChildren(
      h('option', { value: '', say: 'talk.voice.any' }),
      ...own.map(({ id }) => h('option', { value: id }, id)),
    )
    voice.value = own.some(({ id }) => id === settings.talk.voice) ? settings.talk.voice : ''
  }
  const changed = () => {
    settings.talk = { handsFree: free.checked, microphone: microphone.value, voice: voice.value }
    keep()
    control.to(control.state, free.checked)
    talk.configure()
  }
  for (const each of [free, microphone, voice]) each.addEventListener('change', changed)
  microphone.addEventListener('change', () => talk.isOpen && void start(true))
  void fillMicrophones()
  void fillVoices()
  document.addEventListener('server-back', () => void fillVoices())

  const how = h('label', { class: 'check', for: 'hands-free' }, free, h('span', { say: 'talk.handsFree' }))
  const done = button('close', () => sheet.close(), { class: 'button primary' })
  const sheet = h(
    'dialog',
    { class: 'sheet', 'aria-labelledby': 'talk-settings' },
    h(
      'form',
      { method: 'dialog' },
      h('h2', { id: 'talk-settings', say: 'talk.settings' }),
      field('talk.microphone', microphone),
      field('talk.voice', voice),
      h('div', { class: 'row end' }, done),
    ),
  )
  const more = button('talk.settings', () => sheet.showModal(), { class: 'button quiet' })
  const welcome = h(
    'div',
    { class: 'welcome' },
    h('h1', { say: 'talk.title' }),
    h('p', { class: 'lead', say: 'talk.lead' }),
  )
  const stage = h(
    'div',
    { class: 'stage' },
    welcome,
    control.element,
    h('div', { class: 'row centre' }, how, more, end),
    starters((file) => void composer.take(file)),
  )
  const said = h('div', { class: 'said' }, script.element, h('div', { class: 'dock' }, troubles, composer.element))
  const place = h('section', { class: 'place-talk' }, stage, said, sheet)
  takes(place, 'image', ([file]) => void composer.take(file))
  return place
}

/** Hands-free, the control is pressed; otherwise it is held while one speaks, by pointer or by key. */
function holdOrPress(
  control: HTMLButtonElement,
  talk: Conversation,
  start: (listening: boolean) => Promise<void>,
): void {
  control.addEventListener('click', () => {
    if (!talk.isOpen || (!talk.capture.isOpen && !talk.isSpeaking)) void start(true)
    else if (!settings.talk.handsFree)
      return // it was held
    else if (talk.isSpeaking) talk.interrupt()
    else talk.end()
  })
  const down = () => {
    if (!settings.talk.handsFree && talk.isOpen) talk.hold()
  }
  control.addEventListener('pointerdown', (event) => {
    control.setPointerCapture(event.pointerId)
    down()
  })
  control.addEventListener('keydown', (event) => {
    if ((event.key === ' ' || event.key === 'Enter') && !event.repeat) down()
  })
  for (const over of ['pointerup', 'pointercancel', 'keyup', 'blur'])
    control.addEventListener(over, () => talk.release())
}

function starters(show: (file: File) => void): HTMLElement {
  const list = h('ul', { class: 'to-show' })
  for (const name of ['pair', 'three', 'star'] as const) {
    const image = h('img', { alt: '', width: 72, height: 72 })
    const press = () => void EXAMPLES[name]().then(show)
    void EXAMPLES[name]().then((file) => (image.src = URL.createObjectURL(file)))
    list.append(
      h(
        'li',
        {},
        h('button', { type: 'button', class: 'show', sayLabel: `talk.show.${name}`, on: { click: press } }, image),
      ),
    )
  }
  return h('div', { class: 'showing' }, h('p', { class: 'small', say: 'talk.show' }), list)
}
