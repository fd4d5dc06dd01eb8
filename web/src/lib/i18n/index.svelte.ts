/**
 * The page's words. `t` is reactive: what it gave is given anew when the language changes.
 *
 *     t('sidebar.found', { n: 3 })  ->  "3 conversations found" / "找到 3 个对话"
 */
import { en } from './en'
import { enMore } from './en-more'
import { zh } from './zh'
import { zhMore } from './zh-more'

export type Lang = 'en' | 'zh'
export type LangChoice = Lang | 'auto'
export type Key = keyof typeof en | keyof typeof enMore
export type Values = Record<string, string | number>

export const words: Record<Lang, Record<Key, string>> = { en: { ...en, ...enMore }, zh: { ...zh, ...zhMore } }

const STORED = 'liaoliao.lang'

class Locale {
  choice = $state<LangChoice>(stored())
  current: Lang = $derived(this.choice === 'auto' ? preferred(browserLanguages()) : this.choice)
}

export const locale = new Locale()

export const lang = (): Lang => locale.current
export const langChoice = (): LangChoice => locale.choice

/** Speak this language from now on, and at the next visit; "auto" follows the browser. */
export function setLang(choice: LangChoice): void {
  locale.choice = choice
  try {
    if (choice === 'auto') localStorage.removeItem(STORED)
    else localStorage.setItem(STORED, choice)
  } catch {
    // no storage: it holds until the page is left
  }
}

/** The first of the browser's languages that we speak. */
export function preferred(languages: readonly string[]): Lang {
  for (const language of languages) {
    if (language.toLowerCase().startsWith('zh')) return 'zh'
    if (language.toLowerCase().startsWith('en')) return 'en'
  }
  return 'en'
}

/** The words of a key in the present language, with values filled in. */
export function t(key: Key, values?: Values): string {
  return fill(words[locale.current][key], values)
}

/** "{n} tokens" and values -> words; "one token|{n} tokens" takes the first part where n is 1. */
export function fill(template: string, values: Values = {}): string {
  const [one, many] = template.split('|', 2)
  const chosen = many === undefined || values['n'] === 1 ? (one ?? '') : many
  return chosen.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name]
    return value === undefined ? whole : typeof value === 'number' ? formatNumber(value) : value
  })
}

const tag = (): string => (locale.current === 'zh' ? 'zh-CN' : 'en')

export function formatNumber(value: number, options?: Intl.NumberFormatOptions): string {
  return new Intl.NumberFormat(tag(), options).format(value)
}

/** 110_000_000 -> "110M" / "1.1亿". */
export function formatShort(value: number): string {
  return formatNumber(value, { notation: 'compact', maximumFractionDigits: 1 })
}

export function formatBytes(size_bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, size_bytes)) / 3)))
  return `${formatNumber(size_bytes / 1000 ** step, { maximumFractionDigits: step ? 1 : 0 })} ${units[step]}`
}

export function formatDate(unix_s: number): string {
  return new Intl.DateTimeFormat(tag(), { dateStyle: 'medium', timeStyle: 'short' }).format(unix_s * 1000)
}

const STEPS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
]

/** "3 minutes ago", from a Unix time. */
export function formatWhen(unix_s: number, now_s: number = Date.now() / 1000): string {
  for (const [unit, seconds] of STEPS) {
    const count = Math.trunc((unix_s - now_s) / seconds)
    if (count !== 0) return new Intl.RelativeTimeFormat(tag(), { numeric: 'auto' }).format(count, unit)
  }
  return t('time.now')
}

function browserLanguages(): readonly string[] {
  return typeof navigator === 'undefined' ? [] : navigator.languages
}

function stored(): LangChoice {
  try {
    const choice = localStorage.getItem(STORED)
    return choice === 'en' || choice === 'zh' ? choice : 'auto'
  } catch {
    return 'auto'
  }
}
