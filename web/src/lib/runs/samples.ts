/**
 * Samples by checkpoint, for a slider over the life of a run.
 *
 *     checkpoints(samples) -> [{stage: "pretrain", step: 400, tokens: 1.6e6, samples: [...]}, ...]   oldest first
 */
import type { Sample } from '../api/more'

export interface Checkpoint {
  stage: string
  step: number
  tokens: number
  samples: Sample[]
}

/** The samples of one (stage, step) belong together; of the same prompt made twice there (a resumed run) the later counts. */
export function checkpoints(samples: readonly Sample[]): Checkpoint[] {
  const found = new Map<string, Checkpoint>()
  for (const sample of samples) {
    const key = JSON.stringify([sample.stage, sample.step])
    const { stage, step, tokens } = sample
    const at = found.get(key) ?? { stage, step, tokens, samples: [] }
    at.samples = [...at.samples.filter((other) => !isSamePrompt(other, sample)), sample]
    found.set(key, at)
  }
  return [...found.values()]
}

export function isSamePrompt(a: Sample, b: Sample): boolean {
  return a.lang === b.lang && a.kind === b.kind && a.prompt === b.prompt
}

/** What the same prompt gave at the checkpoint before, to see what has changed. */
export function before(all: readonly Checkpoint[], at: number, sample: Sample): Sample | undefined {
  return all[at - 1]?.samples.find((other) => isSamePrompt(other, sample))
}
