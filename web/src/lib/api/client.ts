/**
 * Asking the server. One function for each method; failures are `ApiError`s with the server's own words.
 *
 *     const { models } = await get<ModelList>('/api/models')
 */

/** A failure as the page shows it. `status` 0: the server was not reached. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string | null = null,
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

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => ask<T>('GET', path, undefined, signal)
export const post = <T>(path: string, body: unknown = {}, signal?: AbortSignal): Promise<T> => ask<T>('POST', path, body, signal)
export const put = <T>(path: string, body: unknown): Promise<T> => ask<T>('PUT', path, body)
export const patch = <T>(path: string, body: unknown): Promise<T> => ask<T>('PATCH', path, body)
export const del = <T = void>(path: string, body?: unknown): Promise<T> => ask<T>('DELETE', path, body)

/** A file as the multipart field "file". */
export function upload<T>(path: string, file: File): Promise<T> {
  const form = new FormData()
  form.append('file', file)
  return ask<T>('POST', path, form)
}

async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  try {
    return await read<T>(await send(method, path, body, signal))
  } catch (error) {
    if (error instanceof ApiError) for (const listener of listeners) listener(error)
    throw error
  }
}

async function send(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const init: RequestInit = { method, credentials: 'same-origin' }
  if (signal) init.signal = signal
  if (body instanceof FormData) init.body = body
  else if (body !== undefined) {
    init.body = JSON.stringify(body)
    init.headers = { 'content-type': 'application/json' }
  }
  try {
    return await fetch(path, init)
  } catch (error) {
    if (signal?.aborted) throw error
    throw new ApiError('The server cannot be reached.', 0, 'unreachable')
  }
}

async function read<T>(response: Response): Promise<T> {
  if (!response.ok) throw await failure(response)
  if (response.status === 204) return undefined as T
  return (await response.json()) as T
}

/** The error that a response tells of, in the server's words where it has some. */
export async function failure(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null)
  const error = (body as { error?: { message?: unknown; code?: unknown } } | null)?.error
  const message = typeof error?.message === 'string' ? error.message : `The server answered ${response.status}.`
  return new ApiError(message, response.status, typeof error?.code === 'string' ? error.code : null)
}
