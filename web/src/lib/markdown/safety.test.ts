import { describe, expect, it } from 'vitest'
import { Random } from '../testing/random'
import { render, type Surroundings } from './parser'
import { sanitize } from './sanitize'

const around: Surroundings = {
  references: {},
  labels: { code: 'code', copy: 'Copy', copyCode: 'Copy the code', image: 'image' },
  highlight: () => null,
}

function shown(markdown: string): HTMLElement {
  const box = document.createElement('div')
  box.append(sanitize(render(markdown, around)))
  return box
}

/** What no answer may ever put into the page. */
function dangers(box: HTMLElement): string[] {
  const found: string[] = []
  for (const element of box.querySelectorAll('*')) {
    if (/^(script|style|iframe|object|embed|img|svg|math|form|input|link|meta|base|video|audio|template)$/i.test(element.tagName)) {
      found.push(element.tagName)
    }
    for (const { name, value } of element.attributes) {
      if (/^on|^style$|^src|^srcset$|^id$|^name$/i.test(name)) found.push(`${name}=${value}`)
      if (name === 'href' && !/^(https?:|mailto:)/i.test(value)) found.push(`href=${value}`)
    }
  }
  return found
}

const ATTACKS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)><a xlink:href="javascript:alert(1)">',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  '<style>@import "https://evil.example/x.css"</style>',
  '[a](javascript:alert(1))',
  '[a](JaVaScRiPt:alert(1))',
  '[a](java\nscript:alert(1))',
  '[a](&#106;avascript:alert(1))',
  '[a](\u0001javascript:alert(1))',
  '[a](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)',
  '[a](vbscript:msgbox(1))',
  '[a](file:///etc/passwd)',
  '[a](/api/logout)',
  '[a](blob:https://x/y)',
  '<javascript:alert(1)>',
  '<data:text/html,x>',
  '![a](https://evil.example/pixel.png)',
  '![a](data:image/png;base64,AAAA)',
  '![a](data:image/svg+xml,<svg onload=alert(1)>)',
  '![a][r]\n\n[r]: https://evil.example/p.png',
  '[a][r]\n\n[r]: javascript:alert(1)',
  '[a](https://x "\\" onmouseover=\\"alert(1)")',
  '[a](https://x" onmouseover="alert(1))',
  '```"><script>alert(1)</script>\nx\n```',
  '```js" onclick="alert(1)\nx\n```',
  '$"><img src=x onerror=alert(1)>$',
  '$$\n</span><script>alert(1)</script>\n$$',
  '`<script>`',
  '| <img src=x onerror=alert(1)> |\n|-|\n| <b onclick=x> |',
  '<a href="https://x" target="_self" ping="https://evil.example">x</a>',
  '<form action="https://evil.example"><input name=p></form>',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  '<math><mi><mglyph><style><img src=x onerror=alert(1)>',
]

describe('Markdown', () => {
  it.each(ATTACKS)('disarms %j', (attack) => {
    expect(dangers(shown(attack))).toEqual([])
    expect(dangers(shown(`> - ${attack.replaceAll('\n', '\n>   ')}`))).toEqual([])
  })

  it('disarms any mixture of them', () => {
    const random = new Random(7)
    const scraps = [...ATTACKS, '**', '`', '\n', '\n\n', '[', '](', ')', '<', '>', '"', '$', '|', '# ', '- ', '聊']
    for (let round = 0; round < 700; round++) {
      const text = Array.from({ length: 1 + random.below(8) }, () => random.pick(scraps)).join('')
      const cut = text.slice(0, 1 + random.below(text.length))
      expect(dangers(shown(cut)), cut).toEqual([])
    }
  })

  it('does not lose what was written as HTML: it is shown', () => {
    expect(shown('<script>alert(1)</script>').textContent).toContain('<script>alert(1)</script>')
  })

  it('opens links elsewhere, without telling from where', () => {
    const link = shown('[a](https://example.org/x?a=1&b=2 "t") <https://example.com> see main.py').querySelectorAll('a')
    expect([...link].map((one) => one.getAttribute('href'))).toEqual(['https://example.org/x?a=1&b=2', 'https://example.com'])
    expect(link[0]).toMatchObject({ target: '_blank', rel: 'noopener noreferrer nofollow', title: 't' })
  })

  it('shows a picture from elsewhere as a link', () => {
    const link = shown('![a bee](https://example.org/bee.png)').querySelector('a')!
    expect([link.className, link.textContent, link.getAttribute('href')]).toEqual(['image', 'a bee', 'https://example.org/bee.png'])
  })
})

describe('sanitize, alone', () => {
  it.each(ATTACKS)('does not rely on the parser: %j', (attack) => {
    const box = document.createElement('div')
    box.append(sanitize(attack))
    expect(dangers(box)).toEqual([])
  })

  it('keeps what our Markdown means', () => {
    const html = render('# a\n\n1. b\n\n> **c** ~~d~~ `e`\n\n| f |\n|--:|\n| g |\n\n```py\nh\n```\n\n$x$ <https://i.example>', around)
    const box = document.createElement('div')
    box.append(sanitize(html))
    const plain = document.createElement('div')
    plain.innerHTML = html
    expect(box.innerHTML).toBe(plain.innerHTML)
  })
})

describe('code', () => {
  it('keeps every letter, and the language', () => {
    const box = shown('```python\nif a < b & c:\n\tprint("</code>")\n```')
    expect(box.querySelector('code')!.textContent).toBe('if a < b & c:\n\tprint("</code>")\n')
    expect(box.querySelector('.code-head span')!.textContent).toBe('python')
    expect(box.querySelector('button')!.getAttribute('aria-label')).toBe('Copy the code')
  })

  it('is coloured with classes alone', async () => {
    const { highlighter } = await import('./languages')
    const highlight: Surroundings['highlight'] = (code, language) => highlighter(code, language)
    const box = document.createElement('div')
    box.append(sanitize(render('```js\nconst a = "<b>" // 聊\n```', { ...around, highlight })))
    expect(dangers(box)).toEqual([])
    expect(box.querySelector('.hljs-keyword')!.textContent).toBe('const')
    expect(box.querySelector('code')!.textContent).toBe('const a = "<b>" // 聊\n')
    expect(highlighter('x', 'klingon')).toBeNull()
  })
})
