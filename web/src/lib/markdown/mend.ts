/**
 * The end of a text that is still being written, with its open marks closed, so that `**bo` is bold at once and not two stars
 * that turn into bold a second later.
 *
 *     "a **bold `co"  ->  "a **bold `co`**"        "see [the page](https://exa"  ->  "see the page"
 */

const MARKS = /\\[\s\S]|`+|\*{1,3}|~~/g
const FENCE = /^ {0,3}(?:```|~~~)/gm
const HALF_LINK = /!?\[([^\][\n]*)\]\([^)\s]*$/

export function mend(source: string): string {
  if ((source.match(FENCE)?.length ?? 0) % 2) return source // within a code block marks are only signs
  const gap = source.lastIndexOf('\n\n')
  const start = gap < 0 ? 0 : gap + 2
  const paragraph = source.slice(start)
  if (/^(?: {4}|\t)/.test(paragraph)) return source
  return source.slice(0, start) + close(paragraph.replace(HALF_LINK, '$1'))
}

function close(text: string): string {
  const open = openMarks(text)
  if (!open.length) return text
  const bare = text.trimEnd()
  const last = open.at(-1)!
  // a mark with nothing after it yet is not shown at all; it may turn out to be anything
  if (bare.endsWith(last) && /(^|[\s\p{P}\p{L}\p{N}])$/u.test(bare.slice(0, -last.length))) return close(bare.slice(0, -last.length))
  return bare + open.reverse().join('')
}

/** The marks that were opened and not closed, outermost first. */
function openMarks(text: string): string[] {
  const open: string[] = []
  let code = ''
  for (const { 0: mark, index } of text.matchAll(MARKS)) {
    if (mark.startsWith('\\')) continue
    if (mark.startsWith('`')) {
      if (!code) code = mark
      else if (code === mark) code = ''
    } else if (!code && !isBullet(text, index, mark)) {
      const before = open.lastIndexOf(mark)
      if (before >= 0) open.length = before
      else if (/\S|^$/.test(text[index + mark.length] ?? '')) open.push(mark)
    }
  }
  return code ? [...open, code] : open
}

/** "* item", a rule of stars, or a lone star between spaces ("2 * 3"). */
function isBullet(text: string, index: number, mark: string): boolean {
  const before = text[index - 1] ?? '\n'
  const after = text[index + mark.length] ?? ''
  return /\s/.test(before) && /\s/.test(after)
}
