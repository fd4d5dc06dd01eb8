/**
 * What is known of one answer's inside: the list of its tokens, and a look into each token as it is asked for.
 *
 *     const looks = new Looks(messageId)
 *     looks.listing            // undefined while it is fetched, then {prompt, tokens, model, version}
 *     looks.at('reply', 7)     // undefined, then the look; asks the server once
 */
import { SvelteMap } from 'svelte/reactivity'
import { getLook, getXray, type Look, type Place, type XrayListing } from '../api/more'
import { wordsOf } from '../i18n/errors'

/** Looks kept; each holds the attention of all layers and heads, some tens of kilobytes. */
const KEPT = 200

/** Who waits for looks: each waits for one at a time, the newest. */
export type Asker = 'popover' | 'panel' | 'prompt'

export class Looks {
  readonly messageId: string
  listing = $state.raw<XrayListing | undefined>()
  /** Why there is no listing. */
  failure = $state<string | undefined>()
  readonly #found = new SvelteMap<string, Look | Error>()
  readonly #asked = new Map<Asker, { key: string; stop: AbortController }>()

  constructor(messageId: string) {
    this.messageId = messageId
  }

  /** Fetch the list of tokens; a second call fetches it anew. */
  async load(): Promise<void> {
    this.failure = undefined
    try {
      this.listing = await getXray(this.messageId)
    } catch (error) {
      this.failure = wordsOf(error)
    }
  }

  /** What is known of a token so far: a look, an error, or undefined while nothing is. Does not ask. */
  known(place: Place, index: number): Look | Error | undefined {
    return this.#found.get(`${place}:${index}`)
  }

  /** Ask for a token's look, unless it is known or on its way; what the same asker still waits for is dropped. */
  ask(place: Place, index: number, asker: Asker = 'panel'): void {
    const key = `${place}:${index}`
    if (this.#found.get(key) !== undefined) return
    for (const waiting of this.#asked.values()) if (waiting.key === key) return
    this.#asked.get(asker)?.stop.abort()
    const stop = new AbortController()
    this.#asked.set(asker, { key, stop })
    void this.#fetch(key, place, index, stop).finally(() => {
      if (this.#asked.get(asker)?.stop === stop) this.#asked.delete(asker)
    })
  }

  async #fetch(key: string, place: Place, index: number, stop: AbortController): Promise<void> {
    try {
      this.#keep(key, await getLook(this.messageId, place, index, stop.signal))
    } catch (error) {
      if (!stop.signal.aborted) this.#keep(key, new Error(wordsOf(error)))
    }
  }

  #keep(key: string, found: Look | Error): void {
    this.#found.set(key, found)
    for (const oldest of this.#found.keys()) {
      if (this.#found.size <= KEPT) break
      this.#found.delete(oldest)
    }
  }
}
