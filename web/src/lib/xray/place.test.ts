import { expect, test } from 'vitest'
import { Random } from '../testing/random'
import { place, type Spot, type View } from './place'

const box = (left: number, top: number, width: number, height: number) => ({
  getBoundingClientRect: () => ({ left, top, bottom: top + height, width, height }),
})

const parent = box(100, 50, 400, 900)
const small = { width: 200, height: 100 }
const large = { width: 200, height: 400 }
const at = (left: number, top: number, own = small, seen: View = { top: 0, bottom: 800 }): Spot =>
  place(box(left, top, 30, 20), own, parent, seen)

test('under the token, in the pixels of the parent', () => {
  expect(at(150, 200)).toEqual({ left: 50, top: 176, height: 100, above: false })
})

test('not over the right side, nor the left', () => {
  expect(at(480, 200).left).toBe(200)
  expect(at(90, 200).left).toBe(0)
})

test('above, where there is no room below', () => {
  expect(at(150, 700)).toEqual({ left: 50, top: 700 - 6 - 100 - 50, height: 100, above: true })
})

test('what is seen of the box that scrolls counts, not the window', () => {
  expect(at(150, 300, small, { top: 0, bottom: 400 }).above).toBe(true)
  expect(at(150, 300, small, { top: 250, bottom: 500 }).above).toBe(false)
})

test('where neither side has room for all of it, the larger side, and it scrolls', () => {
  const seen = { top: 50, bottom: 650 }
  expect(at(150, 400, large, seen)).toEqual({ left: 50, top: 58 - 50, height: 400 - 6 - 58, above: true })
  expect(at(150, 250, large, seen)).toEqual({ left: 50, top: 276 - 50, height: 642 - 276, above: false })
})

test('where there is hardly any room, over the token, but not over the edges', () => {
  expect(at(150, 150, large, { top: 60, bottom: 270 })).toEqual({ left: 50, top: 68 - 50, height: 194, above: false })
})

test('by the last line of a token that is broken over two, and by its first from above', () => {
  const broken = (top: number) => ({
    getBoundingClientRect: () => ({ left: 100, top, bottom: top + 50, width: 400, height: 50 }),
    getClientRects: () => [
      { left: 470, top, bottom: top + 20 },
      { left: 100, top: top + 30, bottom: top + 50 },
    ],
  })
  expect(place(broken(200), small, parent, { top: 0, bottom: 800 })).toEqual({ left: 0, top: 256 - 50, height: 100, above: false })
  expect(place(broken(700), small, parent, { top: 0, bottom: 800 })).toEqual({ left: 200, top: 700 - 106 - 50, height: 100, above: true })
})

test('wherever a token is seen, its popover is seen whole, and beside it where there is room', () => {
  const random = new Random(7)
  for (let round = 0; round < 2000; round++) {
    const seen = { top: random.below(120), bottom: 300 + random.below(700) }
    const token = { top: seen.top + random.below(seen.bottom - seen.top - 20), height: 20 }
    const own = { width: 50 + random.below(350), height: 40 + random.below(600) }
    const spot = place(box(100 + random.below(400), token.top, 30, token.height), own, parent, seen)
    const top = spot.top + 50
    expect(top).toBeGreaterThanOrEqual(seen.top)
    expect(top + spot.height).toBeLessThanOrEqual(seen.bottom)
    expect(spot.height).toBeLessThanOrEqual(own.height)
    expect(spot.left).toBeGreaterThanOrEqual(0)
    expect(spot.left + own.width).toBeLessThanOrEqual(400)
    const sides = [seen.bottom - token.top - token.height, token.top - seen.top]
    const covered = top < token.top + token.height && top + spot.height > token.top
    if (covered) expect(Math.max(...sides)).toBeLessThan(Math.min(own.height, 200) + 14)
  }
})
