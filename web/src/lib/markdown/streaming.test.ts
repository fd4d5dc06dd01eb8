import { describe, expect, it, vi } from 'vitest'
import { Random } from '../testing/random'
import { Blocks } from './blocks'
import { mend } from './mend'
import { md, render, type Surroundings } from './parser'
import { patch } from './patch'
import { sanitize } from './sanitize'

const labels = { code: 'code', copy: 'Copy', copyCode: 'Copy the code', image: 'image' }
const around = (references: Surroundings['references'] = {}): Surroundings => ({ references, labels, highlight: () => null })

const LINES = [
  'plain words', 'more **bold** and *light*', '# head', '## head two', '===', '---', '- one', '- two', '  - deeper', '1. first', '2) second',
  '> quoted', 'lazy', '    indented', '```', '```js', '~~~', '| a | b |', '|---|:-:|', '| 1 | 2 |', '', '', '', '$$', 'x^2 $$', '[r]: https://a.example',
  'see [r] and [s][r]', '#', '#tag', '* * *', '***', '+ plus', '  continued', '\\[', '\\]', '你好，世界', '1.', '-', '`code', '<b>html</b>', '![i](https://b.example/c.png)',
]  // prettier-ignore

function document_(random: Random): string {
  return Array.from({ length: 2 + random.below(14) }, () => random.pick(LINES)).join('\n')
}

describe('Blocks', () => {
  it('cut a text without changing what it means', () => {
    const random = new Random(11)
    for (let round = 0; round < 700; round++) {
      const text = document_(random)
      const splitter = new Blocks()
      const blocks = splitter.update(text)
      expect(blocks.join('').trimEnd(), text).toBe(text.trimEnd())
      const whole = render(text, around())
      const parts = blocks.map((block) => render(block, around(splitter.references))).join('')
      expect(parts, text).toBe(whole)
    }
  })

  it('come out the same letter by letter as all at once', () => {
    const random = new Random(12)
    for (let round = 0; round < 250; round++) {
      const text = document_(random)
      const growing = new Blocks()
      for (let end = 1; end <= text.length; end += 1 + random.below(4)) growing.update(text.slice(0, end))
      const blocks = growing.update(text)
      const parts = blocks.map((block) => render(block, around(growing.references))).join('')
      expect(parts, text).toBe(render(text, around()))
    }
  })

  it('never change a block that is settled', () => {
    const text = '# One\n\nA paragraph that\ngoes on.\n\n- a\n- b\n\n```js\nlet x\n\nlet y\n```\n\nThe end.\n'
    const splitter = new Blocks()
    let before: string[] = []
    let changes = 0
    for (let end = 1; end <= text.length; end++) {
      const blocks = splitter.update(text.slice(0, end))
      changes += before.slice(0, -2).filter((block, index) => blocks[index] !== block).length
      before = blocks
    }
    expect(changes).toBe(0)
    expect(before.length).toBe(5)
  })

  it('begin anew with another text', () => {
    const splitter = new Blocks()
    splitter.update('# a\n\nb\n\n[r]: https://x.example\n')
    expect(splitter.update('other')).toEqual(['other'])
    expect(splitter.references).toEqual({})
  })

  it('read only the end of a long answer', () => {
    const paragraph = 'Some **words** of a long answer, with `code` and [a link](https://example.org).\n\n'
    const splitter = new Blocks()
    let text = paragraph.repeat(400)
    splitter.update(text)
    const parse = vi.spyOn(md.block, 'parse')
    for (let step = 0; step < 100; step++) splitter.update((text += 'word '))
    const lengths = parse.mock.calls.map(([source]) => source.length)
    expect(Math.max(...lengths)).toBeLessThan(paragraph.length * 2 + 100 * 'word '.length)
  })
})

describe('mend', () => {
  const cases: [string, string][] = [
    ['a **bo', 'a **bo**'],
    ['a **', 'a '],
    ['a *li', 'a *li*'],
    ['***bo', '***bo***'],
    ['a **bold `co', 'a **bold `co`**'],
    ['`co', '`co`'],
    ['~~ol', '~~ol~~'],
    ['see [the page](https://exa', 'see the page'],
    ['done **well** and *so*', 'done **well** and *so*'],
    ['2 * 3', '2 * 3'],
    ['* item', '* item'],
    ['- **it', '- **it**'],
    ['```js\nlet a = b ** c', '```js\nlet a = b ** c'],
    ['    code **x', '    code **x'],
    ['\\*no', '\\*no'],
    ['first **one\n\nsecond', 'first **one\n\nsecond'],
    ['他说**好', '他说**好**'],
    ['`a**b', '`a**b`'],
  ]
  it.each(cases)('%j -> %j', (source, mended) => expect(mend(source)).toBe(mended))

  it('leaves a whole text as it is, whatever it holds', () => {
    const whole = '**a** *b* `c` ~~d~~ [e](https://f.example) **g `h` i**'
    expect(mend(whole)).toBe(whole)
  })

  it('shows no mark that the next letters will take away', () => {
    const text = 'One **two three** four `five six` seven *eight nine* ten.'
    for (let end = 1; end <= text.length; end++) {
      const box = document.createElement('div')
      box.append(sanitize(render(mend(text.slice(0, end)), around())))
      expect(box.textContent, text.slice(0, end)).not.toMatch(/[*`]/)
    }
  })
})

describe('patch', () => {
  const box = (html: string): HTMLElement => {
    const element = document.createElement('div')
    element.append(sanitize(html))
    return element
  }

  it('makes one what the other is, over any documents', () => {
    const random = new Random(13)
    const target = document.createElement('div')
    for (let round = 0; round < 150; round++) {
      const html = render(document_(random), around())
      patch(target, sanitize(html))
      expect(target.innerHTML).toBe(box(html).innerHTML)
    }
  })

  it('leaves alone what stays', () => {
    const target = box('<p>one</p><ul><li>a</li></ul>')
    const [paragraph, item] = [target.querySelector('p')!, target.querySelector('li')!]
    const text = paragraph.firstChild
    patch(target, sanitize('<p>one more</p><ul><li>a</li><li>b</li></ul>'))
    expect(target.querySelector('p')).toBe(paragraph)
    expect(paragraph.firstChild).toBe(text)
    expect(target.querySelector('li')).toBe(item)
    expect(target.textContent).toBe('one moreab')
  })

  it('keeps the reader’s selection while the text grows', () => {
    const target = box('<p>some words</p>')
    document.body.append(target)
    const text = target.querySelector('p')!.firstChild as Text
    getSelection()!.setBaseAndExtent(text, 5, text, 10)
    patch(target, sanitize('<p>some words and more</p>'))
    expect(getSelection()!.toString()).toBe('words')
    target.remove()
  })

  it('keeps drawn mathematics until it is another', () => {
    const target = box('<p><span class="math" data-tex="x">x</span></p>')
    const drawn = target.querySelector('span')!
    drawn.classList.add('drawn')
    drawn.innerHTML = '<b>X</b>'
    patch(target, sanitize('<p><span class="math" data-tex="x">x</span> more</p>'))
    expect(target.querySelector('span')).toBe(drawn)
    expect(drawn.innerHTML).toBe('<b>X</b>')
    patch(target, sanitize('<p><span class="math" data-tex="y">y</span> more</p>'))
    expect(target.querySelector('span')!.textContent).toBe('y')
    expect(target.querySelector('.drawn')).toBeNull()
  })
})
