/**
 * What a person has chosen for this browser: theme, X-ray, voice, the model; and what new conversations start with, which
 * each account keeps for itself.
 *
 *     prefs.theme = 'dark'; applyTheme()      // kept in localStorage["liaoliao.prefs"], and told to the other tabs
 */
import type { ConversationSettings } from '../api/types'

export type Theme = 'system' | 'light' | 'dark'

export interface PrefValues {
  theme: Theme
  xray: boolean
  voice: boolean
  compare: boolean
  /** The model chosen last; null: the one that the server calls its current one. */
  model: string | null
}

const KEY = 'liaoliao.prefs'
const THEMES: readonly unknown[] = ['system', 'light', 'dark']

const defaultsKey = (account: string): string => `liaoliao.defaults.${account}`

/** What is kept, read with distrust: anything unknown or of a wrong kind is what it was at the start. */
export function readPrefs(text: string | null): PrefValues {
  const kept = parse(text)
  return {
    theme: THEMES.includes(kept['theme']) ? (kept['theme'] as Theme) : 'system',
    xray: kept['xray'] === true,
    voice: kept['voice'] === true,
    compare: kept['compare'] === true,
    model: typeof kept['model'] === 'string' ? kept['model'] : null,
  }
}

function readDefaults(account: string): ConversationSettings {
  return parse(stored(defaultsKey(account))) as ConversationSettings
}

function parse(text: string | null): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? '{}')
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function stored(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null // storage is closed to us: what is chosen holds until the page is left
  }
}

function keep(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value))
  } catch {
    // nothing to keep it in: it holds for this page
  }
}

class Prefs {
  #values = $state<PrefValues>(readPrefs(stored(KEY)))
  #account = ''
  #defaults = $state.raw<ConversationSettings>(readDefaults(''))

  get theme(): Theme {
    return this.#values.theme
  }
  set theme(theme: Theme) {
    this.#change({ theme })
  }
  get xray(): boolean {
    return this.#values.xray
  }
  set xray(xray: boolean) {
    this.#change({ xray })
  }
  get voice(): boolean {
    return this.#values.voice
  }
  set voice(voice: boolean) {
    this.#change({ voice })
  }
  get compare(): boolean {
    return this.#values.compare
  }
  set compare(compare: boolean) {
    this.#change({ compare })
  }
  get model(): string | null {
    return this.#values.model
  }
  set model(model: string | null) {
    this.#change({ model })
  }
  /** What new conversations of this account start with; give a new object to change it. */
  get defaults(): ConversationSettings {
    return this.#defaults
  }
  set defaults(defaults: ConversationSettings) {
    this.#defaults = defaults
    keep(defaultsKey(this.#account), defaults)
  }

  /** Who is here ('': not known yet). What one account wrote in this browser is not shown to the next. */
  get account(): string {
    return this.#account
  }
  set account(account: string) {
    this.#account = account
    this.#defaults = readDefaults(account)
  }

  /** Take over what another tab has written. */
  reload(): void {
    this.#values = readPrefs(stored(KEY))
    this.#defaults = readDefaults(this.#account)
    applyTheme()
  }

  #change(changes: Partial<PrefValues>): void {
    this.#values = { ...this.#values, ...changes }
    keep(KEY, this.#values)
  }
}

export const prefs = new Prefs()

/** Set the page's theme as chosen: `data-theme` on the root element, or none for the system's own. */
export function applyTheme(): void {
  if (prefs.theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = prefs.theme
}

/** Follow changes that other tabs make; gives back what ends that. */
export function followOtherTabs(): () => void {
  const onStorage = (event: StorageEvent): void => {
    if ([KEY, defaultsKey(prefs.account), null].includes(event.key)) prefs.reload()
  }
  window.addEventListener('storage', onStorage)
  return () => window.removeEventListener('storage', onStorage)
}
