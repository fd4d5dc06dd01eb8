/**
 * Scrolling that stays at the end while an answer grows, unless the reader has gone up to read.
 *
 *     <div {@attach sticky}>…</div>      sticky.toEnd()      sticky.away: the end is out of sight
 */

/** So near the end counts as at the end (px). */
const NEAR = 48

export class Sticky {
  #box: HTMLElement | null = null
  #stuck = true
  #last = 0
  #onaway: (away: boolean) => void

  /** `onaway` is told when the reader leaves the end, and when they are back. */
  constructor(onaway: (away: boolean) => void) {
    this.#onaway = onaway
  }

  attach = (box: HTMLElement): (() => void) => {
    this.#box = box
    const onscroll = (): void => this.#scrolled()
    // fires after layout and before paint: the reader never sees the line below the edge
    const sizes = new ResizeObserver(() => this.#stuck && this.#jump())
    sizes.observe(box)
    for (const child of box.children) sizes.observe(child)
    box.addEventListener('scroll', onscroll, { passive: true })
    return () => {
      sizes.disconnect()
      box.removeEventListener('scroll', onscroll)
      this.#box = null
    }
  }

  /** Go to the end and stay there. */
  toEnd({ smooth = false } = {}): void {
    this.#stick(true)
    if (smooth) this.#box?.scrollTo({ top: this.#box.scrollHeight, behavior: 'smooth' })
    else this.#jump()
  }

  #jump(): void {
    if (!this.#box) return
    this.#box.scrollTop = this.#box.scrollHeight
    this.#last = this.#box.scrollTop
  }

  #scrolled(): void {
    if (!this.#box) return
    const { scrollTop, scrollHeight, clientHeight } = this.#box
    const up = scrollTop < this.#last - 1
    this.#last = scrollTop
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.#stick(true)
    else if (up) this.#stick(false)
  }

  #stick(stuck: boolean): void {
    if (stuck === this.#stuck) return
    this.#stuck = stuck
    this.#onaway(!stuck)
  }
}
