import { speak } from './calls'
import { iconButton } from './dom'
import { failureOf, type Failure } from './failure'
import { say } from '../i18n'
import { ICONS } from './icons'
import { Player } from './player'
import { settings } from './settings'

const player = new Player()
let stopPresent: () => void = () => undefined

/** A button that reads a text aloud, and stops it when it is pressed again. */
export function aloudButton(text: () => string, fail: (failure: Failure) => void): HTMLButtonElement {
  const element = iconButton(ICONS.aloud, 'aloud.read', () =>
    element.ariaPressed === 'true' ? stopPresent() : void read(),
  )
  element.ariaPressed = 'false'
  const show = (state: 'true' | 'false', waiting: boolean) => {
    element.ariaPressed = state
    element.classList.toggle('waiting', waiting)
    say(element, state === 'true' ? 'aloud.stop' : 'aloud.read', 'aria-label')
    say(element, state === 'true' ? 'aloud.stop' : 'aloud.read', 'title')
  }

  async function read(): Promise<void> {
    stopPresent()
    const stopping = new AbortController()
    stopPresent = () => {
      stopping.abort()
      player.stop()
      show('false', false)
    }
    show('true', true)
    try {
      await player.start()
      player.onEmpty = () => undefined
      for await (const samples of speak(text(), settings.talk.voice, { signal: stopping.signal })) {
        if (stopping.signal.aborted) return
        player.push(samples)
        element.classList.remove('waiting')
      }
      player.onEmpty = () => show('false', false)
      if (!player.busy) show('false', false)
    } catch (error) {
      if (stopping.signal.aborted) return
      show('false', false)
      const failure = failureOf(error)
      if (failure) fail(failure)
    }
  }
  return element
}
