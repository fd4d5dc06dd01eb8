/**
 * From the lines of metrics.jsonl to curves.
 *
 *     {"stage": "pretrain", "step": 10, "tokens": 40709, "elapsed_s": 3.0, "loss": 6.6, ...}     a logged step
 *     {"stage": "pretrain", "step": 292, "tokens": 1187355, "bits_per_byte:en": 0.67, ...}       a measurement
 *
 * Stages stand side by side: a stage's tokens are counted on from where the one before it ended.
 */
import type { Point, Series } from './chart'

export interface MetricsLine {
  stage: string
  step: number
  tokens: number
  [key: string]: unknown
}

export type XAxis = 'tokens' | 'step'

/** Whether something read from the server is a line that can be drawn. */
export function isMetricsLine(value: unknown): value is MetricsLine {
  if (typeof value !== 'object' || value === null) return false
  const line = value as Record<string, unknown>
  return typeof line['stage'] === 'string' && typeof line['step'] === 'number' && typeof line['tokens'] === 'number'
}

/** Lines in the order they were written -> those that still hold: a resumed run takes back the steps it repeats. */
export function settle(lines: readonly MetricsLine[]): MetricsLine[] {
  const kept: MetricsLine[] = []
  for (const line of lines) {
    while (kept.length > 0) {
      const last = kept[kept.length - 1]
      if (!last || last.stage !== line.stage || last.step <= line.step) break
      kept.pop()
    }
    kept.push(line)
  }
  return kept
}

/** The stages in their order, each with the place where it starts on the x axis. */
export function stages(lines: readonly MetricsLine[], axis: XAxis): { name: string; offset: number }[] {
  const found: { name: string; offset: number }[] = []
  let end = 0
  for (const line of lines) {
    if (found[found.length - 1]?.name !== line.stage) found.push({ name: line.stage, offset: end })
    end = Math.max(end, (found[found.length - 1]?.offset ?? 0) + line[axis])
  }
  return found
}

/** The points of one metric over all the stages, with a gap between stages where `gaps`. */
export function points(lines: readonly MetricsLine[], key: string, axis: XAxis): Point[] {
  const starts = stages(lines, axis)
  let at = -1
  let stage: string | null = null
  const found: Point[] = []
  for (const line of lines) {
    if (line.stage !== stage) [at, stage] = [at + 1, line.stage]
    const value = line[key]
    if (typeof value === 'number') found.push([(starts[at]?.offset ?? 0) + line[axis], value])
  }
  return found
}

/** The points of one metric, a list for each stage that has any. */
export function byStage(lines: readonly MetricsLine[], key: string, axis: XAxis): { name: string; points: Point[] }[] {
  const starts = stages(lines, axis)
  const found: { name: string; points: Point[] }[] = []
  let rest = lines
  for (const { name, offset } of starts) {
    const end = rest.findIndex((line) => line.stage !== name)
    const own = end === -1 ? rest : rest.slice(0, end)
    rest = end === -1 ? [] : rest.slice(end)
    const its: Point[] = []
    for (const line of own) {
      const value = line[key]
      if (typeof value === 'number') its.push([offset + line[axis], value])
    }
    if (its.length > 0) found.push({ name, points: its })
  }
  return found
}

const LANGUAGE = /^bits_per_byte:(.+)$/

/** Held-out bits per byte, a series for each language measured, in the order English, Chinese, others. */
export function bitsPerByte(lines: readonly MetricsLine[], axis: XAxis): Series[] {
  const found = new Set<string>()
  for (const line of lines) for (const key of Object.keys(line)) if (LANGUAGE.test(key)) found.add(key)
  const order = ['bits_per_byte:en', 'bits_per_byte:zh']
  const keys = [...order.filter((key) => found.has(key)), ...[...found].filter((key) => !order.includes(key)).sort()]
  return keys.map((key, colour) => ({
    name: LANGUAGE.exec(key)?.[1] ?? key,
    points: points(lines, key, axis),
    colour,
    dots: true,
  }))
}

const KNOWN = new Set(['stage', 'step', 'tokens', 'elapsed_s', 'loss'])

/** The other metrics that were logged (learning rate, gradient norm, tokens a second, rewards ...), in order of their names. */
export function otherMetrics(lines: readonly MetricsLine[]): string[] {
  const found = new Set<string>()
  for (const line of lines) {
    for (const [key, value] of Object.entries(line)) {
      if (typeof value === 'number' && !KNOWN.has(key) && !LANGUAGE.test(key)) found.add(key)
    }
  }
  return [...found].sort()
}
