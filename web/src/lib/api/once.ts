/**
 * Requests that must not be lost nor happen twice: each has a key of its own (the header Idempotency-Key), and is sent again
 * under it where the line breaks. The server answers a key that it knows as it did the first time.
 */
import { pause } from './pause'

/** How long to wait before the second and the third time. */
const DELAYS_MS = [300, 1200]

/** Do it, and again where the line broke, up to three times in all. */
export async function persistently<T>(work: () => Promise<T>, isBroken: (error: unknown) => boolean): Promise<T> {
  for (const delay_ms of DELAYS_MS) {
    try {
      return await work()
    } catch (error) {
      if (!isBroken(error)) throw error
      await pause(delay_ms)
    }
  }
  return work()
}

/** The keys of requests that were not answered: who sends the very same again by hand means the same one. */
export class Keys {
  #open = new Map<string, string>()

  take(request: string): string {
    const key = this.#open.get(request) ?? newKey()
    this.#open.set(request, key)
    return key
  }

  /** It was answered. */
  forget(request: string): void {
    this.#open.delete(request)
  }
}

/** 122 random bits or more. Browsers know randomUUID only on https and on this machine. */
export function newKey(): string {
  if ('randomUUID' in crypto) return crypto.randomUUID()
  const bytes = (crypto as Crypto).getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
