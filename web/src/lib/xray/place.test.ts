import { expect, test } from 'vitest'
import { place } from './place'

const box = (left: number, top: number, width: number, height: number) => ({
  getBoundingClientRect: () => ({ left, top, bottom: top + height, width, height }),
})

const parent = box(100, 50, 400, 900)

test('under the token, in the pixels of the parent', () => {
  expect(place(box(150, 200, 30, 20), box(0, 0, 200, 100), parent, { top: 0, bottom: 800 })).toEqual({ left: 50, top: 176 })
})

test('not over the right side, nor the left', () => {
  expect(place(box(480, 200, 30, 20), box(0, 0, 200, 100), parent, { top: 0, bottom: 800 }).left).toBe(200)
  expect(place(box(90, 200, 30, 20), box(0, 0, 200, 100), parent, { top: 0, bottom: 800 }).left).toBe(0)
})

test('what is seen of the box that scrolls counts, not the window', () => {
  expect(place(box(150, 300, 30, 20), box(0, 0, 200, 100), parent, { top: 0, bottom: 400 }).top).toBe(300 - 6 - 100 - 50)
  expect(place(box(150, 300, 30, 20), box(0, 0, 200, 100), parent, { top: 250, bottom: 400 }).top).toBe(276)
})

test('above, where there is no room below; below, where there is none above either', () => {
  expect(place(box(150, 700, 30, 20), box(0, 0, 200, 100), parent, { top: 0, bottom: 800 }).top).toBe(700 - 6 - 100 - 50)
  expect(place(box(150, 70, 30, 20), box(0, 0, 200, 100), parent, { top: 0, bottom: 120 }).top).toBe(46)
})
