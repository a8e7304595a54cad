import type { Words } from '../i18n'

export type Kind =
  | 'away'
  | 'broken'
  | 'busy'
  | 'key'
  | 'large'
  | 'rule'
  | 'missing'
  | 'failed'
  | 'starting'
  | 'camera'
  | 'microphone'
  | 'insecure'
  | 'short'

/** Something that did not work, as a sentence that says what to do; `detail` is the server's own, in English. */
export class Failure extends Error {
  constructor(
    readonly kind: Kind,
    readonly detail = '',
    readonly retryAfterMs = 0,
  ) {
    super(detail || kind)
  }

  get words(): Words {
    return `failure.${this.kind}`
  }
}

const BY_STATUS: Record<number, Kind> = { 401: 'key', 404: 'missing', 413: 'large', 429: 'busy', 503: 'away' }

export function kindOf(status: number, code: string | null): Kind {
  if (code === 'model_not_ready') return 'starting'
  return BY_STATUS[status] ?? (status < 500 ? 'rule' : 'failed')
}

/** Whatever was thrown, as a failure; null where the reader himself stopped it. */
export function failureOf(error: unknown): Failure | null {
  if (error instanceof Failure) return error
  if (error instanceof DOMException && error.name === 'AbortError') return null
  return new Failure('failed', error instanceof Error ? error.message : '')
}
