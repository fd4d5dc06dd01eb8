/**
 * Following an answer: server-sent events over fetch, picked up again wherever the connection broke.
 *
 *     await followAnswer(id, { signal, onevent: (event) => fold(event) })    // resolves when the answer is over
 *
 * EventSource would do most of this, but it tells nothing of an HTTP failure, cannot tell a dead line from a silent one, and
 * waits seconds before it tries again.
 */
import { ApiError, failure } from './client'
import { pause } from './pause'
import type { AnswerEvent } from './types'

export interface ServerEvent {
  id: string
  data: string
}

/** Text chunks -> events, by the rules of the HTML standard. Chunks may end anywhere. */
export class SseParser {
  #rest = ''
  #id = ''
  #data: string[] = []

  feed(chunk: string): ServerEvent[] {
    const text = this.#rest + chunk
    // a \r at the very end may be half of a \r\n
    const end = Math.max(text.lastIndexOf('\n'), text.lastIndexOf('\r', text.length - 2)) + 1
    this.#rest = text.slice(end)
    const lines = text.slice(0, end).split(/\r\n|\n|\r/)
    lines.pop()
    return lines.flatMap((line) => this.#line(line))
  }

  #line(line: string): ServerEvent[] {
    if (line === '') return this.#dispatch()
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (field === 'data') this.#data.push(value)
    if (field === 'id' && !value.includes('\0')) this.#id = value
    return []
  }

  #dispatch(): ServerEvent[] {
    if (!this.#data.length) return []
    const event = { id: this.#id, data: this.#data.join('\n') }
    this.#data = []
    return [event]
  }
}

export interface FollowOptions {
  signal: AbortSignal
  /** Number of the last event that is known already. */
  after?: number
  onevent: (event: AnswerEvent) => void
  /** false when the line broke, true when it is there (again). */
  onconnected?: (connected: boolean) => void
  /** For tests: how to ask and how to wait. */
  fetch?: typeof fetch
  wait?: (delay_ms: number, signal: AbortSignal) => Promise<void>
}

/** The server sends a ping every 5 s: a line that is silent for longer is dead. */
const SILENT_MS = 17_000
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 8_000

/** Follow until the answer is over, over any number of connections. Raises ApiError if the server refuses; an abort just ends it. */
export async function followAnswer(messageId: string, options: FollowOptions): Promise<void> {
  const wait = options.wait ?? pause
  const state = { seq: options.after ?? 0, over: false, delay_ms: FIRST_DELAY_MS }
  while (!options.signal.aborted && !state.over) {
    try {
      await follow(messageId, options, state)
    } catch (error) {
      if (options.signal.aborted) return
      if (error instanceof ApiError && !error.passing) throw error
    }
    if (options.signal.aborted || state.over) return
    options.onconnected?.(false)
    await wait(state.delay_ms * (0.75 + Math.random() / 2), options.signal)
    state.delay_ms = Math.min(state.delay_ms * 2, LONGEST_DELAY_MS)
  }
}

interface State {
  /** Number of the last event that was seen. */
  seq: number
  over: boolean
  delay_ms: number
}

/** One connection. Returns when it ends, for whatever reason but an error. */
async function follow(messageId: string, options: FollowOptions, state: State): Promise<void> {
  const line = new AbortController()
  const leave = (): void => line.abort()
  options.signal.addEventListener('abort', leave)
  const watch = watchdog(leave)
  try {
    const response = await (options.fetch ?? fetch)(`/api/messages/${encodeURIComponent(messageId)}/events?after=${state.seq}`, {
      headers: { accept: 'text/event-stream' },
      credentials: 'same-origin',
      signal: line.signal,
    })
    if (!response.ok || !response.body) throw await failure(response)
    options.onconnected?.(true)
    state.delay_ms = FIRST_DELAY_MS
    await read(response.body, watch, (event) => take(event, options, state))
  } finally {
    watch.stop()
    options.signal.removeEventListener('abort', leave)
    line.abort()
  }
}

/** Read until the end of the stream, or until `onevent` says that it is enough. */
async function read(body: ReadableStream<Uint8Array>, watch: Watchdog, onevent: (event: ServerEvent) => boolean): Promise<void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  const parser = new SseParser()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    watch.heard()
    for (const event of parser.feed(decoder.decode(value, { stream: true }))) if (onevent(event)) return
  }
}

/** Hand an event on, once. True: it was the last. */
function take({ id, data }: ServerEvent, options: FollowOptions, state: State): boolean {
  const seq = Number(id)
  if (Number.isFinite(seq) && id !== '') {
    if (seq <= state.seq) return false // heard before the line broke
    state.seq = seq
  }
  const event = JSON.parse(data) as AnswerEvent
  // what fails after the 200 is a failure of the line, not of the answer: it is picked up again
  if (typeof event.type !== 'string' || event.type === 'error') throw new Error('the server ended the stream')
  state.over = event.type === 'done' || event.type === 'failed'
  options.onevent(event)
  return state.over
}

interface Watchdog {
  heard: () => void
  stop: () => void
}

function watchdog(bark: () => void): Watchdog {
  let timer = setTimeout(bark, SILENT_MS)
  return {
    heard: () => {
      clearTimeout(timer)
      timer = setTimeout(bark, SILENT_MS)
    },
    stop: () => clearTimeout(timer),
  }
}
