import { microphone } from '../shared/microphone'
import worklet from './capture.worklet?worker&url'

type Chunk = { samples: Int16Array; level: number }

/** The microphone while it is open. */
export class Capture {
  private context?: AudioContext
  private stream?: MediaStream
  level = 0

  /** Open it and hear; `hear` is given 16-bit samples in base64. */
  async open(device: string, hear: (samples: string) => void): Promise<void> {
    this.stream = await microphone(device)
    this.context = new AudioContext()
    await this.context.audioWorklet.addModule(worklet)
    const node = new AudioWorkletNode(this.context, 'capture', { numberOfOutputs: 0 })
    node.port.onmessage = ({ data }: MessageEvent<Chunk>) => {
      this.level = data.level
      hear(base64(new Uint8Array(data.samples.buffer)))
    }
    this.context.createMediaStreamSource(this.stream).connect(node)
  }

  get isOpen(): boolean {
    return this.stream !== undefined
  }

  close(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop()
    void this.context?.close()
    delete this.stream
    delete this.context
    this.level = 0
  }
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
}
