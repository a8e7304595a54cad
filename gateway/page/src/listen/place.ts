import { h } from '../shared/dom'

export function listenPlace(): HTMLElement {
  return h('section', { class: 'column' }, h('h1', { say: 'listen.title' }), h('p', { class: 'lead', say: 'listen.lead' }))
}
