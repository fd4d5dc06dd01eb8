import { afterEach, describe, expect, test } from 'vitest'
import { halves, namesIn, pieces, readJson } from './importing'
import { applyTheme, prefs, readPrefs } from './prefs.svelte'
import { change, FIELDS, FINE_FIELDS, MAIN_FIELDS, read } from './sampling'

afterEach(() => {
  localStorage.clear()
  prefs.account = ''
  prefs.reload()
})

describe('prefs', () => {
  test('what is kept is read back, and nothing else is believed', () => {
    prefs.theme = 'dark'
    prefs.xray = true
    prefs.model = 'run:big'
    expect(readPrefs(localStorage.getItem('liaoliao.prefs'))).toEqual({
      theme: 'dark', xray: true, voice: false, compare: false, model: 'run:big',
    })
    const start = { theme: 'system', xray: false, voice: false, compare: false, model: null }
    for (const junk of [null, '', '{', '[]', '3', '{"theme":"pink","xray":"yes","model":7,"defaults":[1]}']) {
      expect(readPrefs(junk)).toEqual(start)
    }
  })

  test('what new conversations start with is each account’s own', () => {
    prefs.account = 'anna'
    prefs.defaults = { system: 'You know that I am Anna.' }
    expect(localStorage.getItem('liaoliao.prefs') ?? '').not.toContain('Anna')
    prefs.account = 'ben'
    expect(prefs.defaults).toEqual({})
    prefs.account = 'anna'
    expect(prefs.defaults).toEqual({ system: 'You know that I am Anna.' })
    localStorage.setItem('liaoliao.defaults.anna', '[1]')
    prefs.reload()
    expect(prefs.defaults).toEqual({})
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

  describe('of an export of ours', () => {
    const size = (value: unknown): number => new TextEncoder().encode(JSON.stringify(value)).length
    const persona = (id: string) => ({ id, name: `the ${id}`, avatar: 'x'.repeat(300) })
    const file = (id: string) => ({ id, text: 'y'.repeat(400) })
    const talk = (id: string, persona_id: string | null, ...attachments: string[]) => ({ id, title: id, persona_id, messages: [{ attachments }] })
    const data = {
      format: 'liaoliao/1',
      personas: [persona('p1'), persona('p2'), persona('p3')],
      attachments: [file('f1'), file('f2'), file('f3')],
      conversations: [talk('c1', 'p1', 'f1'), talk('c2', 'p1'), talk('c3', null, 'f2'), talk('c4', 'p2', 'f1', 'gone')],
    }
    const listed = (list: readonly { id: string }[]): string => list.map(({ id }) => id).join()
    const ids = (parts: unknown[]): string[][] =>
      (parts as (typeof data)[]).map((part) => [listed(part.personas), listed(part.attachments), listed(part.conversations)])

    test('a piece has what its conversations name, counted in, and nothing else', () => {
      const parts = pieces(data, 1000)
      expect(ids(parts)).toEqual([
        ['p3', '', ''],
        ['p1', 'f1', 'c1,c2'],
        ['', 'f2', 'c3'],
        ['p2', 'f1', 'c4'],
      ])
      for (const part of parts) {
        expect(part).toMatchObject({ format: 'liaoliao/1' })
        expect(size(part)).toBeLessThan(1100)
      }
    })

    test('a small one goes as it is, and so does one of another form', () => {
      expect(pieces(data, 10_000)).toEqual([data])
      const odd = { ...data, personas: null }
      expect(pieces(odd, 10)).toEqual([odd])
    })

    test('a piece that is refused is halved until it is one conversation, which has a name', () => {
      const [, both] = pieces(data, 1000)
      expect(ids(halves(both))).toEqual([
        ['p1', 'f1', 'c1'],
        ['p1', '', 'c2'],
      ])
      const [one] = halves(both)
      expect(halves(one)).toHaveLength(1)
      expect(namesIn(one)).toEqual(['c1'])
      expect(namesIn(pieces(data, 1000)[0])).toEqual(['the p3'])
      expect([namesIn([{ title: 'theirs' }]), namesIn({ title: 'alone' }), namesIn([null])]).toEqual([['theirs'], ['alone'], ['']])
    })
  })

  test('a file that is no JSON is told apart', async () => {
    await expect(readJson(new Blob(['{']))).rejects.toThrow('JSON')
  })
})
