import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeServer, refused } from '../testing/server'
import { ApiError, onApiError, postOnce } from './client'
import { newKey } from './once'

const PATH = '/api/conversations/c1/messages'
const BODY = { text: 'hello' }
const broken = (): never => {
  throw new TypeError('network error')
}
/** An answer that begins, and breaks off. */
const half = (): Response => new Response(new ReadableStream({ pull: (stream) => stream.error(new TypeError('terminated')) }), { status: 201 })

let server: FakeServer
const keys = (): (string | null)[] => server.headers.map((headers) => headers.get('idempotency-key'))

/** What the server does, time after time; the last for ever. */
function answers(...all: (() => unknown)[]): void {
  let turn = 0
  server.on(`POST ${PATH}`, () => all[Math.min(turn++, all.length - 1)]!())
}

/** Wait for a promise while the clock runs as fast as it can. */
async function settled<T>(promise: Promise<T>): Promise<T | ApiError> {
  const end = promise.catch((error: unknown) => error as ApiError)
  await vi.runAllTimersAsync()
  return end
}

beforeEach(() => {
  vi.useFakeTimers()
  server = new FakeServer()
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('postOnce', () => {
  it.each([['before the answer', broken], ['in the midst of it', half], ['behind a proxy', () => refused(502, 'bad gateway')]])(
    'sends again under the same key where the line breaks %s, and tells nobody',
    async (_, breaks) => {
      const told = vi.fn()
      const forget = onApiError(told)
      answers(breaks, breaks, () => ({ ok: true }))
      expect(await settled(postOnce(PATH, BODY))).toEqual({ ok: true })
      expect(server.bodies).toEqual([BODY, BODY, BODY])
      expect(new Set(keys()).size).toBe(1)
      expect(keys()[0]).toMatch(/^[\w-]{32,36}$/)
      expect(told).not.toHaveBeenCalled()
      forget()
    },
  )

  it('gives up in the end, says so once, and means the same when it is asked again', async () => {
    const told = vi.fn()
    const forget = onApiError(told)
    answers(broken, broken, broken, () => ({ ok: true }))
    expect(await settled(postOnce(PATH, BODY))).toMatchObject({ status: 0 })
    expect(told).toHaveBeenCalledTimes(1)
    expect(await settled(postOnce(PATH, BODY))).toEqual({ ok: true })
    expect(keys().length).toBe(4)
    expect(new Set(keys()).size).toBe(1)
    forget()
  })

  it('has a new key for other words, and for the same words once they were answered', async () => {
    answers(() => ({ ok: true }))
    for (const text of ['a', 'b', 'a']) await settled(postOnce(PATH, { text }))
    expect(new Set(keys()).size).toBe(3)
  })

  it('takes a refusal as an answer', async () => {
    answers(() => refused(409, 'busy', 'busy'))
    expect(await settled(postOnce(PATH, BODY))).toMatchObject({ status: 409, code: 'busy' })
    await settled(postOnce(PATH, BODY))
    expect(new Set(keys()).size).toBe(2)
  })
})

describe('newKey', () => {
  it('is never the same twice, also where the browser has no randomUUID', () => {
    const real = crypto
    vi.stubGlobal('crypto', { getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => real.getRandomValues(bytes) })
    const found = Array.from({ length: 1000 }, newKey)
    expect(new Set(found).size).toBe(1000)
    expect(found.every((key) => /^[\da-f]{32}$/.test(key))).toBe(true)
  })
})
