import { describe, expect, test } from 'vitest'
import { strongest, tints, unpack, weights } from './attention'
import { rowAt, shades } from './heatmap'

const LAYERS = 3
const HEADS = 2
const TOKENS = 5

/** Rows that sum to 1, different for every head. */
function truth(): number[][] {
  return Array.from({ length: LAYERS * HEADS }, (_, row) => {
    const raw = Array.from({ length: TOKENS }, (_, i) => 1 + ((row * 7 + i * 3) % 11))
    const sum = raw.reduce((a, b) => a + b, 0)
    return raw.map((value) => value / sum)
  })
}

/** As the server packs it: bytes by the row's largest. */
function pack(rows: number[][]) {
  const max = rows.map((row) => Math.max(...row))
  const bytes = rows.flatMap((row, at) => row.map((value) => Math.round((value / (max[at] ?? 1)) * 255)))
  return { layers: LAYERS, heads: HEADS, tokens: TOKENS, values: btoa(String.fromCharCode(...bytes)), max, context: Array<string>(TOKENS).fill('x') }
}

describe('unpack', () => {
  test('gives back what was packed, to half a byte of each row', () => {
    const rows = truth()
    const { values } = unpack(pack(rows))
    rows.flat().forEach((value, i) => expect(Math.abs((values[i] ?? NaN) - value)).toBeLessThan(0.5 / 255 + 1e-6))
  })

  test('refuses sizes that do not fit', () => {
    expect(() => unpack({ ...pack(truth()), tokens: 6 })).toThrow(RangeError)
    expect(() => unpack({ ...pack(truth()), max: [1, 1, 1, 1] })).toThrow(RangeError)
  })
})

describe('weights', () => {
  const attention = unpack(pack(truth()))
  const row = (layer: number, head: number): number[] => truth()[layer * HEADS + head] ?? []
  const close = (found: Float32Array, wanted: number[]) =>
    wanted.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 2))

  test('of one head is its row', () => close(weights(attention, { layer: 1, head: 1 }), row(1, 1)))

  test('the mean over heads, and the largest over layers, are taken token by token', () => {
    const mean = (layer: number, i: number): number => ((row(layer, 0)[i] ?? 0) + (row(layer, 1)[i] ?? 0)) / 2
    const each = [0, 1, 2, 3, 4]
    close(weights(attention, { layer: 2, head: 'mean' }), each.map((i) => mean(2, i)))
    close(
      weights(attention, { layer: 'max', head: 'mean' }),
      each.map((i) => Math.max(mean(0, i), mean(1, i), mean(2, i))),
    )
  })

  test('strongest names the largest in order and leaves zeros out', () => {
    expect(strongest([0, 0.2, 0.7, 0.2, 0], 4)).toEqual([2, 1, 3])
  })

  test('tints run to the last step, and the first token can stand aside', () => {
    expect(tints([0.9, 0.1, 0], 7)).toEqual([7, 2, 0])
    expect(tints([0.9, 0.1, 0], 7, true)).toEqual([7, 7, 0])
    expect(tints([0, 0], 7)).toEqual([0, 0])
    expect(tints([1], 7, true)).toEqual([7])
  })
})

describe('the map of heads', () => {
  test('a column shows the largest of its tokens', () => {
    const attention = { layers: 1, heads: 1, tokens: 6, values: Float32Array.from([0.5, 0, 0.04, 0.16, 0, 0.09]) }
    expect([...shades(attention, 0, 0, 3, true)].map((x) => Math.round(x * 100))).toEqual([100, 100, 75])
  })

  test('rows are found from their height, gaps are no rows', () => {
    const size = { layers: 2, heads: 3 }
    expect(rowAt(0, size, 4, 3)).toEqual({ layer: 0, head: 0 })
    expect(rowAt(11, size, 4, 3)).toEqual({ layer: 0, head: 2 })
    expect(rowAt(13, size, 4, 3)).toBeNull()
    expect(rowAt(15, size, 4, 3)).toEqual({ layer: 1, head: 0 })
    expect([rowAt(-1, size, 4, 3), rowAt(28, size, 4, 3)]).toEqual([null, null])
  })
})
