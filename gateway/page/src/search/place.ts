import { h } from '../shared/dom'

export function searchPlace(): HTMLElement {
  return h('section', { class: 'column' }, h('h1', { say: 'search.title' }), h('p', { class: 'lead', say: 'search.lead' }))
}
