/**
 * Where a popover goes: under the thing it tells of, above it where there is no room below, never over the sides.
 *
 *     place(token, popover, popover.offsetParent, view(popover)) -> {left: 12, top: 80}   in the parent's pixels
 */

/** From where to where something can be seen, in pixels of the window. */
export interface View {
  top: number
  bottom: number
}

/** What is seen of the box that an element scrolls in; of the window where there is none. */
export function view(element: Element): View {
  const seen = { top: 0, bottom: window.innerHeight }
  for (let box = element.parentElement; box; box = box.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(box).overflowY)) continue
    const { top, bottom } = box.getBoundingClientRect()
    return { top: Math.max(seen.top, top), bottom: Math.min(seen.bottom, bottom) }
  }
  return seen
}

interface Measured {
  getBoundingClientRect(): { left: number; top: number; bottom: number; width: number; height: number }
  getClientRects?(): ArrayLike<{ left: number; top: number; bottom: number }>
}

const GAP = 6

/** The popover's place inside `parent`. A thing that runs over two lines is known by its last one. */
export function place(
  anchor: Measured,
  popover: Measured,
  parent: Measured,
  seen: View,
): { left: number; top: number } {
  const lines = anchor.getClientRects?.()
  const whole = anchor.getBoundingClientRect()
  const last = lines && lines.length > 0 ? (lines[lines.length - 1] ?? whole) : whole
  const [own, around] = [popover.getBoundingClientRect(), parent.getBoundingClientRect()]
  const left = Math.max(0, Math.min(last.left - around.left, around.width - own.width))
  const below = last.bottom + GAP
  const above = whole.top - GAP - own.height
  const fits = below + own.height <= seen.bottom || above < seen.top
  return { left, top: (fits ? below : above) - around.top }
}
