import { describe, expect, it } from 'vitest'
import { message } from '../testing/messages'
import { Random } from '../testing/random'
import { FakeStream, refused } from '../testing/server'
import { ApiError } from './client'
import { followAnswer, SseParser, type ServerEvent } from './events'
import type { AnswerEvent } from './types'

describe('SseParser', () => {
  const stream = ': on\n\nid: 1\ndata: {"a":\ndata: 1}\n\n: ping\n\nid: 2\r\ndata:no space\r\n\r\nevent: x\ndata\n\nid: 3\ndata: 你好 😀\n\n'
  const events: ServerEvent[] = [
    { id: '1', data: '{"a":\n1}' },
    { id: '2', data: 'no space' },
    { id: '2', data: '' },
    { id: '3', data: '你好 😀' },
  ]

  it('reads events by the rules of the standard', () => {
    expect(new SseParser().feed(stream)).toEqual(events)
  })

  it('gives the same events wherever the chunks are cut', () => {
    const random = new Random(1)
    for (let round = 0; round < 300; round++) {
      const parser = new SseParser()
      const got: ServerEvent[] = []
      for (let at = 0; at < stream.length; ) {
        const length = 1 + random.below(9)
        got.push(...parser.feed(stream.slice(at, at + length)))
        at += length
      }
      expect(got).toEqual(events)
    }
  })

  it('keeps an event to itself until its blank line', () => {
    const parser = new SseParser()
    expect(parser.feed('data: half')).toEqual([])
    expect(parser.feed('\n')).toEqual([])
    expect(parser.feed('\n')).toEqual([{ id: '', data: 'half' }])
  })
})

describe('followAnswer', () => {
  const done = { type: 'done', message: message({ id: 'm', role: 'assistant', text: 'one two' }) } as const

  /** Follow over these connections, one after the other; a function is asked when its turn comes. */
  async function follow(connections: (FakeStream | Response | Error)[], after?: number): Promise<{ events: AnswerEvent[]; paths: string[]; states: boolean[] }> {
    const events: AnswerEvent[] = []
    const paths: string[] = []
    const states: boolean[] = []
    await followAnswer('m', {
      signal: new AbortController().signal,
      ...(after !== undefined && { after }),
      onevent: (event) => events.push(event),
      onconnected: (connected) => states.push(connected),
      fetch: ((path: string) => {
        paths.push(path)
        const next = connections.shift()
        if (!next || next instanceof Error) return Promise.reject(next ?? new Error('asked once too often'))
        return Promise.resolve(next instanceof FakeStream ? next.response : next)
      }) as typeof fetch,
      wait: () => Promise.resolve(),
    })
    return { events, paths, states }
  }

  it('ends with the answer', async () => {
    const stream = new FakeStream()
    stream.event(1, { type: 'text', text: 'one' })
    stream.event(2, done)
    stream.event(3, { type: 'text', text: 'never' })
    const { events, paths } = await follow([stream])
    expect(events.map(({ type }) => type)).toEqual(['text', 'done'])
    expect(paths).toEqual(['/api/messages/m/events?after=0'])
  })

  it('goes on after the last event it saw, over ended and broken lines, and never hands an event on twice', async () => {
    const [first, second, third] = [new FakeStream(), new FakeStream(), new FakeStream()]
    first.event(1, { type: 'text', text: 'one' })
    first.event(2, { type: 'text', text: ' ' })
    first.end()
    second.event(2, { type: 'text', text: ' ' }) // sent again
    second.event(3, { type: 'text', text: 'two' })
    setTimeout(() => second.break(), 5)
    third.event(4, done)
    const { events, paths, states } = await follow([first, new TypeError('no network'), second, third])
    expect(events.filter(({ type }) => type === 'text').map((event) => (event as { text: string }).text)).toEqual(['one', ' ', 'two'])
    expect(events.at(-1)).toEqual(done)
    expect(paths.map((path) => path.split('after=')[1])).toEqual(['0', '2', '2', '3'])
    expect(states).toEqual([true, false, false, true, false, true])
  })

  it.each(['"type": "error", ', ''])('takes a failure after the 200 (%s) for a broken line', async (type) => {
    const [first, second] = [new FakeStream(), new FakeStream()]
    first.raw(`data: {${type}"error": {"message": "the database is away", "code": "overloaded"}}\n\n`)
    second.event(1, done)
    const { events, states } = await follow([first, second])
    expect(events).toEqual([done])
    expect(states).toEqual([true, false, true])
  })

  it('begins after what is known', async () => {
    const stream = new FakeStream()
    stream.event(8, done)
    expect((await follow([stream], 7)).paths).toEqual(['/api/messages/m/events?after=7'])
  })

  it('tries again while the server is busy, and gives up where it refuses', async () => {
    const stream = new FakeStream()
    stream.event(1, done)
    expect((await follow([refused(503, 'starting'), stream])).events).toEqual([done])
    const refusal = await follow([refused(404, 'no such message')]).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(ApiError)
    expect(refusal).toMatchObject({ status: 404, message: 'no such message' })
  })

  it('reads letters that a chunk cuts in two', async () => {
    const stream = new FakeStream()
    const bytes = new TextEncoder().encode(`id: 1\ndata: ${JSON.stringify({ type: 'text', text: '聊' })}\n\n`)
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
        controller.close()
      },
    })
    stream.event(2, done)
    const { events } = await follow([new Response(body), stream])
    expect(events[0]).toEqual({ type: 'text', text: '聊' })
  })

  it('ends without a word when it is aborted', async () => {
    const life = new AbortController()
    const stream = new FakeStream()
    const following = followAnswer('m', {
      signal: life.signal,
      onevent: () => life.abort(),
      fetch: (async (_: string, init: RequestInit) => {
        init.signal!.addEventListener('abort', () => stream.break())
        return stream.response
      }) as typeof fetch,
    })
    stream.event(1, { type: 'text', text: 'x' })
    await expect(following).resolves.toBeUndefined()
  })
})
