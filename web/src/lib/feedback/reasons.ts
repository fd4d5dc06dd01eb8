/**
 * The reasons a person may give with a thumb. The words that are stored are these names, not their translations.
 */
export const GOOD_REASONS = ['correct', 'clear', 'complete', 'tone', 'creative'] as const
export const BAD_REASONS = ['incorrect', 'unclear', 'incomplete', 'ignored', 'repeats', 'unsafe', 'language'] as const

export type Reason = (typeof GOOD_REASONS)[number] | (typeof BAD_REASONS)[number]
export type Thumb = -1 | 0 | 1

export function reasonsFor(thumb: Thumb): readonly Reason[] {
  return thumb === 1 ? GOOD_REASONS : thumb === -1 ? BAD_REASONS : []
}

/** What pressing a thumb makes of the present one: the same again takes it back. */
export function press(now: Thumb, pressed: -1 | 1): Thumb {
  return now === pressed ? 0 : pressed
}

/** Reasons in their fixed order, with one switched; those of the other thumb are dropped. */
export function toggle(thumb: Thumb, reasons: readonly string[], reason: Reason): Reason[] {
  const on = !reasons.includes(reason)
  return reasonsFor(thumb).filter((one) => (one === reason ? on : reasons.includes(one)))
}
