import { fireEvent, render, screen } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { setLang } from '../i18n/index.svelte'
import Chart from './Chart.svelte'
import type { Series } from './chart'

const series: Series[] = [
  { name: 'English', colour: 0, dots: true, points: [[1, 4], [10, 2], [100, 1]] },
  { name: 'Chinese', colour: 1, points: [[1, 5], [10, 3], [100, 2]] },
  { name: 'raw', colour: 0, faint: true, points: [[1, 9], [100, 9]] },
]

beforeEach(() => {
  setLang('en')
  vi.stubGlobal('ResizeObserver', class { observe() {} unobserve() {} disconnect() {} })
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(600)
})

const chart = () => screen.getByRole('application', { name: /Bits/ })
const lines = () => [...chart().querySelectorAll('path.line')].map((path) => path.getAttribute('d') ?? '')
const xs = (d: string) => [...d.matchAll(/[ML]([\d.]+) /g)].map((found) => Number(found[1]))

describe('Chart', () => {
  test('draws a line for each series, dots where asked, and names them in words', () => {
    render(Chart, { title: 'Bits', xLabel: 'tokens', series })
    expect(lines()).toHaveLength(3)
    expect(chart().querySelectorAll('circle')).toHaveLength(3)
    const words = document.getElementById(chart().getAttribute('aria-describedby') ?? '')?.textContent ?? ''
    expect(words).toContain('English: from 4 to 1.')
    expect(words).not.toContain('raw')
  })

  test('a logarithmic axis gives each power of ten the same room', () => {
    render(Chart, { title: 'Bits', xLabel: 'tokens', series, logX: true })
    const [a, b, c] = xs(lines()[0] ?? '') as [number, number, number]
    expect(b - a).toBeCloseTo(c - b, 0)
  })

  test('what is drawn lies inside the picture; faint curves may lie beyond it, and are cut off there', () => {
    render(Chart, { title: 'Bits', xLabel: 'tokens', series })
    for (const d of lines().slice(0, 2)) {
      for (const [, x, y] of d.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)) {
        expect(Number(x)).toBeGreaterThanOrEqual(52)
        expect(Number(x)).toBeLessThanOrEqual(588)
        expect(Number(y)).toBeGreaterThanOrEqual(0)
        expect(Number(y)).toBeLessThanOrEqual(200)
      }
    }
  })

  test('arrow keys read values; Escape ends it', async () => {
    render(Chart, { title: 'Bits', xLabel: 'tokens', series })
    await fireEvent.keyDown(chart(), { key: 'ArrowLeft' })
    expect(screen.getByText('English: 2 (tokens 10); Chinese: 3 (tokens 10)')).toBeTruthy()
    await fireEvent.keyDown(chart(), { key: 'End' })
    expect(screen.getByText('English: 1 (tokens 100); Chinese: 2 (tokens 100)')).toBeTruthy()
    await fireEvent.keyDown(chart(), { key: 'Escape' })
    expect(screen.queryByText(/tokens 100\)/)).toBeNull()
  })

  test('without values it says so', () => {
    render(Chart, { title: 'Bits', xLabel: 'tokens', series: [] })
    expect(screen.getByText('Nothing measured yet.')).toBeTruthy()
  })
})
