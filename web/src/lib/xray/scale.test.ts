import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { band, BAND_FLOORS, entropyReading, heat, NUM_BANDS, percent, wordsTornBetween } from './scale'

const css = readFileSync(resolve(import.meta.dirname, 'xray.css'), 'utf-8')
const page = readFileSync(resolve(import.meta.dirname, '../../app.css'), 'utf-8')

type Rgb = [number, number, number]

function rgb(hex: string): Rgb {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as Rgb
}

function pair(name: string): { light: Rgb; dark: Rgb } {
  const found = new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(css)
  if (!found?.[1] || !found[2]) throw new Error(`xray.css has no --${name}`)
  return { light: rgb(found[1]), dark: rgb(found[2]) }
}

const linear = (colour: Rgb): Rgb => colour.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)) as Rgb
const luminance = (colour: Rgb): number => {
  const [r, g, b] = linear(colour)
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** WCAG 2.2, contrast ratio. */
function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

/** Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB. */
const BLINDNESS: Record<string, number[][]> = {
  none: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}

function lab(colour: Rgb, matrix: number[][]): Rgb {
  const seen = linear(colour)
  const [r, g, b] = matrix.map((row) => Math.max(0, row.reduce((sum, m, i) => sum + m * (seen[i] ?? 0), 0))) as Rgb
  const [l, m, s] = [
    Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b),
    Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b),
    Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b),
  ]
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ]
}

const apart = (a: Rgb, b: Rgb): number => Math.hypot(...a.map((x, i) => x - (b[i] ?? 0)))

describe('the tints', () => {
  const text = {
    light: rgb(/--text: (#\w{6})/.exec(page)?.[1] ?? ''),
    dark: rgb(/data-theme='dark'\][^}]*--text: (#\w{6})/s.exec(page)?.[1] ?? ''),
  }

  test.each(['light', 'dark'] as const)('text stays readable on every tint (WCAG AA), %s', (theme) => {
    const names = [...Array.from({ length: NUM_BANDS }, (_, i) => `xray-band-${i}`), 'xray-heat']
    for (const name of names) expect(contrast(text[theme], pair(name)[theme]), name).toBeGreaterThanOrEqual(4.5)
  })

  test.each(Object.keys(BLINDNESS))('neighbouring bands can be told apart with %s colour blindness', (kind) => {
    const matrix = BLINDNESS[kind] ?? []
    for (const theme of ['light', 'dark'] as const) {
      const seen = Array.from({ length: NUM_BANDS }, (_, i) => lab(pair(`xray-band-${i}`)[theme], matrix))
      for (let i = 1; i < seen.length; i++) expect(apart(seen[i]!, seen[i - 1]!), `${theme} ${i}`).toBeGreaterThan(0.02)
      expect(apart(seen[0]!, seen[NUM_BANDS - 1]!), theme).toBeGreaterThan(0.1)
    }
  })
})

describe('bands', () => {
  test('every band has its floor, and a less likely token never a surer band', () => {
    BAND_FLOORS.forEach((floor, at) => {
      expect(band(floor)).toBe(at)
      expect(band(floor - 1e-9)).toBe(at + 1)
    })
    expect([band(1), band(0), band(null), band(NaN)]).toEqual([0, NUM_BANDS - 1, -1, -1])
  })
})

describe('entropy in words', () => {
  test('n equally likely words have log2 n bits, and read as n', () => {
    for (const n of [1, 2, 3, 6, 9, 30, 4096]) expect(wordsTornBetween(Math.log2(n))).toBe(n)
  })

  test('the reading follows the bits', () => {
    expect(entropyReading(0)).toEqual({ key: 'xray.entropy.certain', n: 1 })
    expect(entropyReading(0.4).key).toBe('xray.entropy.nearly')
    expect(entropyReading(Math.log2(6))).toEqual({ key: 'xray.entropy.torn', n: 6 })
    expect(entropyReading(0.6)).toEqual({ key: 'xray.entropy.torn', n: 2 }) // "between one word" says nothing
    expect(entropyReading(10)).toEqual({ key: 'xray.entropy.open', n: 1024 })
  })
})

test('heat runs from nothing to the strongest', () => {
  expect([0, 0.001, 0.05, 0.5, 1].map(heat)).toEqual([0, 0, 2, 5, 7])
})

test('percentages never claim what is not so', () => {
  expect([1, 0.999, 0.97, 0.042, 0.00001, 0].map(percent)).toEqual(['100%', '>99%', '97%', '4.2%', '<0.1%', '0.0%'])
})
