/**
 * Scores as people read them, and evaluations side by side.
 *
 *     score({metric: "accuracy", value: .783, stderr: .054}) -> "78.3 ± 5.4 %"
 */
import type { EvalView, TaskScore } from '../api/more'

const SHARES = new Set(['accuracy', 'f1', 'precision', 'recall', 'exact_match', 'win_rate', 'pass_rate'])

/** Whether a metric is a share of a whole, 0..1, to be shown in percent and as a bar. */
export function isShare(task: Pick<TaskScore, 'metric' | 'value'>): boolean {
  return SHARES.has(task.metric) && task.value >= 0 && task.value <= 1
}

export function score(task: Pick<TaskScore, 'metric' | 'value' | 'stderr'>): string {
  const { value, stderr } = task
  if (isShare(task)) {
    const around = stderr ? ` ± ${(stderr * 100).toFixed(1)}` : ''
    return `${(value * 100).toFixed(1)}${around} %`
  }
  const around = stderr ? ` ± ${stderr.toFixed(4)}` : ''
  return `${Number.isInteger(value) ? value : value.toFixed(4)}${around}`
}

export interface ScoreRow {
  name: string
  metric: string
  /** One for each column; undefined where this evaluation did not ask for the task. */
  cells: (TaskScore | undefined)[]
}

/** Evaluations as the columns of one table; rows in the order in which the tasks first appear. */
export function table(evals: readonly EvalView[]): ScoreRow[] {
  const rows = new Map<string, ScoreRow>()
  evals.forEach(({ tasks }, column) => {
    for (const task of tasks) {
      const key = `${task.name}\n${task.metric}`
      const row = rows.get(key) ?? { name: task.name, metric: task.metric, cells: evals.map(() => undefined) }
      row.cells[column] = task
      rows.set(key, row)
    }
  })
  return [...rows.values()]
}

/** "4 min", "1 h 5 min", "2 d 3 h": the largest two units. The words come from the caller's language. */
export function duration(seconds: number, units: { d: string; h: string; min: string; s: string }): string {
  if (seconds < 60) return `${Math.round(seconds)} ${units.s}`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} ${units.min}`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 ? `${hours} ${units.h} ${minutes % 60} ${units.min}` : `${hours} ${units.h}`
  return `${Math.floor(hours / 24)} ${units.d} ${hours % 24} ${units.h}`
}

/** Seconds that the stage at hand still takes at the pace of its steps so far; null where that cannot be told. */
export function remaining(step: number | null, numSteps: number | null, elapsedS: number | undefined): number | null {
  if (!step || !numSteps || !elapsedS || step >= numSteps) return null
  return (elapsedS / step) * (numSteps - step)
}
