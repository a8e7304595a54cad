/** How the gateway is asked: OpenAI's addresses, with the reader's key, errors as `Failure`s. */
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { Failure, kindOf } from './failure'
import { apiKey } from './settings'

const PATIENCE = 3 // times that a busy server is asked again

type ServerError = { message?: string; code?: string | null }

let askForKey: () => Promise<boolean> = () => Promise.resolve(false)
let noticeAway: () => void = () => undefined

/** What the shell does when a key is needed, and when the server is gone. */
export function onTrouble(key: () => Promise<boolean>, away: () => void): void {
  askForKey = key
  noticeAway = away
}

/** Whether the server is there is looked into. */
export function noteAway(): void {
  noticeAway()
}

export function address(path: string): URL {
  return new URL(path, document.baseURI)
}

export type Asked = { json?: unknown; form?: FormData; signal?: AbortSignal; waiting?: (ms: number) => void }

/** Ask, and wait while the server is busy. */
export async function ask(path: string, asked: Asked = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const answer = await send(path, asked)
    if (answer.ok) return answer
    const failure = await failureIn(answer)
    if (failure.kind === 'key' && (await askForKey())) continue
    if (failure.kind === 'away') noticeAway()
    if (failure.kind !== 'busy' || attempt > PATIENCE) throw failure
    asked.waiting?.(failure.retryAfterMs)
    await pause(failure.retryAfterMs, asked.signal)
  }
}

async function send(path: string, { json, form, signal }: Asked): Promise<Response> {
  const headers = new Headers()
  if (apiKey()) headers.set('authorization', `Bearer ${apiKey()}`)
  if (json !== undefined) headers.set('content-type', 'application/json')
  const body = form ?? (json === undefined ? null : JSON.stringify(json))
  try {
    const method = body === null ? 'GET' : 'POST'
    return await fetch(address(path), { method, headers, body, signal: signal ?? null })
  } catch (error) {
    if (signal?.aborted) throw error
    noticeAway()
    throw new Failure('away')
  }
}

async function failureIn(answer: Response): Promise<Failure> {
  const body = (await answer.json().catch(() => ({}))) as { error?: ServerError }
  const wait = Number(answer.headers.get('retry-after-ms') ?? 1000)
  return new Failure(kindOf(answer.status, body.error?.code ?? null), body.error?.message ?? '', wait)
}

/** The events of a stream, as they come. One that ends before its end was said has broken. */
export async function* events<T extends object>(answer: Response, isLast: (event: T) => boolean): AsyncGenerator<T> {
  if (!answer.body) throw new Failure('broken')
  const reader = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()).getReader()
  try {
    while (true) {
      const { done, value } = await reader.read().catch(stopped)
      if (done) break
      if (value.data === '[DONE]') return
      const event = JSON.parse(value.data) as T
      if ('error' in event) throw midway(event.error as ServerError)
      yield event
      if (isLast(event)) return
    }
  } finally {
    void reader.cancel().catch(() => undefined)
  }
  noticeAway()
  throw new Failure('broken')
}

/** What reading throws, as what it means. */
export function stopped(error: unknown): never {
  if (error instanceof DOMException && error.name === 'AbortError') throw error
  noticeAway()
  throw new Failure('broken')
}

function midway(error: ServerError): Failure {
  const away = error.code === 'server_unavailable' || error.code === 'model_not_ready'
  if (away) noticeAway()
  return new Failure(away ? 'broken' : 'failed', error.message)
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    })
  })
}
