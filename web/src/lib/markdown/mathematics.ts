/**
 * Draws the mathematics that math.ts found. KaTeX is loaded with its fonts when the first formula appears. It builds DOM nodes
 * and sets their styles one by one, which the page's policy allows; its HTML text with style attributes would be refused.
 */
type Draw = (tex: string, into: HTMLElement, display: boolean) => void
let loading: Promise<Draw> | null = null

/** Draw every formula below `root` that is not drawn yet. What KaTeX cannot read stays as its source. */
export function drawMathematics(root: Element): void {
  const waiting = [...root.querySelectorAll<HTMLElement>('[data-tex]:not(.drawn)')]
  if (!waiting.length) return
  void load().then((draw) => waiting.forEach((element) => drawOne(draw, element)), () => (loading = null))
}

function drawOne(draw: Draw, element: HTMLElement): void {
  const tex = element.getAttribute('data-tex') ?? ''
  try {
    draw(tex, element, element.classList.contains('display'))
    element.classList.add('drawn')
  } catch {
    element.textContent = tex
    element.classList.add('undrawable')
  }
}

function load(): Promise<Draw> {
  loading ??= import('./katex').then((module) => module.draw)
  return loading
}
