import './styles/base.css'
import './styles/parts.css'
import './styles/controls.css'
import './styles/sheets.css'
import './styles/pictures.css'
import './styles/shell.css'
import { askPlace } from './ask/place'
import { drawPlace } from './draw/place'
import { preferred, setLanguage } from './i18n'
import { listenPlace } from './listen/place'
import { searchPlace } from './search/place'
import { onTrouble } from './shared/api'
import { settings } from './shared/settings'
import { waitForServer } from './shell/away'
import { askForKey } from './shell/key'
import { shell } from './shell/shell'
import { talkPlace } from './talk/place'

setLanguage(settings.language || preferred())
onTrouble(askForKey, () => void waitForServer())
shell({ talk: talkPlace, ask: askPlace, draw: drawPlace, search: searchPlace, listen: listenPlace })
void waitForServer()
