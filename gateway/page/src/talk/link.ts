import { address, ask } from '../shared/api'
import { Failure } from '../shared/failure'
import { apiKey } from '../shared/settings'
import type { ClientEvent, ServerEvent } from './events'

const KEY = 'openai-insecure-api-key.'

/** The WebSocket of a talk. */
export class Link {
  private socket: WebSocket | null = null

  constructor(
    private readonly model: string,
    private readonly hear: (event: ServerEvent) => void,
    private readonly broken: (said: string) => void,
  ) {}

  /** Open it; where it is refused, find out why by a plain request, which asks for a key if one is needed. */
  async open(): Promise<void> {
    try {
      await this.connect()
    } catch (error) {
      if (error instanceof Failure && error.detail) throw error
      await ask('v1/models')
      await this.connect()
    }
  }

  private connect(): Promise<void> {
    const url = address(`v1/realtime?model=${encodeURIComponent(this.model)}`)
    url.protocol = url.protocol.replace('http', 'ws')
    const socket = new WebSocket(url, ['realtime', ...(apiKey() ? [KEY + apiKey()] : [])])
    return new Promise((resolve, reject) => {
      let said = ''
      socket.onmessage = ({ data }: MessageEvent<string>) => {
        const event = JSON.parse(data) as ServerEvent
        if (event.type === 'error') said = event.error?.message ?? ''
        if (event.type === 'session.created') {
          this.socket = socket
          resolve()
        }
        this.hear(event)
      }
      socket.onclose = () => {
        reject(new Failure(said ? 'busy' : 'away', said))
        if (this.socket !== socket) return
        this.socket = null
        this.broken(said)
      }
    })
  }

  get isOpen(): boolean {
    return this.socket?.readyState === WebSocket.OPEN
  }

  send(event: ClientEvent): void {
    if (this.isOpen) this.socket!.send(JSON.stringify(event))
  }

  close(): void {
    const socket = this.socket
    this.socket = null
    socket?.close()
  }
}
