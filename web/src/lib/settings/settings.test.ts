import { afterEach, describe, expect, test } from 'vitest'
import { pieces, readJson } from './importing'
import { applyTheme, prefs, readPrefs } from './prefs.svelte'
import { change, FIELDS, FINE_FIELDS, MAIN_FIELDS, read } from './sampling'

afterEach(() => {
  localStorage.clear()
  prefs.reload()
})

describe('prefs', () => {
  test('what is kept is read back, and nothing else is believed', () => {
    prefs.theme = 'dark'
    prefs.xray = true
    prefs.model = 'run:big'
    prefs.defaults = { temperature: 0.2 }
    expect(readPrefs(localStorage.getItem('liaoliao.prefs'))).toEqual({
      theme: 'dark', xray: true, voice: false, compare: false, model: 'run:big', defaults: { temperature: 0.2 },
    })
    const start = { theme: 'system', xray: false, voice: false, compare: false, model: null, defaults: {} }
    for (const junk of [null, '', '{', '[]', '3', '{"theme":"pink","xray":"yes","model":7,"defaults":[1]}']) {
      expect(readPrefs(junk)).toEqual(start)
    }
  })

  test('the theme stands on the root element, none for the system’s', () => {
    prefs.theme = 'light'
    applyTheme()
    expect(document.documentElement.dataset['theme']).toBe('light')
    prefs.theme = 'system'
    applyTheme()
    expect('theme' in document.documentElement.dataset).toBe(false)
  })

  test('voice is off until it is switched on', () => expect(prefs.voice).toBe(false))
})

describe('sampling', () => {
  test('limits hold, whole numbers are whole, empty is the model’s own', () => {
    for (const field of [...MAIN_FIELDS, ...FINE_FIELDS]) {
      const { min, max, whole } = FIELDS[field]
      expect([read(field, String(min)), read(field, String(max)), read(field, ' ')]).toEqual([min, max, null])
      expect([read(field, String(min - 1)), read(field, String(max + 1)), read(field, 'x')]).toEqual([
        undefined, undefined, undefined,
      ])
      expect(read(field, String(min + 0.5)) === undefined).toBe(whole)
    }
  })

  test('a change leaves the others alone, also those that the page does not know', () => {
    const settings = { temperature: 1, thinking: true } as object
    expect(change(settings, 'top_p', 0.5)).toEqual({ temperature: 1, thinking: true, top_p: 0.5 })
    expect(change(settings, 'temperature', null)).toEqual({ thinking: true })
    expect(change({ system: 'x' }, 'system', '')).toEqual({})
    expect(settings).toEqual({ temperature: 1, thinking: true })
  })
})

describe('importing', () => {
  const big = Array.from({ length: 20 }, (_, id) => ({ id, text: '聊'.repeat(50) }))

  test('a list is cut between conversations, none is lost, and pieces keep to the limit', () => {
    const parts = pieces(big, 700) as (typeof big)[]
    expect(parts.flat()).toEqual(big)
    expect(parts.length).toBeGreaterThan(1)
    for (const part of parts) expect(new TextEncoder().encode(JSON.stringify(part)).length).toBeLessThan(800)
  })

  test('one that is larger than a piece goes alone', () => {
    expect(pieces([...big.slice(0, 1), ...big.slice(0, 1)], 10)).toHaveLength(2)
  })

  test('our own export keeps its head in every piece; what is something else goes whole', () => {
    const parts = pieces({ format: 'liaoliao/1', conversations: big }, 700) as { format: string }[]
    expect(new Set(parts.map(({ format }) => format))).toEqual(new Set(['liaoliao/1']))
    expect(pieces({ a: 1 }, 10)).toEqual([{ a: 1 }])
    expect(pieces(null, 10)).toEqual([null])
  })

  test('a file that is no JSON is told apart', async () => {
    await expect(readJson(new Blob(['{']))).rejects.toThrow('JSON')
  })
})
