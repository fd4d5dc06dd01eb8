/**
 * Where a popover goes: under the thing it tells of, above it where there is more room, never over the edges of what is seen.
 *
 *     place(token, sizeOf(popover), parent, view(popover)) -> {left: 12, top: 80, height: 310, above: false}
 *
 * `left` and `top` are the parent's pixels; `height` is the most that the popover may have there: it scrolls if it needs more.
 */

/** From where to where something can be seen, in pixels of the window. */
export interface View {
  top: number
  bottom: number
}

export interface Size {
  width: number
  height: number
}

export interface Spot {
  left: number
  top: number
  height: number
  above: boolean
}

interface Line {
  left: number
  top: number
  bottom: number
}

interface Measured {
  getBoundingClientRect(): Line & Size
  getClientRects?(): ArrayLike<Line>
}

const GAP = 6
const EDGE = 8
/** Where neither side has as much, it lies over the thing itself. */
const LEAST = 200

/** What is seen of the box that an element scrolls in; of the window where there is none, or where it stands fixed. */
export function view(element: Element): View {
  const seen = { top: 0, bottom: window.innerHeight }
  if (getComputedStyle(element).position === 'fixed') return seen
  for (let box = element.parentElement; box; box = box.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(box).overflowY)) continue
    const { top, bottom } = box.getBoundingClientRect()
    return { top: Math.max(seen.top, top), bottom: Math.min(seen.bottom, bottom) }
  }
  return seen
}

/** As large as a popover would be if nothing held it back. */
export function sizeOf(popover: HTMLElement): Size {
  return { width: popover.offsetWidth, height: popover.scrollHeight + popover.offsetHeight - popover.clientHeight }
}

/** The popover's place inside `parent`. A thing that runs over two lines is known by its last one, and by its first from above. */
export function place(anchor: Measured, own: Size, parent: Measured, seen: View): Spot {
  const whole = anchor.getBoundingClientRect()
  const lines = anchor.getClientRects?.()
  const [first, last] = [lines?.[0] ?? whole, lines?.[lines.length - 1] ?? whole]
  const around = parent.getBoundingClientRect()
  const room = { below: seen.bottom - EDGE - GAP - last.bottom, above: whole.top - GAP - EDGE - seen.top }
  const above = own.height > room.below && room.above > room.below
  const side = above ? room.above : room.below
  const height = Math.min(own.height, Math.max(side, Math.min(LEAST, seen.bottom - seen.top - 2 * EDGE)))
  const beside = above ? whole.top - GAP - height : last.bottom + GAP
  const top = height <= side ? beside : within(beside, seen.top + EDGE, seen.bottom - EDGE - height)
  const left = within((above ? first : last).left - around.left, 0, around.width - own.width)
  return { left, top: top - around.top, height, above }
}

/** The nearest number to `value` from `least` to `most`; `least` where there is none. */
function within(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(value, most))
}
