import { en, type Key } from '../i18n/en'

/** The server's style templates, by their names there. */
export const STYLES = Object.keys(en)
  .filter((key) => key.startsWith('style.'))
  .map((key) => ({ name: key.slice('style.'.length), key: key as Key }))

/** Width and height in pixels; "auto" is the model's own. */
export const SIZES = ['auto', '256x256', '512x512', '512x768', '768x512', '768x768', '1024x1024']
