import { button } from '../shared/dom'
import { microphone } from '../shared/microphone'
import { say } from '../i18n'

/** A button that records until it is pressed again. */
export function recorder(take: (file: File) => void, fail: (error: unknown) => void): HTMLElement {
  let running: MediaRecorder | null = null
  const element = button('listen.record', () => void press(), { class: 'button quiet', 'aria-pressed': 'false' })

  async function press(): Promise<void> {
    if (running) return running.stop()
    try {
      const stream = await microphone('')
      running = new MediaRecorder(stream)
      const parts: Blob[] = []
      running.ondataavailable = ({ data }) => parts.push(data)
      running.onstop = () => {
        for (const track of stream.getTracks()) track.stop()
        const type = running?.mimeType ?? 'audio/webm'
        running = null
        show()
        take(new File(parts, 'recording.webm', { type }))
      }
      running.start()
      show()
    } catch (error) {
      fail(error)
    }
  }
  function show(): void {
    element.ariaPressed = String(running !== null)
    say(element, running ? 'listen.record.stop' : 'listen.record')
  }
  return element
}
