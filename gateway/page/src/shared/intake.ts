import { button, h, iconButton, type Props } from './dom'
import { Failure } from './failure'
import type { Words } from '../i18n'
import { ICONS } from './icons'

type Take = (files: File[]) => void

/** A button that opens the file chooser. */
export function chooser(
  label: Words,
  accept: string,
  take: Take,
  { many = false, folder = false, path = ICONS.picture as string, words = false } = {},
): HTMLElement {
  const input = h('input', { type: 'file', accept, multiple: many, webkitdirectory: folder, hidden: true })
  input.addEventListener('change', () => {
    take([...(input.files ?? [])])
    input.value = ''
  })
  const press = () => input.click()
  const props: Props = { 'data-chooses': accept }
  return h(
    'span',
    { class: folder ? 'folder' : '' },
    input,
    words ? button(label, press, { class: 'button quiet', ...props }) : iconButton(path, label, press, props),
  )
}

/** Files dropped on a place, or pasted while it is shown. */
export function takes(place: HTMLElement, type: 'image' | 'audio', take: Take): void {
  const mine = (files: Iterable<File>) =>
    [...files].filter((file) => file.type.startsWith(type) || (type === 'audio' && file.type.startsWith('video')))
  place.addEventListener('dragover', (event) => {
    event.preventDefault()
    place.classList.add('dropping')
  })
  for (const left of ['dragleave', 'drop']) place.addEventListener(left, () => place.classList.remove('dropping'))
  place.addEventListener('drop', (event) => {
    event.preventDefault()
    void dropped(event.dataTransfer!).then((files) => mine(files).length && take(mine(files)))
  })
  document.addEventListener('paste', (event) => {
    const files = mine(event.clipboardData?.files ?? [])
    if (place.hidden || !files.length) return
    event.preventDefault()
    take(files)
  })
}

/** The files of a drop, those in folders among them. */
async function dropped(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null)
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files]
  return (await Promise.all(entries.map(filesOf))).flat()
}

async function filesOf(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile)
    return new Promise((resolve) =>
      (entry as FileSystemFileEntry).file(
        (file) => resolve([file]),
        () => resolve([]),
      ),
    )
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const found: File[] = []
  while (true) {
    const some = await new Promise<FileSystemEntry[]>((resolve) => reader.readEntries(resolve, () => resolve([])))
    if (!some.length) return found
    found.push(...(await Promise.all(some.map(filesOf))).flat())
  }
}

/** A picture from the camera; null where the reader changes his mind. */
export async function photograph(): Promise<File | null> {
  if (!navigator.mediaDevices) throw new Failure('insecure')
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } }).catch(() => {
    throw new Failure('camera')
  })
  const video = h('video', { autoplay: true, playsinline: true, muted: true })
  video.muted = true
  video.srcObject = stream
  const dialog = h('dialog', { class: 'sheet', sayLabel: 'camera.title' })
  const take = button('camera.take', () => dialog.close('take'), { class: 'button primary', disabled: true })
  video.addEventListener('loadeddata', () => (take.disabled = false))
  const leave = button('cancel', () => dialog.close(''), { class: 'button quiet' })
  dialog.append(video, h('div', { class: 'row end' }, leave, take))
  document.body.append(dialog)
  dialog.showModal()
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }))
  const taken = dialog.returnValue === 'take' ? await frameOf(video) : null
  for (const track of stream.getTracks()) track.stop()
  dialog.remove()
  return taken
}

async function frameOf(video: HTMLVideoElement): Promise<File> {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight)
  canvas.getContext('2d')!.drawImage(video, 0, 0)
  return new File([await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 })], 'camera.jpg', {
    type: 'image/jpeg',
  })
}
