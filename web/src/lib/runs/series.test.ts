import { describe, expect, test } from 'vitest'
import { bitsPerByte, byStage, isMetricsLine, otherMetrics, points, settle, stages, type MetricsLine } from './series'

const at = (stage: string, step: number, more: Record<string, number> = {}): MetricsLine => ({
  stage,
  step,
  tokens: step * 100,
  ...more,
})

const run = [
  at('pretrain', 10, { loss: 6, grad_norm: 2 }),
  at('pretrain', 20, { loss: 5, grad_norm: 1 }),
  at('pretrain', 20, { 'bits_per_byte:zh': 0.7, 'bits_per_byte:en': 0.6 }),
  at('sft', 10, { loss: 2, lr_factor: 1 }),
  at('sft', 10, { 'bits_per_byte:en': 0.5 }),
]

describe('curves from lines', () => {
  test('stages stand side by side', () => {
    expect(stages(run, 'tokens')).toEqual([{ name: 'pretrain', offset: 0 }, { name: 'sft', offset: 2000 }])
    expect(points(run, 'loss', 'tokens')).toEqual([[1000, 6], [2000, 5], [3000, 2]])
    expect(points(run, 'loss', 'step')).toEqual([[10, 6], [20, 5], [30, 2]])
    expect(byStage(run, 'loss', 'step')).toEqual([
      { name: 'pretrain', points: [[10, 6], [20, 5]] },
      { name: 'sft', points: [[30, 2]] },
    ])
    expect(byStage(run, 'lr_factor', 'step').map(({ name }) => name)).toEqual(['sft'])
  })

  test('bits per byte: one curve for each language, English first', () => {
    expect(bitsPerByte(run, 'tokens').map(({ name, points: its }) => [name, its])).toEqual([
      ['en', [[2000, 0.6], [3000, 0.5]]],
      ['zh', [[2000, 0.7]]],
    ])
  })

  test('what else was logged', () => expect(otherMetrics(run)).toEqual(['grad_norm', 'lr_factor']))

  test('a resumed run takes back the steps that it repeats, of its own stage only', () => {
    const again = [...run, at('sft', 20, { loss: 1 }), at('sft', 30, { loss: 9 }), at('sft', 20, { loss: 1.5 })]
    const kept = settle(again)
    expect(kept.filter(({ stage }) => stage === 'pretrain')).toHaveLength(3)
    expect(points(kept, 'loss', 'step')).toEqual([[10, 6], [20, 5], [30, 2], [40, 1], [40, 1.5]])
    expect(settle(kept)).toEqual(kept)
  })

  test('what is no line is known as none', () => {
    expect([run[0], null, 3, {}, { stage: 'a', step: '1', tokens: 2 }].map(isMetricsLine)).toEqual([
      true, false, false, false, false,
    ])
  })
})
