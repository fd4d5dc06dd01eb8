import { afterEach, describe, expect, it } from 'vitest'
import { en } from './en'
import { enMore } from './en-more'
import { fill, formatBytes, formatWhen, preferred, setLang, t, words, type Key } from './index.svelte'
import { zh } from './zh'
import { zhMore } from './zh-more'

const keys = Object.keys(words.en) as Key[]
const places = (text: string): string => [...new Set(text.match(/\{\w+\}/g))].sort().join()
/** Names that are the same in both languages. */
const NAMES = /^[\s\d.,:;+*/()=<>%{}\w·–…→-]*$/

describe('the words', () => {
  it('are there in both languages, under the same keys', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort())
    expect(Object.keys(zhMore).sort()).toEqual(Object.keys(enMore).sort())
    expect(Object.keys(en).filter((key) => key in enMore)).toEqual([])
    expect(keys.filter((key) => !words.en[key].trim() || !words.zh[key].trim())).toEqual([])
  })

  it('take the same values', () => {
    expect(keys.filter((key) => places(words.en[key]) !== places(words.zh[key]))).toEqual([])
  })

  it('are Chinese where they are Chinese, and English where they are English', () => {
    const same = keys.filter((key) => words.en[key] === words.zh[key] && !NAMES.test(words.en[key]))
    expect(same).toEqual([])
    const chinese = keys.filter((key) => /[\u4e00-\u9fff]/.test(words.en[key]))
    expect(chinese.filter((key) => !/lang|language/i.test(key))).toEqual([])
    expect(keys.filter((key) => words.zh[key].includes('|'))).toEqual([])
  })
})

describe('each word', () => {
  const sources = Object.values(import.meta.glob<string>('../../**/*.{svelte,ts}', { query: '?raw', import: 'default', eager: true }))
  const code = sources.filter((source) => !/export const (en|zh)(More)?\b/.test(source)).join('\n')

  it('of the chat is used somewhere', () => {
    const made = /^sidebar\.(pinned|today|yesterday|week|month|older)$/ // from the names of groups
    expect(Object.keys(en).filter((key) => !made.test(key) && !code.includes(`'${key}'`))).toEqual([])
  })
})

describe('fill', () => {
  it('puts values in', () => expect(fill('{a} and {b}', { a: 'x', b: 2 })).toBe('x and 2'))
  it('leaves what has no value', () => expect(fill('{a}')).toBe('{a}'))
  it('chooses by number', () => {
    expect(fill('one word|{n} words', { n: 1 })).toBe('one word')
    expect(fill('one word|{n} words', { n: 0 })).toBe('0 words')
    expect(fill('one word|{n} words', { n: 12_000 })).toBe('12,000 words')
  })
  it('takes values as they are', () => expect(fill('“{q}”', { q: '$& {n} <b>' })).toBe('“$& {n} <b>”'))
})

describe('languages', () => {
  afterEach(() => setLang('auto'))
  it('follows the browser', () => {
    expect(preferred(['zh-TW', 'en'])).toBe('zh')
    expect(preferred(['fr', 'en-GB', 'zh'])).toBe('en')
    expect(preferred(['fr'])).toBe('en')
  })
  it('speaks what was chosen, also next time', () => {
    setLang('zh')
    expect(t('cancel')).toBe('取消')
    expect(localStorage.getItem('liaoliao.lang')).toBe('zh')
    setLang('en')
    expect(t('cancel')).toBe('Cancel')
  })
  it('tells sizes and times', () => {
    setLang('en')
    expect([formatBytes(0), formatBytes(999), formatBytes(1500), formatBytes(2_000_000)]).toEqual(['0 B', '999 B', '1.5 kB', '2 MB'])
    expect(formatWhen(1000 - 185, 1000)).toBe('3 minutes ago')
    expect(formatWhen(990, 1000)).toBe('just now')
    setLang('zh')
    expect(formatWhen(1000 - 185, 1000)).toBe('3分钟前')
  })
})
