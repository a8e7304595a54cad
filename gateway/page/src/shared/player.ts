import { Failure } from './failure'
import worklet from './player.worklet?worker&url'

export const RATE = 24_000 // Hz, of everything that is spoken

type Report = { played: number; level: number; empty: boolean }

/** Plays samples as they come, without gaps; stops at once; knows what has been heard. */
export class Player {
  private context?: AudioContext
  private node?: AudioWorkletNode
  private starting?: Promise<void>
  private pushed = 0
  private played = 0
  level = 0
  onEmpty: () => void = () => undefined

  /** Wake the loudspeaker; browsers allow it once somebody has pressed something. */
  start(): Promise<void> {
    this.starting ??= this.open().catch((error) => {
      delete this.starting
      throw error
    })
    void this.context?.resume()
    return this.starting
  }

  private async open(): Promise<void> {
    this.context = new AudioContext({ sampleRate: RATE })
    if (!this.context.audioWorklet) throw new Failure('insecure')
    await this.context.audioWorklet.addModule(worklet)
    this.node = new AudioWorkletNode(this.context, 'play', { numberOfInputs: 0, outputChannelCount: [1] })
    this.node.port.onmessage = ({ data }: MessageEvent<Report>) => this.reported(data)
    this.node.connect(this.context.destination)
    void this.context.resume()
  }

  private reported({ played, level, empty }: Report): void {
    this.played = played
    this.level = empty ? 0 : level
    if (empty && played >= this.pushed) this.onEmpty()
  }

  /** Queue samples. Returns the place of the first of them, in frames since the player began. */
  push(samples: Float32Array): number {
    const from = this.pushed
    this.pushed += samples.length
    this.node?.port.postMessage(samples)
    return from
  }

  /** Frames that have left the loudspeaker. */
  get heard(): number {
    return Math.max(0, this.played - Math.round((this.context?.outputLatency ?? 0) * RATE))
  }

  get busy(): boolean {
    return this.played < this.pushed
  }

  /** Silence, at once: what was queued is skipped. */
  stop(): void {
    this.node?.port.postMessage(this.pushed)
    this.played = this.pushed
    this.level = 0
  }
}
