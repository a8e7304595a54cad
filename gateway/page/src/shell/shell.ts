import { h, icon, iconButton } from '../shared/dom'
import { liveRegion } from '../shared/live'
import { ICONS } from '../shared/icons'
import { keep, settings } from '../shared/settings'
import { language, say, setLanguage, type Key } from '../i18n'
import { awayBanner } from './away'

export const PLACES = ['talk', 'ask', 'draw', 'search', 'listen'] as const
export type Place = (typeof PLACES)[number]
const THEMES = ['system', 'light', 'dark'] as const
const THEME_ICONS = { system: ICONS.auto, light: ICONS.sun, dark: ICONS.moon }
const MARK = 'M5 10v4M12 5v14M19 8v8'

/** Header, places and footer of the page; `open` makes a place when it is first gone to. */
export function shell(open: Record<Place, () => HTMLElement>): void {
  const links = new Map(PLACES.map((place) => [place, link(place)]))
  const nav = h('nav', { sayLabel: 'nav.label' }, ...links.values())
  const main = h('main', { id: 'place', tabindex: '-1' })
  const brand = h('a', { class: 'brand', href: '#talk' }, icon(MARK, 24), h('span', {}, 'Tritone'))
  const bar = h(
    'header',
    { class: 'bar' },
    brand,
    nav,
    h('div', { class: 'switches' }, languageSwitch(), themeSwitch()),
  )
  const skip = h('button', { class: 'skip', say: 'nav.skip', on: { click: () => main.focus() } })
  document.body.append(skip, bar, awayBanner(), main, liveRegion())

  const made = new Map<Place, HTMLElement>()
  const go = () => {
    const place = placeOf(location.hash) ?? (settings.place as Place)
    if (!made.has(place)) {
      const section = open[place]()
      made.set(place, section)
      main.append(section)
    }
    for (const [name, section] of made) section.hidden = name !== place
    for (const [name, each] of links) each.toggleAttribute('aria-current', name === place)
    links.get(place)?.setAttribute('aria-current', 'page')
    document.documentElement.dataset.place = place
    settings.place = place
    keep()
    title()
    made.get(place)?.dispatchEvent(new CustomEvent('shown'))
  }
  const title = () => (document.title = `${links.get(settings.place as Place)?.textContent ?? ''} · Tritone`)
  addEventListener('hashchange', () => {
    go()
    main.focus({ preventScroll: true })
    scrollTo(0, 0)
  })
  document.addEventListener('language', title)
  go()
}

function placeOf(hash: string): Place | undefined {
  return PLACES.find((place) => hash === `#${place}`)
}

function link(place: Place): HTMLAnchorElement {
  return h('a', { href: `#${place}`, class: 'place' }, icon(ICONS[place]), h('span', { say: `${place}.name` as Key }))
}

function languageSwitch(): HTMLElement {
  const element = h('button', { type: 'button', class: 'switch', on: { click: change } })
  function change(): void {
    settings.language = language() === 'zh' ? 'en' : 'zh'
    keep()
    setLanguage(settings.language)
    show()
  }
  function show(): void {
    const other = language() === 'zh' ? 'en' : 'zh'
    element.textContent = other === 'zh' ? '中文' : 'English'
    element.lang = other === 'zh' ? 'zh-CN' : 'en'
  }
  show()
  return element
}

function themeSwitch(): HTMLElement {
  const element = iconButton(THEME_ICONS[settings.theme], `theme.${settings.theme}`, () => {
    settings.theme = THEMES[(THEMES.indexOf(settings.theme) + 1) % THEMES.length]!
    keep()
    show()
  })
  function show(): void {
    document.documentElement.dataset.theme = settings.theme
    element.replaceChildren(icon(THEME_ICONS[settings.theme]))
    say(element, `theme.${settings.theme}`, 'aria-label')
    say(element, `theme.${settings.theme}`, 'title')
  }
  show()
  return element
}
