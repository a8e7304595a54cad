/** Text in PNG files: an iTXt chunk, as every viewer of metadata reads it. */
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
  return n
})

function crc(bytes: Uint8Array): number {
  let value = 0xffffffff
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255]! ^ (value >>> 8)
  return (value ^ 0xffffffff) >>> 0
}

function chunk(keyword: string, words: string): Uint8Array {
  const told = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${words}`)
  const whole = new Uint8Array(told.length + 8)
  const view = new DataView(whole.buffer)
  view.setUint32(0, told.length - 4)
  whole.set(told, 4)
  view.setUint32(told.length + 4, crc(told))
  return whole
}

const HEAD = 33 // signature and IHDR, which must come first

/** The same picture with texts in it. */
export async function withTexts(png: Blob, texts: Record<string, string>): Promise<Blob> {
  const chunks = Object.entries(texts).map(([keyword, words]) => chunk(keyword, words) as BlobPart)
  return new Blob([png.slice(0, HEAD), ...chunks, png.slice(HEAD)], { type: 'image/png' })
}
