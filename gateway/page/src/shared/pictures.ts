import { Failure } from './failure'

const MOST_BYTES = 60 * 2 ** 20
const MOST_SENT = 8 * 2 ** 20 // as it is; in base64 it has to fit into an event of a talk
const MOST_SIDE = 1536

/** A picture as it is sent: no larger than a model looks at, so that a slow link is not filled for nothing. */
export async function prepared(file: Blob): Promise<Blob> {
  if (file.size > MOST_BYTES) throw new Failure('large')
  const bitmap = await createImageBitmap(file).catch(() => null)
  if (!bitmap)
    throw new Failure(
      'rule',
      `${file instanceof File ? file.name : 'the file'}: not a picture that this browser can show`,
    )
  const scale = MOST_SIDE / Math.max(bitmap.width, bitmap.height)
  if (scale >= 1 && file.size <= MOST_SENT && /^image\/(png|jpeg|webp)$/.test(file.type)) return file
  const canvas = new OffscreenCanvas(
    Math.ceil(bitmap.width * Math.min(1, scale)),
    Math.ceil(bitmap.height * Math.min(1, scale)),
  )
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 })
}

export function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result as string)
    reader.onerror = () => reject(new Failure('rule', 'the file cannot be read'))
    reader.readAsDataURL(blob)
  })
}

export function blobOf(base64: string, type: string): Blob {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type })
}

/** Offer a file to be saved. */
export function save(blob: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
