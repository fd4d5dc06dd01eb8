/**
 * What a screen reader is told while an answer grows: whole sentences, never single tokens.
 *
 *     nextSentences('Hello there. How a', 0)  ->  { said: 'Hello there.', upTo: 12 }
 */

/** An end: Chinese marks at once; Western ones before white space (3.14 goes on); a new line. */
const END = /[。！？；]+["'”’」』）)]*|[.!?:]+["'”’)]*(?=\s)|\n+/g

export function nextSentences(text: string, from: number, over = false): { said: string; upTo: number } {
  let upTo = from
  if (over) upTo = text.length
  else for (const { 0: end, index } of text.slice(from).matchAll(END)) upTo = from + index + end.length
  return { said: plain(text.slice(from, upTo)), upTo }
}

/** Without the marks of Markdown, which nobody wants to hear. */
function plain(markdown: string): string {
  return markdown
    .replace(/```\w*|[*_`#>|~]+/g, '')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\s+/g, ' ')
    .trim()
}
