import { address } from '../shared/api'
import { h } from '../shared/dom'
import { say } from '../i18n'

const EVERY_MS = 1500
const SHOWN_MS = 4000

const sentence = h('p', {})
const banner = h('div', { class: 'away', role: 'status', hidden: true }, sentence)
let waiting = false

export function awayBanner(): HTMLElement {
  return banner
}

/** Say that the server is gone, wait until it is back, and tell everybody. */
export async function waitForServer(): Promise<void> {
  if (waiting) return
  waiting = true
  if (await isReady()) {
    waiting = false
    return
  }
  say(sentence, 'away.gone')
  banner.classList.remove('back')
  banner.hidden = false
  document.documentElement.classList.add('server-away')
  do await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  while (!(await isReady()))
  waiting = false
  document.documentElement.classList.remove('server-away')
  say(sentence, 'away.back')
  banner.classList.add('back')
  document.dispatchEvent(new CustomEvent('server-back'))
  setTimeout(() => (banner.hidden = !waiting), SHOWN_MS)
}

async function isReady(): Promise<boolean> {
  try {
    return (await fetch(address('ready'), { cache: 'no-store' })).ok
  } catch {
    return false
  }
}
