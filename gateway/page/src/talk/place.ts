import { h } from '../shared/dom'

export function talkPlace(): HTMLElement {
  return h('section', { class: 'column' }, h('h1', { say: 'talk.title' }), h('p', { class: 'lead', say: 'talk.lead' }))
}
