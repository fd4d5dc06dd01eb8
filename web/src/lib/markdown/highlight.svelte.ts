/**
 * Code in colours. The highlighter is a part of its own that is loaded when the first code block appears; until then, and for
 * languages it does not know, code is plain.
 */
import type { Highlighter } from './languages'

/** Beyond this, colours cost more than they give while the text still grows (UTF-16 units). */
const LARGE = 20_000

class Loaded {
  highlighter = $state.raw<Highlighter | null>(null)
  #asked = false

  load(): void {
    if (this.#asked) return
    this.#asked = true
    import('./languages').then(
      ({ highlighter }) => (this.highlighter = highlighter),
      () => (this.#asked = false), // not reached: the next code block asks again
    )
  }
}

const loaded = new Loaded()

/** HTML of the code in colours, or null: leave it plain. Reactive: what was plain is asked for again once the part is here. */
export function highlight(code: string, language: string): string | null {
  if (!language || code.length > LARGE) return null
  loaded.load()
  return loaded.highlighter?.(code, language.toLowerCase()) ?? null
}
