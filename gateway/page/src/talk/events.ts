import type { Word } from '../shared/calls'

/** Events of /v1/realtime that the page listens to; fields of other events are left out. */
export type ServerEvent = {
  type: string
  item_id?: string
  delta?: string
  transcript?: string
  words?: Word[]
  error?: { message: string; code: string | null }
  response?: { id: string; status: string; status_details?: { error?: { message?: string } } | null }
}

export type ClientEvent = { type: string; [field: string]: unknown }

type Content = { type: 'input_text' | 'output_text'; text: string } | { type: 'input_image'; image_url: string }

export function message(role: 'user' | 'assistant', content: Content[]): ClientEvent {
  return { type: 'conversation.item.create', item: { type: 'message', role, content } }
}

/** How a session shall be: who notices the end of a turn, and which voice answers. */
export function configuration(handsFree: boolean, voice: string): ClientEvent {
  const turns = handsFree ? { type: 'server_vad', create_response: true, interrupt_response: true } : null
  const input = { transcription: { model: 'whisper' }, turn_detection: turns }
  const output = voice ? { voice } : {}
  return { type: 'session.update', session: { type: 'realtime', audio: { input, output } } }
}
