import { button, field, h } from '../shared/dom'
import { setApiKey } from '../shared/settings'

let asking: Promise<boolean> | undefined

/** Ask for the key once, however many calls want one. Whether one was given. */
export function askForKey(): Promise<boolean> {
  asking ??= ask().finally(() => (asking = undefined))
  return asking
}

async function ask(): Promise<boolean> {
  const input = h('input', {
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
    placeholder: 'sk-…',
  })
  const form = h(
    'form',
    { method: 'dialog' },
    h('h2', { say: 'key.title', id: 'key-title' }),
    h('p', { say: 'key.why' }),
    field('key.label', input, 'key.hint'),
    h(
      'div',
      { class: 'row end' },
      button('cancel', () => dialog.close(''), { class: 'button quiet' }),
      h('button', { class: 'button primary', say: 'key.use', value: 'use' }),
    ),
  )
  const dialog = h('dialog', { class: 'sheet', 'aria-labelledby': 'key-title' }, form)
  document.body.append(dialog)
  dialog.showModal()
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }))
  const given = dialog.returnValue === 'use' && input.value.trim() !== ''
  if (given) setApiKey(input.value.trim())
  dialog.remove()
  return given
}
