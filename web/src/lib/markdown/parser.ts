/**
 * Markdown -> HTML as we want it: no raw HTML, no images from elsewhere, links that tell the other side nothing.
 *
 *     render('[a](javascript:alert(1)) ![b](https://c/d.png)', words)
 *       ->  <p>[a](javascript:alert(1)) <a href="https://c/d.png" …>b</a></p>
 *
 * What comes out still goes through sanitize.ts, a second wall that does not trust this one.
 */
import MarkdownIt, { type Env, type MarkdownIt as Parser, type RendererRule, type Token } from 'markdown-it'
import cjkFriendly from 'markdown-it-cjk-friendly'
import { math } from './math'

/** What rendering needs to know beside the text. */
export interface Surroundings {
  /** Link definitions of the whole text: [name]: https://… */
  references: NonNullable<Env['references']>
  labels: { code: string; copy: string; copyCode: string; image: string }
  /** The code in colours, as HTML; null where it stays plain. */
  highlight: (code: string, language: string) => string | null
}

const SAFE_LINK = /^(https?:|mailto:)/i

const escape = MarkdownIt().utils.escapeHtml

function make(): Parser {
  const it = MarkdownIt({ html: false, linkify: true, breaks: false })
  it.validateLink = (url) => SAFE_LINK.test(url.trim())
  // "see main.py" is no address in Paraguay
  it.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false })
  it.use(cjkFriendly as unknown as (parser: Parser) => void)
  it.use(math)
  it.core.ruler.after('block', 'lone_number', lone_number)
  Object.assign(it.renderer.rules, {
    link_open, image, fence, code_block: fence, heading_open: heading, heading_close: heading,
    th_open: cell, td_open: cell, table_open, table_close,
  })  // prettier-ignore
  return it
}

/** "85." is the answer to a sum, and not the number of a list of nothing. */
const lone_number: Parameters<Parser['core']['ruler']['after']>[2] = ({ tokens, Token }) => {
  for (let i = 0; i + 3 < tokens.length; i++) {
    const [open, item] = [tokens[i]!, tokens[i + 1]!]
    if (open.type !== 'ordered_list_open') continue
    if (tokens[i + 2]!.type !== 'list_item_close' || tokens[i + 3]!.type !== 'ordered_list_close') continue
    const [start, text, end] = [new Token('paragraph_open', 'p', 1), new Token('inline', '', 0), new Token('paragraph_close', 'p', -1)]
    Object.assign(start, { map: open.map, level: open.level, block: true })
    Object.assign(text, { content: item.info + item.markup, children: [], map: open.map, level: open.level + 1 })
    Object.assign(end, { level: open.level, block: true })
    tokens.splice(i, 4, start, text, end)
  }
}

const OUTSIDE = 'target="_blank" rel="noopener noreferrer nofollow"'
const attribute = (token: Token, name: string): string => String(token.attrGet(name) ?? '')
const around = (env: Env | undefined): Surroundings => env!['around'] as Surroundings

const link_open: RendererRule = (tokens, index) => {
  const token = tokens[index]!
  const title = attribute(token, 'title')
  return `<a href="${escape(attribute(token, 'href'))}"${title ? ` title="${escape(title)}"` : ''} ${OUTSIDE}>`
}

/** A picture from elsewhere would tell elsewhere who reads: it is shown as a link. */
const image: RendererRule = (tokens, index, options, env, renderer) => {
  const token = tokens[index]!
  const alt = renderer.renderInlineAsText(token.children ?? [], options, env) || around(env).labels.image
  return `<a class="image" href="${escape(attribute(token, 'src'))}" ${OUTSIDE}>${escape(alt)}</a>`
}

/** The page has an h1 of its own; headings of a text stand below it. */
const heading: RendererRule = (tokens, index) => {
  const { tag, nesting } = tokens[index]!
  const level = Math.min(6, Number(tag.slice(1)) + 1)
  return nesting > 0 ? `<h${level}>` : `</h${level}>\n`
}

const fence: RendererRule = (tokens, index, _options, env) => {
  const { content, info } = tokens[index]!
  const { labels, highlight } = around(env)
  const language = info.trim().split(/\s+/)[0] ?? ''
  const code = highlight(content, language) ?? escape(content)
  return (
    `<div class="code"><div class="code-head"><span>${escape(language || labels.code)}</span>` +
    `<button type="button" class="code-copy" aria-label="${escape(labels.copyCode)}">${escape(labels.copy)}</button></div>` +
    `<pre tabindex="0"><code>${code}</code></pre></div>\n`
  )
}

/** Its alignment as a class: the page's policy allows no style attributes. */
const cell: RendererRule = (tokens, index) => {
  const token = tokens[index]!
  const side = /text-align:\s*(left|right|center)/.exec(attribute(token, 'style'))?.[1]
  return side ? `<${token.tag} class="align-${side}">` : `<${token.tag}>`
}

const table_open: RendererRule = () => '<div class="table" tabindex="0"><table>\n'
const table_close: RendererRule = () => '</table></div>\n'

// last, as it takes the rules above
export const md = make()

export function render(source: string, around: Surroundings): string {
  return md.render(source, { references: { ...around.references }, around })
}
