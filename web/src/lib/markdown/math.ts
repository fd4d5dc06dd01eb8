/**
 * Mathematics in Markdown: $…$ and \(…\) in a line, $$…$$ and \[…\] as a display. The rules only find it; what is found
 * becomes an element with its TeX in `data-tex`, which mathematics.ts draws.
 *
 *     "so $x^2$ costs $5"  ->  so <span class="math" data-tex="x^2">x^2</span> costs $5
 */
import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it'

export function math(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'math', inlineMath)
  md.block.ruler.before('fence', 'math', blockMath, { alt: ['paragraph', 'reference', 'blockquote', 'list'] })
  const { escapeHtml } = md.utils
  md.renderer.rules['math'] = (tokens, index) => {
    const { content, markup } = tokens[index]!
    const kind = markup === '$$' ? 'math display' : 'math'
    return `<span class="${kind}" data-tex="${escapeHtml(content)}">${escapeHtml(content)}</span>`
  }
  md.renderer.rules['math_block'] = (tokens, index) => {
    const { content, meta } = tokens[index]!
    // not all of it is here: drawing it would show an error that the next token mends
    if ((meta as { open: boolean }).open) return `<pre class="math-source"><code>${escapeHtml(content)}</code></pre>\n`
    return `<div class="math display" data-tex="${escapeHtml(content)}">${escapeHtml(content)}</div>\n`
  }
}

const PAIRS: readonly [string, string][] = [
  ['$$', '$$'],
  ['\\[', '\\]'],
  ['\\(', '\\)'],
  ['$', '$'],
]

function inlineMath(state: StateInline, silent: boolean): boolean {
  const { src, pos } = state
  const pair = PAIRS.find(([opening]) => src.startsWith(opening, pos))
  if (!pair) return false
  const [opening, closing] = pair
  const start = pos + opening.length
  const end = opening === '$' ? endOfDollars(src, start) : src.indexOf(closing, start)
  if (end < 0 || end + closing.length > state.posMax || !src.slice(start, end).trim()) return false
  if (!silent) {
    const token = state.push('math', 'span', 0)
    token.content = src.slice(start, end).trim()
    token.markup = opening === '$$' || opening === '\\[' ? '$$' : '$'
  }
  state.pos = end + closing.length
  return true
}

/** Where $…$ ends: never after a space, before a digit, or over a line's end, so that prices stay prices. */
function endOfDollars(src: string, start: number): number {
  if (/\s/.test(src[start] ?? ' ')) return -1
  for (let end = start; end < src.length; end++) {
    const char = src[end]
    if (char === '\n') return -1
    if (char === '\\') end++
    else if (char === '$') return /\s/.test(src[end - 1]!) || /[0-9]/.test(src[end + 1] ?? '') ? -1 : end
  }
  return -1
}

function blockMath(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  const first = line(state, startLine)
  const pair = PAIRS.slice(0, 2).find(([opening]) => first.startsWith(opening))
  if (!pair || state.sCount[startLine]! - state.blkIndent >= 4) return false
  const [opening, closing] = pair
  const rest = first.slice(opening.length)
  const within = rest.indexOf(closing)
  if (within >= 0 && rest.slice(within + closing.length).trim()) return false // words follow: it stands in a line
  if (silent) return true

  const content = [within >= 0 ? rest.slice(0, within) : rest]
  let next = startLine + 1
  let open = within < 0
  for (; open && next < endLine; next++) {
    if (state.sCount[next]! < state.blkIndent && !state.isEmpty(next)) break // its list or quotation is over
    const text = line(state, next)
    const end = text.indexOf(closing)
    open = end < 0
    content.push(open ? text : text.slice(0, end))
  }
  state.line = next
  const token = state.push('math_block', 'div', 0)
  token.block = true
  token.content = content.join('\n').trim()
  token.map = [startLine, next]
  token.meta = { open }
  return true
}

function line(state: StateBlock, index: number): string {
  return state.src.slice(state.bMarks[index]! + state.tShift[index]!, state.eMarks[index]!).trimEnd()
}
