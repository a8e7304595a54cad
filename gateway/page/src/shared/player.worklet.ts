/** Plays samples without gaps, and says how many have been played: the clock of what is heard. */
const REPORT = 480 // frames, 20 ms at 24 kHz

class Play extends AudioWorkletProcessor {
  private queue: Float32Array[] = []
  private at = 0 // in the first of the queue
  private played = 0
  private unsaid = 0
  private energy = 0

  constructor() {
    super()
    this.port.onmessage = ({ data }: MessageEvent<Float32Array | number>) => {
      if (typeof data === 'number') this.skip(data)
      else this.queue.push(data)
    }
  }

  process(_: Float32Array[][], [output]: Float32Array[][]): boolean {
    const out = output![0]!
    let filled = 0
    while (filled < out.length && this.queue.length) {
      const first = this.queue[0]!
      const some = first.subarray(this.at, this.at + out.length - filled)
      out.set(some, filled)
      filled += some.length
      this.at += some.length
      if (this.at >= first.length) {
        this.queue.shift()
        this.at = 0
      }
    }
    for (let index = 0; index < filled; index++) this.energy += out[index]! ** 2
    this.played += filled
    this.unsaid += filled
    if (this.unsaid >= REPORT || (filled > 0 && !this.queue.length)) this.report()
    return true
  }

  /** Silence, at once; the clock goes on from where what was skipped would have ended. */
  private skip(to: number): void {
    this.queue = []
    this.at = 0
    this.played = to
    this.report()
  }

  private report(): void {
    const level = Math.sqrt(this.energy / Math.max(1, this.unsaid))
    this.port.postMessage({ played: this.played, level, empty: !this.queue.length })
    this.unsaid = 0
    this.energy = 0
  }
}

registerProcessor('play', Play)
