/**
 * A growing Markdown text as a list of top-level blocks, of which only the last ones can still change.
 *
 *     blocks.update('# A\n\nb *c')  ->  ['# A\n\n', 'b *c']     and after more text the first is the very same string
 *
 * Block structure is made line by line, and a line only acts on blocks that are open: those at the end. So of the complete
 * lines, everything before the last top-level block is settled and never parsed again. A line that is not complete settles
 * nothing ("#" may become "#tag").
 */
import type { Env } from 'markdown-it'
import { md } from './parser'

type References = NonNullable<Env['references']>

export class Blocks {
  #text = ''
  #settled: string[] = []
  /** Where the part that may still change begins. */
  #tail = 0
  /** Link definitions of the settled part. */
  #defined: References = {}

  /** All link definitions. A new object only where one changed. */
  references: References = {}

  /** The blocks of a text, which usually is the last one and more. */
  update(text: string): string[] {
    const source = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text
    if (!source.startsWith(this.#text)) this.#reset()
    this.#text = source
    this.#settle()
    const tail = source.slice(this.#tail)
    const { starts, references } = parse(tail, this.#defined)
    if (JSON.stringify(references) !== JSON.stringify(this.references)) this.references = references
    return [...this.#settled, ...cut(tail, starts)]
  }

  #settle(): void {
    const complete = this.#text.slice(this.#tail, this.#text.lastIndexOf('\n') + 1)
    const { starts } = parse(complete, {})
    if (starts.length < 2) return
    const done = cut(complete, starts).slice(0, -1)
    const words = done.join('')
    this.#defined = parse(words, this.#defined).references
    this.#settled.push(...done)
    this.#tail += words.length
  }

  #reset(): void {
    this.#settled = []
    this.#tail = 0
    this.#defined = {}
  }
}

/** The lines at which top-level blocks begin, and the link definitions with those known before. */
function parse(source: string, known: References): { starts: number[]; references: References } {
  const env: Env = { references: { ...known } }
  const tokens: ReturnType<typeof md.parse> = []
  md.block.parse(source, md, env, tokens)
  const starts = tokens.filter(({ level, nesting, map }) => level === 0 && nesting >= 0 && map).map(({ map }) => map![0])
  return { starts, references: env.references ?? {} }
}

/** The text cut at these lines; what stands before the first belongs to it. */
function cut(source: string, starts: readonly number[]): string[] {
  if (!starts.length) return source ? [source] : []
  const lines = source.split('\n')
  return starts.map((start, index) => {
    const from = index ? start : 0
    const to = starts[index + 1]
    const end = to === undefined ? lines.length : to
    return lines.slice(from, end).join('\n') + (to === undefined ? '' : '\n')
  })
}
