/**
 * A stand-in for the server: answers by method and path, and streams that the test writes.
 *
 *     const server = new FakeServer()
 *     server.on('GET /api/models', () => ({ models: [], current: null }))
 */
import { vi } from 'vitest'

type Answer = (body: unknown, path: string) => unknown

export class FakeServer {
  /** What was asked, as "POST /api/conversations". */
  readonly asked: string[] = []
  readonly bodies: unknown[] = []
  readonly headers: Headers[] = []
  #answers = new Map<string, Answer>()

  constructor() {
    vi.stubGlobal('fetch', (path: string, init?: RequestInit) => this.#answer(path, init))
  }

  on(route: string, answer: Answer): void {
    this.#answers.set(route, answer)
  }

  async #answer(path: string, init: RequestInit = {}): Promise<Response> {
    const route = `${init.method ?? 'GET'} ${path.split('?', 1)[0]}`
    this.asked.push(`${init.method ?? 'GET'} ${path}`)
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : undefined
    this.bodies.push(body)
    this.headers.push(new Headers(init.headers))
    const answer = this.#answers.get(route)
    if (!answer) return refused(404, `no ${route}`)
    const value = await answer(body, path)
    return value instanceof Response ? value : Response.json(value)
  }
}

export function refused(status: number, message: string, code: string | null = null): Response {
  return Response.json({ error: { message, type: 'invalid_request_error', param: null, code } }, { status })
}

/** A stream of events that the test writes piece by piece. */
export class FakeStream {
  #controller!: ReadableStreamDefaultController<Uint8Array>
  readonly response: Response

  constructor() {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#controller = controller) })
    this.response = new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }

  raw(text: string): void {
    this.#controller.enqueue(new TextEncoder().encode(text))
  }

  event(seq: number, data: unknown): void {
    this.raw(`id: ${seq}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  end(): void {
    this.#controller.close()
  }

  break(): void {
    this.#controller.error(new TypeError('network error'))
  }
}
