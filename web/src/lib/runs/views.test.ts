import { describe, expect, test } from 'vitest'
import type { Sample } from '../api/more'
import { RunFeed } from './feed.svelte'
import { changed, dataGroups, highlights } from './lineage'
import { before, checkpoints } from './samples'
import { duration, remaining, score, table } from './scores'

const sample = (step: number, prompt: string, reply: string, lang = 'en'): Sample => ({
  stage: 'pretrain', step, tokens: step * 10, time: 0, kind: 'chat', lang, prompt, reply, finished: true,
})

describe('samples', () => {
  const all = checkpoints([sample(1, 'a', 'x'), sample(1, 'b', 'y'), sample(2, 'a', 'z'), sample(2, 'a', 'Z')])

  test('belong to their checkpoint; the later of two of the same prompt counts', () => {
    expect(all.map(({ step, samples }) => [step, samples.map(({ reply }) => reply)])).toEqual([
      [1, ['x', 'y']],
      [2, ['Z']],
    ])
  })

  test('know what the same prompt gave before', () => {
    expect(before(all, 1, all[1]!.samples[0]!)?.reply).toBe('x')
    expect(before(all, 0, all[0]!.samples[0]!)).toBeUndefined()
    expect(before(all, 1, sample(2, 'a', 'q', 'zh'))).toBeUndefined()
  })
})

describe('scores', () => {
  test('shares are percent, others plain figures', () => {
    expect(score({ metric: 'accuracy', value: 0.78333, stderr: 0.05363 })).toBe('78.3 ± 5.4 %')
    expect(score({ metric: 'bits_per_byte', value: 0.33016, stderr: 0.00729 })).toBe('0.3302 ± 0.0073')
    expect(score({ metric: 'elo', value: 1200, stderr: null })).toBe('1200')
  })

  test('evaluations stand side by side, tasks that one lacks stay empty', () => {
    const task = (name: string, value: number) => ({ name, metric: 'accuracy', value, stderr: 0, n: 60 })
    const rows = table([
      { file: 'a', tasks: [task('x', 0.1), task('y', 0.2)] },
      { file: 'b', tasks: [task('y', 0.3), task('z', 0.4)] },
    ])
    expect(rows.map(({ name, cells }) => [name, cells.map((cell) => cell?.value)])).toEqual([
      ['x', [0.1, undefined]],
      ['y', [0.2, 0.3]],
      ['z', [undefined, 0.4]],
    ])
  })

  test('times in two units', () => {
    const units = { d: 'd', h: 'h', min: 'min', s: 's' }
    expect([12, 250, 3600, 3900, 180_000].map((s) => duration(s, units))).toEqual([
      '12 s', '4 min', '1 h', '1 h 5 min', '2 d 2 h',
    ])
    expect(remaining(100, 400, 50)).toBe(150)
    expect([remaining(400, 400, 50), remaining(null, 400, 50), remaining(3, null, 1)]).toEqual([null, null, null])
  })
})

describe('lineage', () => {
  test('data by kind, settings in order, and what a later recipe changed', () => {
    expect(dataGroups({ 'talks:en': '5b', 'talks:zh': '37', web: '00' })).toEqual([
      { name: 'talks', streams: [{ name: 'talks:en', part: 'en', digest: '5b' }, { name: 'talks:zh', part: 'zh', digest: '37' }] },
      { name: 'web', streams: [{ name: 'web', part: '', digest: '00' }] },
    ])
    expect(highlights({ seed: 0, data: ['town'], depth: null, other: 1 })).toEqual([['data', 'town'], ['seed', '0']])
    const from = { seed: 0, optim: { lr: 1, kind: 'muon' } }
    expect(changed(from, { seed: 0, optim: { lr: 2, kind: 'muon' }, minutes: 3 })).toEqual(['minutes', 'optim.lr'])
    expect(changed(null, from)).toEqual([])
  })
})

describe('a run that goes on', () => {
  test('folds events in, and starts anew when the server says so', () => {
    const feed = new RunFeed('r')
    const metrics = (step: number) => ({ stage: 's', step, tokens: step, loss: 1 })
    feed.take({ type: 'metrics', lines: [metrics(1), { junk: true }, metrics(2)], reset: false })
    feed.take({ type: 'metrics', lines: [metrics(3)], reset: false })
    expect(feed.lines.map(({ step }) => step)).toEqual([1, 2, 3])
    feed.take({ type: 'metrics', lines: [metrics(1)], reset: true })
    expect(feed.lines.map(({ step }) => step)).toEqual([1])
    feed.take({ type: 'samples', samples: [sample(1, 'a', 'x')] })
    feed.take({ type: 'samples', samples: [sample(2, 'a', 'y')] })
    expect(feed.samples).toHaveLength(2)
    feed.take({ type: 'samples', samples: [sample(1, 'a', 'x')], reset: true })
    expect(feed.samples).toHaveLength(1)
  })
})
