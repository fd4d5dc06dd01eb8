/**
 * The arithmetic of a line chart: scales, round ticks, thinning, smoothing, and what stands under the pointer.
 *
 *     scale([0, 10], [0, 500], false)(5) -> 250        ticks(0, 97, 5) -> [0, 20, 40, 60, 80]
 */

export type Point = readonly [x: number, y: number]

export interface Series {
  name: string
  points: readonly Point[]
  /** Which of the chart's colours, 0..3; the dash pattern goes with it. */
  colour: number
  /** Show each point as a dot (few, measured values) and not only the line. */
  dots?: boolean
  /** Behind the others and faint: the raw values of a smoothed curve. */
  faint?: boolean
}

/** A function from values of `domain` to `range`; logarithmic where asked, and where the domain is positive. */
export function scale(domain: Point, range: Point, log: boolean): (value: number) => number {
  const [from, to] = domain
  const by = log && from > 0 ? Math.log : (value: number): number => value
  const span = by(to) - by(from)
  return (value) => {
    const share = span === 0 ? 0.5 : (by(log && from > 0 ? Math.max(value, from) : value) - by(from)) / span
    return range[0] + share * (range[1] - range[0])
  }
}

/** Round numbers (1, 2 or 5 times a power of ten) inside [from, to], about `count` of them. */
export function ticks(from: number, to: number, count: number): number[] {
  if (!(to > from)) return [from]
  const size = roundStep((to - from) / Math.max(1, count))
  const first = Math.ceil(from / size - 1e-9)
  const last = Math.floor(to / size + 1e-9)
  return Array.from({ length: last - first + 1 }, (_, i) => clean((first + i) * size))
}

/** For a logarithmic axis: powers of ten, with 2 and 5 between where these are few. */
export function logTicks(from: number, to: number): number[] {
  if (!(from > 0 && to > from)) return [from]
  const low = Math.floor(Math.log10(from))
  const high = Math.ceil(Math.log10(to))
  const parts = high - low <= 3 ? [1, 2, 5] : [1]
  const all = Array.from({ length: high - low + 1 }, (_, i) => parts.map((part) => clean(part * 10 ** (low + i))))
  return all.flat().filter((tick) => tick >= from && tick <= to)
}

function roundStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough))
  const part = rough / power
  return (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10) * power
}

function clean(value: number): number {
  return Number(value.toPrecision(12))
}

/** The span of all the series on an axis (0: x, 1: y), or null where there is nothing to show. */
export function extent(series: readonly Series[], axis: 0 | 1): Point | null {
  let low = Infinity
  let high = -Infinity
  for (const { points } of series) {
    for (const point of points) {
      if (!Number.isFinite(point[axis])) continue
      low = Math.min(low, point[axis])
      high = Math.max(high, point[axis])
    }
  }
  return low <= high ? [low, high] : null
}

/** At most about `limit` points with the same outline: of each stretch the first, lowest, highest and last. */
export function thin(points: readonly Point[], limit: number): readonly Point[] {
  if (points.length <= limit || limit < 4) return points
  const size = Math.ceil(points.length / Math.floor(limit / 4))
  const kept: Point[] = []
  for (let start = 0; start < points.length; start += size) {
    const end = Math.min(points.length, start + size) - 1
    let [low, high] = [start, start]
    for (let i = start; i <= end; i++) {
      if (at(points, i)[1] < at(points, low)[1]) low = i
      if (at(points, i)[1] > at(points, high)[1]) high = i
    }
    for (const i of [...new Set([start, low, high, end])].sort((a, b) => a - b)) kept.push(at(points, i))
  }
  return kept
}

function at(points: readonly Point[], index: number): Point {
  return points[index] ?? [NaN, NaN]
}

/** An exponential mean over the points; `keep` 0 leaves them alone. It starts at the first value, unbiased enough. */
export function smooth(points: readonly Point[], keep: number): readonly Point[] {
  let mean = points[0]?.[1] ?? 0
  return points.map(([x, y]) => {
    mean = keep * mean + (1 - keep) * y
    return [x, mean] as const
  })
}

/** How much of the mean to keep for a curve of so many points: it looks back over about a twenty-fifth of them. */
export function smoothing(count: number): number {
  const window = Math.max(1, count / 25)
  return Math.min(0.97, 1 - 2 / (1 + window))
}

/** The index of the point nearest in x to `x`; points are in order of x. -1 where there are none. */
export function nearest(points: readonly Point[], x: number): number {
  let low = 0
  let high = points.length - 1
  if (high < 0) return -1
  while (low < high) {
    const middle = (low + high) >> 1
    if (at(points, middle)[0] < x) low = middle + 1
    else high = middle
  }
  const before = Math.max(0, low - 1)
  return Math.abs(at(points, before)[0] - x) <= Math.abs(at(points, low)[0] - x) ? before : low
}

/** Whether a curve says anything at `x`: between its ends, and a little beyond them. */
export function reaches(points: readonly Point[], x: number): boolean {
  const [first, last] = [points[0]?.[0], points[points.length - 1]?.[0]]
  if (first === undefined || last === undefined) return false
  const room = (last - first) * 0.02
  return x >= first - room && x <= last + room
}

/** The `d` of an SVG path through points on the screen; a value that is no number breaks the line. */
export function path(points: readonly Point[], x: (v: number) => number, y: (v: number) => number): string {
  let pen = 'M'
  let out = ''
  for (const point of points) {
    if (!Number.isFinite(point[1])) {
      pen = 'M'
      continue
    }
    out += `${pen}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`
    pen = 'L'
  }
  return out
}

/** A number for an axis or a readout: "1.2M", "0.034", "12". */
export function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e9) return `${trim(value / 1e9)}B`
  if (size >= 1e6) return `${trim(value / 1e6)}M`
  if (size >= 1e4) return `${trim(value / 1e3)}k`
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value))
  if (size !== 0 && size < 0.001) return value.toExponential(1)
  return trim(value)
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)))
}
