import { describe, expect, it } from 'vitest'
import { drawMathematics } from './mathematics'
import { render } from './parser'
import { sanitize } from './sanitize'
import { vi } from 'vitest'

const labels = { code: 'code', copy: 'Copy', copyCode: 'Copy the code', image: 'image' }

function shown(markdown: string): HTMLElement {
  const box = document.createElement('div')
  box.append(sanitize(render(markdown, { references: {}, labels, highlight: () => null })))
  return box
}

const formulas = (markdown: string): string[] => [...shown(markdown).querySelectorAll('[data-tex]')].map((one) => one.getAttribute('data-tex')!)

describe('mathematics is found', () => {
  it.each([
    ['so $x^2 + y$ holds', ['x^2 + y']],
    ['\\(a_1\\) and \\[b\\]', ['a_1', 'b']],
    ['$$\nE = mc^2\n$$', ['E = mc^2']],
    ['\\[\na\n\nb\n\\]', ['a\n\nb']],
    ['$$a$$ in a line', ['a']],
    ['所以$x$是数', ['x']],
    ['- item\n  $$\n  z\n  $$', ['z']],
    ['$a_1$ and $b*c*d$', ['a_1', 'b*c*d']],
    ['$\\$5$', ['\\$5']],
  ])('%j', (markdown, tex) => expect(formulas(markdown)).toEqual(tex))

  it.each([
    'it costs $5, or $6',
    'from $5 to $10 each',
    '价格是$5和$6',
    '`$x$`',
    '```\n$$x$$\n```',
    '\\$x\\$',
    '$ x $',
    '$x\ny$',
    '$$',
  ])('and prices and code are not: %j', (markdown) => expect(formulas(markdown)).toEqual([]))

  it('waits for the end of a display', () => {
    const box = shown('$$\n\\frac{a')
    expect(box.querySelector('[data-tex]')).toBeNull()
    expect(box.querySelector('.math-source')!.textContent).toBe('\\frac{a')
  })
})

describe('mathematics is drawn', () => {
  it('without style attributes in markup, and stays readable where it cannot be', async () => {
    const box = shown('$\\frac{a}{b}$ and $\\frac{$')
    document.body.append(box)
    drawMathematics(box)
    await vi.waitFor(() => expect(box.querySelector('.katex')).not.toBeNull(), 5000)
    const [good, bad] = box.querySelectorAll('[data-tex]')
    expect(good!.querySelector('math')).not.toBeNull() // for screen readers
    expect(bad!.textContent).toBe('\\frac{')
    expect(bad!.className).toContain('undrawable')
    box.remove()
  })

  it('loads and links nothing', async () => {
    const { draw } = await import('./katex')
    for (const tex of ['\\href{javascript:alert(1)}{x}', '\\url{https://evil.example}', '\\includegraphics{https://evil.example/x.png}', '\\htmlData{a=b}{x}']) {
      const box = document.createElement('span')
      try {
        draw(tex, box, false)
      } catch {
        continue // refused as a whole: as good
      }
      expect(box.querySelector('a, img, [data-a], script'), tex).toBeNull()
    }
  })
})
