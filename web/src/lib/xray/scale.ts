/**
 * How probability becomes colour and words.
 *
 *     band(0.97) -> 0 (sure)     band(0.02) -> 6 (a surprise)     wordsTornBetween(2.58) -> 6
 *
 * The scale runs from blue (expected) over plain paper to orange (unlikely): blue and orange stay apart under every
 * common colour blindness. The two lowest bands are underlined too, so that nothing hangs on colour alone. The colours
 * themselves stand in xray.css, and a test holds their contrast.
 */

/** The lowest probability of each band but the last, from sure to surprising. */
export const BAND_FLOORS = [0.9, 0.7, 0.45, 0.25, 0.1, 0.03] as const
export const NUM_BANDS = BAND_FLOORS.length + 1

/** The band of a probability: 0 (sure) to 6 (unlikely). Probabilities the server could not tell have none: -1. */
export function band(prob: number | null | undefined): number {
  if (prob === null || prob === undefined || Number.isNaN(prob)) return -1
  const found = BAND_FLOORS.findIndex((floor) => prob >= floor)
  return found === -1 ? NUM_BANDS - 1 : found
}

/** Entropy in bits -> how many equally likely words would leave one as unsure (the perplexity of this one choice). */
export function wordsTornBetween(entropyBits: number): number {
  return Math.max(1, Math.round(2 ** Math.max(0, entropyBits)))
}

/** Which plain sentence reads an entropy: the key of a message, with the number of words where it speaks of them. */
export function entropyReading(entropyBits: number): { key: EntropyKey; n: number } {
  const n = wordsTornBetween(entropyBits)
  if (entropyBits < 0.1) return { key: 'xray.entropy.certain', n }
  if (entropyBits < 0.6) return { key: 'xray.entropy.nearly', n }
  if (n <= 40) return { key: 'xray.entropy.torn', n: Math.max(2, n) }
  return { key: 'xray.entropy.open', n }
}

export type EntropyKey = 'xray.entropy.certain' | 'xray.entropy.nearly' | 'xray.entropy.torn' | 'xray.entropy.open'

/** How strongly to tint a probability where likely is strong: 0 (nothing) to 7, by its square root. */
export function heat(prob: number): number {
  return Math.round(Math.sqrt(Math.min(1, Math.max(0, prob))) * 7)
}

/** A probability as people read it: "97%", "4.2%", "<0.1%". */
export function percent(prob: number): string {
  if (prob > 0 && prob < 0.001) return '<0.1%'
  if (prob < 0.1) return `${(prob * 100).toFixed(1)}%`
  if (prob < 1 && prob > 0.995) return '>99%'
  return `${Math.round(prob * 100)}%`
}
