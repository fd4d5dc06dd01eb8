import { beforeEach, describe, expect, it } from 'vitest'
import type { ConversationSummary } from '../api/types'
import { prefs } from '../settings/prefs.svelte'
import { refusal } from './attachments.svelte'
import { keepDraft, readDraft } from './drafts'
import { sends } from './keys'
import { grouped } from './list.svelte'
import { pieces } from './marks'
import { nextSentences } from './sentences'
import { keysOf, shortcut, SHORTCUTS } from './shortcuts'

describe('sends', () => {
  const enter = { key: 'Enter', shiftKey: false, altKey: false, isComposing: false, keyCode: 13 }
  it('sends on Enter', () => expect(sends(enter)).toBe(true))
  it('makes a line with Shift', () => expect(sends({ ...enter, shiftKey: true })).toBe(false))
  it('leaves Enter to an input method', () => {
    expect(sends({ ...enter, isComposing: true })).toBe(false)
    expect(sends({ ...enter, keyCode: 229 })).toBe(false) // Safari: the Enter that ended the composition
  })
  it('means nothing by other keys', () => expect(sends({ ...enter, key: 'a' })).toBe(false))
})

describe('shortcut', () => {
  const key = { key: 'k', ctrlKey: false, metaKey: false, shiftKey: false, altKey: false }
  it('knows Ctrl and ⌘', () => {
    expect(shortcut({ ...key, ctrlKey: true })).toBe('search')
    expect(shortcut({ ...key, metaKey: true })).toBe('search')
    expect(shortcut(key)).toBeNull()
  })
  it('knows Ctrl+Shift+O and Esc', () => {
    expect(shortcut({ ...key, key: 'O', ctrlKey: true, shiftKey: true })).toBe('new')
    expect(shortcut({ ...key, key: 'o', ctrlKey: true })).toBeNull()
    expect(shortcut({ ...key, key: 'Escape' })).toBe('stop')
  })
  it('lets people type a question mark', () => {
    const question = { ...key, key: '?', shiftKey: true }
    expect(shortcut({ ...question, target: document.createElement('textarea') })).toBeNull()
    expect(shortcut({ ...question, target: document.body })).toBe('help')
  })
  it('keeps out of input methods', () => expect(shortcut({ ...key, key: 'Escape', isComposing: true })).toBeNull())
  it('has one action for a key', () => expect(new Set(SHORTCUTS.map(([, keys]) => keys)).size).toBe(SHORTCUTS.length))
  it('shows keys as the machine names them', () => {
    expect(keysOf('Mod+Shift+O', true)).toEqual(['⌘', '⇧', 'O'])
    expect(keysOf('Mod+Shift+O', false)).toEqual(['Ctrl', 'Shift', 'O'])
  })
})

describe('nextSentences', () => {
  it('says whole sentences, in both languages', () => {
    expect(nextSentences('Hello there. How a', 0)).toEqual({ said: 'Hello there.', upTo: 12 })
    expect(nextSentences('你好。今天', 0)).toEqual({ said: '你好。', upTo: 3 })
    expect(nextSentences('It is 3.14 and', 0)).toEqual({ said: '', upTo: 0 })
  })
  it('says everything once, however the text grows', () => {
    const text = '# Bees\n\nThey **fly**. 它们飞。 See [the page](https://example.org). Pi is 3.14! And then'
    const said: string[] = []
    let upTo = 0
    for (let end = 1; end <= text.length; end++) {
      const next = nextSentences(text.slice(0, end), upTo, end === text.length)
      upTo = next.upTo
      if (next.said) said.push(next.said)
    }
    expect(said.join(' ').replace(/\s+/g, ' ')).toBe('Bees They fly. 它们飞。 See the page. Pi is 3.14! And then')
  })
})

describe('grouped', () => {
  const now = new Date(2026, 10, 24, 9, 0).getTime() / 1000
  const item = (id: string, hours_ago: number, pinned = false): ConversationSummary => ({
    id, title: id, pinned, updated_at: now - hours_ago * 3600, model: null, snippet: null,
  })
  it('sorts by calendar days, and pins apart', () => {
    const items = [item('p', 999, true), item('a', 1), item('b', 10), item('c', 40), item('d', 24 * 20), item('e', 24 * 90)]
    expect(grouped(items, now).map(([group, of]) => [group, of.map(({ id }) => id).join()])).toEqual([
      ['pinned', 'p'],
      ['today', 'a'],
      ['yesterday', 'b'],
      ['week', 'c'],
      ['month', 'd'],
      ['older', 'e'],
    ])
  })
})

describe('pieces', () => {
  it('marks what was looked for and keeps every letter', () => {
    expect(pieces('The ferry, the Ferryman', 'fer').filter(({ marked }) => marked).map(({ text }) => text)).toEqual(['fer', 'Fer'])
    expect(pieces('a+b (c)', '+ (').map(({ text }) => text).join('')).toBe('a+b (c)')
    expect(pieces('湖边小镇', '小镇').at(-1)).toEqual({ text: '小镇', marked: true })
    expect(pieces('x', ' ')).toEqual([{ text: 'x', marked: false }])
  })
})

describe('drafts', () => {
  beforeEach(() => sessionStorage.clear())
  it('are kept for each conversation', () => {
    keepDraft('c1', 'one')
    keepDraft(null, 'new')
    expect([readDraft('c1'), readDraft(null), readDraft('c2')]).toEqual(['one', 'new', ''])
    keepDraft('c1', '')
    expect(readDraft('c1')).toBe('')
  })
  it('are each account’s own', () => {
    prefs.account = 'anna'
    keepDraft(null, 'a secret')
    prefs.account = 'ben'
    expect(readDraft(null)).toBe('')
    prefs.account = 'anna'
    expect(readDraft(null)).toBe('a secret')
    prefs.account = ''
  })
})

describe('refusal', () => {
  it('takes text in any language, and nothing else', async () => {
    expect(await refusal(new File(['聊聊\nhello'], 'a.md'))).toBeNull()
    expect(await refusal(new File([Uint8Array.of(0xff, 0xfe, 0x00)], 'a.png'))).toContain('a.png')
    expect(await refusal(new File(['a\0b'], 'b.bin'))).toContain('b.bin')
    expect(await refusal(new File(['x'.repeat(1024 * 1024 + 1)], 'c.txt'))).toContain('c.txt')
  })
  it.each([true, false])('takes UTF-16 that says so (little-endian: %s), as the server does', async (littleEndian) => {
    const utf16 = (text: string): File => {
      const view = new DataView(new ArrayBuffer(2 * text.length))
      for (let n = 0; n < text.length; n++) view.setUint16(2 * n, text.charCodeAt(n), littleEndian)
      return new File([view], 'notes.txt')
    }
    expect(await refusal(utf16('\ufeff聊聊\nhello'))).toBeNull()
    expect(await refusal(utf16('\ufeffhalf a pair: \ud83d.'))).toContain('notes.txt')
    expect(await refusal(utf16('\ufeffa\0b'))).toContain('notes.txt')
    expect(await refusal(utf16('no mark'))).toContain('notes.txt')
  })
})
