/**
 * Asking the server. One function for each method; failures are `ApiError`s with the server's own words (`wordsOf` has the reader's).
 *
 *     const { models } = await get<ModelList>('/api/models')
 *     await postOnce<Asked>(path, { text })      // over a line that breaks: sent again, and said once
 */
import { Keys, persistently } from './once'

/** A failure; `wordsOf` tells it to the reader. `status` 0: the server was not reached. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string | null = null,
    /** After how long the server wants to be asked again. */
    readonly retry_after_s: number | null = null,
  ) {
    super(message)
    this.name = 'ApiError'
  }

  /** The server was not reached, or is too busy: the same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502
  }
}

type Listener = (error: ApiError) => void
const listeners = new Set<Listener>()

/** Be told of every failure (App looks for 401 to show the login, and for 0 to show that the server is away). */
export function onApiError(listener: Listener): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => ask<T>('GET', path, undefined, { signal })
export const post = <T>(path: string, body: unknown = {}): Promise<T> => ask<T>('POST', path, body)
export const put = <T>(path: string, body: unknown): Promise<T> => ask<T>('PUT', path, body)
export const patch = <T>(path: string, body: unknown): Promise<T> => ask<T>('PATCH', path, body)
export const del = <T = void>(path: string, body?: unknown): Promise<T> => ask<T>('DELETE', path, body)

const keys = new Keys()

/** A change that must happen once: where the line breaks it is sent again under the same key, by which the server knows it. */
export async function postOnce<T>(path: string, body: unknown = {}): Promise<T> {
  const request = `${path} ${JSON.stringify(body)}`
  try {
    const answer = await ask<T>('POST', path, body, { key: keys.take(request) })
    keys.forget(request)
    return answer
  } catch (error) {
    if (!isBroken(error)) keys.forget(request)
    throw error
  }
}

/** A file as the multipart field "file". */
export function upload<T>(path: string, file: File): Promise<T> {
  const form = new FormData()
  form.append('file', file)
  return ask<T>('POST', path, form)
}

interface Options {
  signal?: AbortSignal | undefined
  /** Ask again under this key where the line breaks. */
  key?: string
}

async function ask<T>(method: string, path: string, body?: unknown, options: Options = {}): Promise<T> {
  const init = request(method, body, options)
  const once = (): Promise<T> => exchange<T>(path, init)
  try {
    return await (options.key ? persistently(once, isBroken) : once())
  } catch (error) {
    if (error instanceof ApiError) for (const listener of listeners) listener(error)
    throw error
  }
}

function request(method: string, body: unknown, { signal, key }: Options): RequestInit {
  const headers: Record<string, string> = key ? { 'idempotency-key': key } : {}
  const init: RequestInit = { method, headers, credentials: 'same-origin', signal: signal ?? null }
  if (body instanceof FormData) return { ...init, body }
  if (body === undefined) return init
  headers['content-type'] = 'application/json'
  return { ...init, body: JSON.stringify(body) }
}

/** Ask once. The line may break before the answer, or in the midst of it. */
async function exchange<T>(path: string, init: RequestInit): Promise<T> {
  try {
    const response = await fetch(path, init)
    if (!response.ok) throw await failure(response)
    if (response.status === 204) return undefined as T
    return (await response.json()) as T
  } catch (error) {
    if (init.signal?.aborted || error instanceof ApiError || error instanceof SyntaxError) throw error
    throw new ApiError('The server cannot be reached.', 0, 'unreachable')
  }
}

/** The line broke, here or between a proxy and the server: nobody knows whether the request was heard. */
function isBroken(error: unknown): boolean {
  return error instanceof ApiError && [0, 502, 504].includes(error.status)
}

/** The error that a response tells of, in the server's words where it has some. */
export async function failure(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null)
  const error = (body as { error?: { message?: unknown; code?: unknown } } | null)?.error
  const { status } = response
  if (typeof error?.message !== 'string') return new ApiError(`The server answered ${status}.`, status, 'wordless')
  const wait_s = Number(response.headers.get('retry-after'))
  return new ApiError(error.message, status, typeof error.code === 'string' ? error.code : null, wait_s > 0 ? wait_s : null)
}
