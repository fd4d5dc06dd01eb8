import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ApiError, failure } from '../api/client'
import { refused } from '../testing/server'
import { reasonOf, wordsOf } from './errors'
import { setLang } from './index.svelte'

const SOURCE = join(import.meta.dirname, '../../../../src/liaoliao')
const read = (file: string): string => readFileSync(join(SOURCE, file), 'utf-8')
const filesIn = (folder: string): string[] =>
  readdirSync(join(SOURCE, folder))
    .filter((name) => name.endsWith('.py'))
    .map((name) => `${folder}/${name}`)
const codesIn = (files: string[]): string[] =>
  files.flatMap((file) => [...read(file).matchAll(/\bcode="(\w+)"/g)].map((found) => found[1] ?? ''))
/** What the routes of the page raise themselves, and what is raised below them: by the store, and by what reads character cards. */
const below = new Set(codesIn([...filesIn('store'), 'chat/persona.py']))
const codes = new Set([...codesIn(filesIn('server/page')), ...below])
const SHARED = ['context_length_exceeded', 'method_not_allowed', 'not_found', 'overloaded', 'rate_limit_exceeded', 'request_too_large', 'unknown_parameter']

describe('wordsOf', () => {
  afterEach(() => setLang('auto'))

  it('has words in both languages for every code that the page is told', () => {
    expect(codes.size).toBeGreaterThan(40)
    expect([...below]).toEqual(expect.arrayContaining(['last_admin', 'no_export', 'persona_picture']))
    const words = (code: string): string[] =>
      (['en', 'zh'] as const).map((language) => {
        setLang(language)
        return wordsOf(new ApiError('as it was said', 400, code))
      })
    const bare = [...codes, ...SHARED].filter((code) => {
      const [en = '', zh = ''] = words(code)
      return en === 'as it was said' || /[\u4e00-\u9fff]/.test(en) || !/[\u4e00-\u9fff]/.test(zh)
    })
    expect(bare).toEqual([])
  })

  it('leaves what has no code as the server said it', () => {
    setLang('zh')
    expect(wordsOf(new ApiError('anna is the last admin', 400))).toBe('anna is the last admin')
    expect(wordsOf(new ApiError('new', 400, 'a_code_of_tomorrow'))).toBe('new')
    expect(wordsOf(new ApiError('odd', 400, 'constructor'))).toBe('odd')
    expect([wordsOf(new RangeError('r')), wordsOf('thrown')]).toEqual(['r', 'thrown'])
  })

  it('keeps what only the server knows', async () => {
    setLang('zh')
    expect(wordsOf(new ApiError("Invalid value for 'name'", 400, 'invalid_value'))).toContain("Invalid value for 'name'")
    const busy = refused(429, 'Too many attempts.', 'rate_limit_exceeded')
    busy.headers.set('retry-after', '120')
    expect(wordsOf(await failure(busy))).toContain('120')
  })

  it('names the limits that the server holds to', () => {
    const limit = (file: string, name: string): string => new RegExp(`^${name} = (\\d+)`, 'm').exec(read(file))?.[1] ?? '?'
    const told = (code: string): string => wordsOf(new ApiError('as it was said', 400, code))
    for (const language of ['en', 'zh'] as const) {
      setLang(language)
      for (const name of ['MIN_CHARACTERS', 'MAX_CHARACTERS'])
        expect(told('password_length')).toContain(` ${limit('store/passwords.py', name)} `)
      expect(told('key_name')).toContain(` ${limit('store/credentials.py', '_MAX_NAME')} `)
    }
  })

  it('tells why an answer failed, by the code that was kept with it', () => {
    setLang('zh')
    expect(reasonOf({ error: 'The queue is full.', error_code: 'overloaded' })).toBe('服务器现在无法处理，请稍后再试。')
    expect(reasonOf({ error: 'no room', error_code: null })).toBe('no room')
    expect([reasonOf({ error: null, error_code: null }), reasonOf(null)]).toEqual(['原因不明', '原因不明'])
  })

  it('tells of a server that cannot be reached, or that says nothing', async () => {
    setLang('zh')
    expect(wordsOf(new ApiError('The server cannot be reached.', 0, 'unreachable'))).toBe('连接不上服务器。')
    expect(wordsOf(await failure(new Response('<html>', { status: 502 })))).toBe('服务器返回了 502。')
  })
})
