import { button, h } from './dom'
import type { Failure } from './failure'
import { say } from '../i18n'

/** A sentence on what went wrong and what to do, with a way to try again; where the server is gone it tells when it is back. */
export function notice(failure: Failure, retry?: () => void): HTMLElement {
  const sentence = h('p', { say: failure.words })
  const box = h('div', { class: 'notice', role: 'alert' }, sentence)
  if (retry) {
    const again = () => {
      box.remove()
      retry()
    }
    box.append(button('again', again, { class: 'button quiet' }))
  }
  if (failure.detail && failure.kind !== 'away') {
    const told = h('p', { lang: 'en' }, failure.detail)
    box.append(h('details', {}, h('summary', { say: 'failure.detail' }), told))
  }
  if (failure.kind === 'away' || failure.kind === 'broken' || failure.kind === 'starting') {
    const back = () => say(sentence, failure.kind === 'broken' ? 'failure.brokenBack' : 'failure.back')
    document.addEventListener('server-back', back, { once: true })
  }
  return box
}
