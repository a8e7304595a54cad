/** The microphone as 16-bit samples at 24 kHz, 40 ms at a time, and how loud they are. */
const RATE = 24_000
const FRAMES = 960

class Capture extends AudioWorkletProcessor {
  private readonly step = sampleRate / RATE
  private place = 0 // of the next sample, in frames of the input, from the beginning of the next block
  private last = 0
  private filled = 0
  private chunk = new Int16Array(FRAMES)

  process([input]: Float32Array[][]): boolean {
    const block = input?.[0]
    if (!block) return true
    for (; this.place < block.length; this.place += this.step) {
      const before = Math.floor(this.place)
      const one = before > 0 ? block[before - 1]! : this.last
      const between = this.step === 1 ? 1 : this.place - before
      this.add(one + (block[before]! - one) * between)
    }
    this.place -= block.length
    this.last = block.at(-1)!
    return true
  }

  private add(sample: number): void {
    this.chunk[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767
    if (this.filled < FRAMES) return
    const energy = this.chunk.reduce((sum, value) => sum + (value / 32768) ** 2, 0)
    this.port.postMessage({ samples: this.chunk, level: Math.sqrt(energy / FRAMES) }, [this.chunk.buffer])
    this.chunk = new Int16Array(FRAMES)
    this.filled = 0
  }
}

registerProcessor('capture', Capture)
