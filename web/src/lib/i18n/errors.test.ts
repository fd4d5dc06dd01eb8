import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ApiError, failure } from '../api/client'
import { refused } from '../testing/server'
import { wordsOf } from './errors'
import { setLang } from './index.svelte'

const PAGE = join(import.meta.dirname, '../../../../src/liaoliao/server/page')
/** What the routes of the page raise themselves, and what stands before all routes. */
const codes = new Set(
  readdirSync(PAGE)
    .filter((name) => name.endsWith('.py'))
    .flatMap((name) => [...readFileSync(join(PAGE, name), 'utf-8').matchAll(/\bcode="(\w+)"/g)].map((found) => found[1] ?? '')),
)
const SHARED = ['context_length_exceeded', 'method_not_allowed', 'not_found', 'overloaded', 'rate_limit_exceeded', 'request_too_large', 'unknown_parameter']

describe('wordsOf', () => {
  afterEach(() => setLang('auto'))

  it('has words in both languages for every code that the page is told', () => {
    expect(codes.size).toBeGreaterThan(20)
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

  it('tells of a server that cannot be reached, or that says nothing', async () => {
    setLang('zh')
    expect(wordsOf(new ApiError('The server cannot be reached.', 0, 'unreachable'))).toBe('连接不上服务器。')
    expect(wordsOf(await failure(new Response('<html>', { status: 502 })))).toBe('服务器返回了 502。')
  })
})
