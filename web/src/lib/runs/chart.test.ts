import { describe, expect, test } from 'vitest'
import { extent, logTicks, nearest, path, reaches, scale, short, smooth, smoothing, thin, ticks, type Point } from './chart'

const line = (ys: number[]): Point[] => ys.map((y, x) => [x, y])

describe('scales and ticks', () => {
  test('a plain scale keeps shares, a logarithmic one ratios', () => {
    expect(scale([0, 10], [100, 200], false)(2.5)).toBe(125)
    expect(scale([1, 100], [0, 200], true)(10)).toBeCloseTo(100)
    expect(scale([1, 100], [0, 200], true)(0)).toBe(0) // what is not on the axis stands at its start
    expect(scale([3, 3], [0, 10], false)(3)).toBe(5)
  })

  test('ticks are round, inside, evenly spaced and about as many as asked', () => {
    for (const [low, high] of [[0, 97], [0.0012, 0.0191], [-3, 8], [1e6, 7.1e6], [2.1, 2.2]] as Point[]) {
      const found = ticks(low, high, 5)
      expect(found.length).toBeGreaterThanOrEqual(3)
      expect(found.length).toBeLessThanOrEqual(8)
      for (const tick of found) expect(tick >= low && tick <= high).toBe(true)
      const gaps = found.slice(1).map((tick, i) => tick - (found[i] ?? 0))
      for (const gap of gaps) expect(gap).toBeCloseTo(gaps[0] ?? 0, 9)
    }
    expect(ticks(0, 97, 5)).toEqual([0, 20, 40, 60, 80])
    expect(ticks(2, 2, 5)).toEqual([2])
  })

  test('logarithmic ticks are powers of ten, with 2 and 5 where these are few', () => {
    expect(logTicks(1, 100)).toEqual([1, 2, 5, 10, 20, 50, 100])
    expect(logTicks(10, 1e7)).toEqual([10, 100, 1000, 1e4, 1e5, 1e6, 1e7])
  })

  test('numbers are short', () => {
    expect([7_100_000, 40_709, 950, 0.4337, 12.345, 0.00004, 0].map(short)).toEqual([
      '7.1M', '40.7k', '950', '0.434', '12.3', '4.0e-5', '0',
    ])
  })
})

describe('points', () => {
  test('thinning keeps the ends, the peaks and the order', () => {
    const ys = Array.from({ length: 10_000 }, (_, i) => Math.sin(i / 700))
    ys[4321] = 50
    ys[8765] = -50
    const found = thin(line(ys), 400)
    expect(found.length).toBeLessThanOrEqual(404)
    expect([found[0], found[found.length - 1]]).toEqual([[0, ys[0]], [9999, ys[9999]]])
    expect(extent([{ name: '', points: found, colour: 0 }], 1)).toEqual([-50, 50])
    expect(found.every((point, i) => i === 0 || point[0] > (found[i - 1]?.[0] ?? 0))).toBe(true)
    expect(thin(line([1, 2]), 400)).toEqual(line([1, 2]))
  })

  test('smoothing keeps a constant, and lies inside what it smooths', () => {
    expect(smooth(line([2, 2, 2]), 0.9).map(([, y]) => y)).toEqual([2, 2, 2])
    expect(smooth(line([0, 1]), 0.75)).toEqual([[0, 0], [1, 0.25]])
    expect(smooth(line([3, 9]), 0)).toEqual(line([3, 9]))
  })

  test('short runs are hardly smoothed, so that the mean does not lag behind them', () => {
    expect([2, 25].map(smoothing)).toEqual([0, 0])
    expect(smoothing(250)).toBeCloseTo(1 - 2 / 11)
    expect(smoothing(1e6)).toBe(0.97)
  })

  test('the nearest point is what a search through all of them finds', () => {
    const points: Point[] = [1, 2, 4, 8, 16, 32].map((x) => [x, 0])
    for (let x = -1; x < 40; x += 0.37) {
      const away = points.map((point) => Math.abs(point[0] - x))
      expect(nearest(points, x)).toBe(away.indexOf(Math.min(...away)))
    }
    expect(nearest([], 3)).toBe(-1)
  })

  test('a stage is not read where another one runs', () => {
    const stage: Point[] = [[100, 1], [200, 2]]
    expect([50, 99, 150, 201, 250].map((x) => reaches(stage, x))).toEqual([false, true, true, true, false])
    expect(reaches([], 1)).toBe(false)
  })

  test('a value that is no number breaks the line', () => {
    const same = (value: number): number => value
    expect(path(line([1, 2, NaN, 4]), same, same)).toBe('M0.0 1.0L1.0 2.0M3.0 4.0')
  })
})
