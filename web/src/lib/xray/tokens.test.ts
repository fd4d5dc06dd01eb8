import { expect, test } from 'vitest'
import { inRunningText, mostTorn, move, nearestOnLine, shown, visible } from './tokens'

test('white space becomes visible, other text stays', () => {
  expect(visible(' the\n')).toBe('·the⏎')
  expect(visible('')).toBe('∅')
  expect(visible('⟨E4 BD⟩你')).toBe('⟨E4·BD⟩你')
})

test('in running text a line break is shown and still breaks', () => {
  expect(inRunningText('a\n\nb')).toBe('a⏎\n⏎\nb')
})

test('a character made of several tokens is whole at its last piece, and the shown words are the text', () => {
  const text = 'Hi 你😀!'
  const tokens = [
    { text: '<think>', start: null },
    { text: 'Hi', start: 0 },
    { text: ' ⟨E4⟩', start: 2 },
    { text: '⟨BD⟩', start: 3 },
    { text: '⟨A0⟩', start: 3 },
    { text: '😀', start: 4 },
    { text: '!', start: 5 },
    { text: '\n', start: null },
  ]
  expect(shown(tokens, text)).toEqual(['<think>', 'Hi', ' ', '◦', '你', '😀', '!', '\n'])
  expect(shown([], '')).toEqual([])
})

test('where the model was most torn', () => {
  const tokens = [0.2, 3, 1, 5, 3, 0.9].map((entropy_bits) => ({ entropy_bits }))
  expect(mostTorn(tokens, 3)).toEqual([3, 1, 4])
  expect(mostTorn(tokens, 9)).toEqual([3, 1, 4, 2])
})

test('keys move inside the ends only; others do nothing', () => {
  expect(['ArrowRight', 'ArrowLeft', 'Home', 'End', 'PageDown', 'PageUp'].map((key) => move(key, 5, 8))).toEqual([
    6, 4, 0, 7, 7, 0,
  ])
  expect(move('ArrowLeft', 0, 8)).toBe(0)
  expect(move('ArrowRight', 7, 8)).toBe(7)
  expect([move('a', 3, 8), move('End', 0, 0)]).toEqual([null, null])
})

test('up and down lead to the token of the neighbouring line that stands nearest', () => {
  const line = (top: number, lefts: number[]) => lefts.map((left) => ({ left, top, width: 10, height: 20 }))
  const boxes = [...line(0, [0, 50, 100]), ...line(30, [0, 48, 100]), ...line(60, [0])]
  expect(nearestOnLine(boxes, 1, true)).toBe(4)
  expect(nearestOnLine(boxes, 5, true)).toBe(6)
  expect(nearestOnLine(boxes, 4, false)).toBe(1)
  expect(nearestOnLine(boxes, 2, false)).toBe(2) // there is no line above
})
