/**
 * The sampling settings as the page offers them: their limits, and reading what was typed.
 *
 *     read('temperature', ' 0.7 ') -> 0.7        read('top_p', '1.2') -> undefined (out of range)
 */
import type { ConversationSettings } from '../api/types'

export const MAIN_FIELDS = ['temperature', 'top_p', 'max_tokens', 'seed'] as const
/** For who knows what they do. */
export const FINE_FIELDS = ['top_k', 'min_p', 'repetition_penalty', 'presence_penalty', 'frequency_penalty'] as const
export type SamplingField = (typeof MAIN_FIELDS)[number] | (typeof FINE_FIELDS)[number]

export interface Limits {
  min: number
  max: number
  step: number
  whole: boolean
}

export const FIELDS: Record<SamplingField, Limits> = {
  temperature: { min: 0, max: 2, step: 0.1, whole: false },
  top_p: { min: 0, max: 1, step: 0.05, whole: false },
  top_k: { min: 0, max: 100_000, step: 1, whole: true },
  min_p: { min: 0, max: 1, step: 0.01, whole: false },
  repetition_penalty: { min: 0.1, max: 2, step: 0.05, whole: false },
  presence_penalty: { min: -2, max: 2, step: 0.1, whole: false },
  frequency_penalty: { min: -2, max: 2, step: 0.1, whole: false },
  max_tokens: { min: 1, max: 1_000_000, step: 1, whole: true },
  seed: { min: 0, max: 2 ** 31 - 1, step: 1, whole: true },
}

/** The number that was typed; null for an empty field (the model's own), undefined for what is no value of the field. */
export function read(field: SamplingField, text: string): number | null | undefined {
  if (text.trim() === '') return null
  const value = Number(text)
  const { min, max, whole } = FIELDS[field]
  if (!Number.isFinite(value) || value < min || value > max || (whole && !Number.isInteger(value))) return undefined
  return value
}

/** The settings with one changed; null takes it out. Settings that the page does not know stay. */
export function change(
  settings: ConversationSettings,
  field: SamplingField | 'system' | 'thinking',
  value: number | string | boolean | null,
): ConversationSettings {
  const next: Record<string, unknown> = { ...settings }
  if (value === null || value === '') delete next[field]
  else next[field] = value
  return next as ConversationSettings
}
