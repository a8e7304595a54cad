/** A picture that one place hands to another, which may not have been opened yet. */
type Take = (picture: Blob) => void

let waiting: Blob | null = null
let taker: Take | null = null

/** Take a picture to where it can be asked about. */
export function askAbout(picture: Blob): void {
  waiting = picture
  location.hash = '#ask'
  give()
}

/** Be the one who is given it. */
export function onAsked(take: Take): void {
  taker = take
  give()
}

function give(): void {
  if (!waiting || !taker) return
  taker(waiting)
  waiting = null
}
