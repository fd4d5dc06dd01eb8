/**
 * Tokens as things to look at: white space made visible, and the way from one to the next by keyboard.
 *
 *     visible(" the") -> "·the"      visible("\n") -> "⏎"      move("ArrowRight", 3, 10) -> 4
 */

const MARKS: Record<string, string> = { ' ': '·', '\t': '⇥', '\n': '⏎', '\r': '␍', '\u00a0': '⍽', '\u3000': '□' }

/** The token's text with its white space as marks; an empty one is "∅". */
export function visible(text: string): string {
  if (text === '') return '∅'
  return text.replace(/[ \t\n\r\u00a0\u3000]/g, (mark) => MARKS[mark] ?? mark)
}

/** The same for running text: only what would vanish at the token's ends, or be nothing but space, is marked. */
export function inRunningText(text: string): string {
  return text.replace(/\n/g, '⏎\n')
}

/**
 * What to show for each token of an answer: its words as they stand in the text, so that a character made of several tokens
 * is whole (at its last piece; the ones before are "◦"). What has no words there is shown by its own text.
 */
export function shown(tokens: readonly Placed[], text: string): string[] {
  const letters = [...text]
  let next = letters.length
  let from = Infinity // the start that `next` belongs to
  const out = tokens.map(({ text: own }) => own)
  for (let i = tokens.length - 1; i >= 0; i--) {
    const start = tokens[i]?.start ?? null
    if (start === null) continue
    const last = start < from
    out[i] = last ? letters.slice(start, next).join('') || (out[i] ?? '') : '◦'
    if (last) [next, from] = [start, start]
  }
  return out
}

interface Placed {
  text: string
  start: number | null
}

/** The places where the model was most torn: those of the largest entropy, at least one bit (two words), largest first. */
export function mostTorn(tokens: readonly { entropy_bits: number }[], count: number): number[] {
  return tokens
    .map(({ entropy_bits }, index) => ({ entropy_bits, index }))
    .filter(({ entropy_bits }) => entropy_bits >= 1)
    .sort((a, b) => b.entropy_bits - a.entropy_bits || a.index - b.index)
    .slice(0, count)
    .map(({ index }) => index)
}

/** Where a key leads from a token, or null where the key means nothing here. Never beyond the ends. */
export function move(key: string, index: number, count: number, page = 10): number | null {
  const to: Record<string, number> = {
    ArrowRight: index + 1,
    ArrowLeft: index - 1,
    PageDown: index + page,
    PageUp: index - page,
    Home: 0,
    End: count - 1,
  }
  const next = to[key]
  return next === undefined || count === 0 ? null : Math.min(count - 1, Math.max(0, next))
}

/** Up and down: the token of the line above or below that stands nearest, from the tokens' boxes on the screen. */
export function nearestOnLine(boxes: readonly Box[], index: number, down: boolean): number {
  const here = boxes[index]
  if (!here) return index
  const isBeyond = (box: Box): boolean =>
    down ? box.top > here.top + here.height / 2 : box.top < here.top - here.height / 2
  const tops = boxes.filter(isBeyond).map((box) => box.top)
  if (tops.length === 0) return index
  const line = down ? Math.min(...tops) : Math.max(...tops)
  let best = index
  let distance = Infinity
  boxes.forEach((box, at) => {
    const away = Math.abs(box.left + box.width / 2 - here.left - here.width / 2)
    if (Math.abs(box.top - line) <= here.height / 2 && isBeyond(box) && away < distance) [best, distance] = [at, away]
  })
  return best
}

export interface Box {
  left: number
  top: number
  width: number
  height: number
}
