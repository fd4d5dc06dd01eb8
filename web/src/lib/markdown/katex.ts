/** The lazy part of mathematics.ts. */
import katex from 'katex'
import 'katex/dist/katex.min.css'

/** Raises what KaTeX raises for TeX that it cannot read; nothing in TeX may load, link, or grow without end. */
export function draw(tex: string, into: HTMLElement, display: boolean): void {
  katex.render(tex, into, { displayMode: display, throwOnError: true, trust: false, strict: 'ignore', maxSize: 20, maxExpand: 500 })
}
