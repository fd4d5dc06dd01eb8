/**
 * Whether the server is there. The first request that does not reach it starts knocking, until it opens.
 *
 *     connection.start(() => chats.refresh())
 */
import { onApiError } from '../api/client'

const EVERY_MS = 1500
const AT_MOST_MS = 10_000

export class Connection {
  offline = $state(false)
  #onback: () => void = () => undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #delay_ms = EVERY_MS

  /** `onback` is told whenever it is there again. Gives back how to end. */
  start(onback: () => void): () => void {
    this.#onback = onback
    const onoffline = (): void => this.lost()
    const ononline = (): void => void this.#knock()
    const forget = onApiError((error) => error.status === 0 && this.lost())
    addEventListener('offline', onoffline)
    addEventListener('online', ononline)
    return () => {
      forget()
      clearTimeout(this.#timer)
      removeEventListener('offline', onoffline)
      removeEventListener('online', ononline)
    }
  }

  /** It did not answer. */
  lost(): void {
    if (this.offline) return
    this.offline = true
    this.#delay_ms = EVERY_MS
    this.#later()
  }

  #later(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#knock(), this.#delay_ms)
    this.#delay_ms = Math.min(this.#delay_ms * 1.5, AT_MOST_MS)
  }

  async #knock(): Promise<void> {
    if (!this.offline) return
    const there = await fetch('/health', { cache: 'no-store' }).then(
      ({ ok }) => ok,
      () => false,
    )
    if (!there) return this.#later()
    this.offline = false
    this.#onback()
  }
}
