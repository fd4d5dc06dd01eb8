import { cleanup, fireEvent, render } from '@testing-library/svelte'
import { tick } from 'svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { setLang } from '../i18n/index.svelte'
import Markdown from './Markdown.svelte'

describe('Markdown', () => {
  beforeEach(() => setLang('en'))
  afterEach(cleanup)

  it('grows without touching what is settled', async () => {
    const { container, rerender } = render(Markdown, { text: '# One\n\nTwo **th', streaming: true })
    const heading = container.querySelector('h2')!
    const paragraph = container.querySelector('p')!
    expect(paragraph.innerHTML).toBe('Two <strong>th</strong>')
    const touched: MutationRecord[] = []
    const watch = new MutationObserver((records) => touched.push(...records))
    watch.observe(heading.parentElement!, { subtree: true, childList: true, characterData: true, attributes: true })
    await rerender({ text: '# One\n\nTwo **three** and', streaming: true })
    await rerender({ text: '# One\n\nTwo **three** and four.\n\n- five', streaming: true })
    expect(container.querySelector('h2')).toBe(heading)
    expect(container.querySelector('p')).toBe(paragraph)
    expect(paragraph.innerHTML).toBe('Two <strong>three</strong> and four.')
    expect(container.querySelector('li')!.textContent).toBe('five')
    await tick()
    expect([...touched, ...watch.takeRecords()]).toEqual([])
    watch.disconnect()
  })

  it('shows in the end what the whole text means', async () => {
    const text = 'a **b** [c][d]\n\n| e | f |\n|---|--:|\n| 1 | 2 |\n\n[d]: https://d.example\n'
    const { container, rerender } = render(Markdown, { text: '', streaming: true })
    for (let end = 1; end <= text.length; end++) await rerender({ text: text.slice(0, end), streaming: true })
    await rerender({ text, streaming: false })
    const grown = container.innerHTML
    cleanup()
    expect(grown).toBe(render(Markdown, { text }).container.innerHTML)
    expect(grown).toContain('href="https://d.example"')
  })

  it('leaves the h1 to the page', () => {
    const { container } = render(Markdown, { text: '# One\n\nTwo\n===\n\n### Three\n\n###### Six' })
    const headings = [...container.querySelectorAll('h1, h2, h3, h4, h5, h6')]
    expect(headings.map(({ tagName, textContent }) => `${tagName} ${textContent}`)).toEqual(['H2 One', 'H2 Two', 'H4 Three', 'H6 Six'])
  })

  it('shows a number with a full stop as what it is', () => {
    const shown = (text: string) => {
      const blocks = render(Markdown, { text }).container.querySelectorAll('.md')
      cleanup()
      return [...blocks].map((block) => block.innerHTML.replaceAll('\n', '')).join('')
    }
    expect(shown('85.')).toBe('<p>85.</p>')
    expect(shown('Well:\n\n007.\n\nSo *there*.')).toBe('<p>Well:</p><p>007.</p><p>So <em>there</em>.</p>')
    expect(shown('> 12)')).toBe('<blockquote><p>12)</p></blockquote>')
    expect(shown('1.\n2. two')).toBe('<ol><li></li><li>two</li></ol>')
    expect(shown('85. It is')).toBe('<ol start="85"><li>It is</li></ol>')
  })

  it('copies code as it was written', async () => {
    const writeText = vi.fn(() => Promise.resolve())
    vi.stubGlobal('navigator', Object.assign(Object.create(navigator) as Navigator, { clipboard: { writeText } }))
    const { container } = render(Markdown, { text: '```js\nlet a = "<b>"\n\nlet b\n```' })
    const button = container.querySelector<HTMLButtonElement>('.code-copy')!
    await fireEvent.click(button)
    expect(writeText).toHaveBeenCalledWith('let a = "<b>"\n\nlet b')
    await vi.waitFor(() => expect(button.textContent).toBe('Copied'))
    vi.unstubAllGlobals()
  })

  it('changes its words with the language', async () => {
    const { container } = render(Markdown, { text: '```\nx\n```' })
    expect(container.querySelector('.code-copy')!.textContent).toBe('Copy')
    setLang('zh')
    await tick()
    expect(container.querySelector('.code-copy')!.textContent).toBe('复制')
  })
})
