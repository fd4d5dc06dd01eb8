/**
 * Attention as the server packs it, and the ways to look at it.
 *
 *     {layers: 2, heads: 2, tokens: 3, values: "…", max: [.5, 1, 1, 1]}   a byte each, of the largest of its row (layer, head)
 *     weights(unpack(packed), {layer: 1, head: 'mean'}) -> [0.1, 0.2, 0.7]
 *
 * `head: 'mean'` is the mean over the heads of a layer; `layer: 'max'` takes for each token its largest value over the
 * layers (of what `head` says). Rows of one head sum to 1 but for the rounding to bytes.
 */
import type { PackedAttention } from '../api/more'

export interface Attention {
  layers: number
  heads: number
  tokens: number
  /** layers x heads x tokens, row-major, as probabilities. */
  values: Float32Array
}

export interface AttentionView {
  layer: number | 'max'
  head: number | 'mean'
}

/** The packed bytes as probabilities. Throws a RangeError when sizes and bytes do not fit together. */
export function unpack(packed: PackedAttention): Attention {
  const { layers, heads, tokens } = packed
  const bytes = Uint8Array.from(atob(packed.values), (char) => char.charCodeAt(0))
  const rows = layers * heads
  if (bytes.length !== rows * tokens) {
    throw new RangeError(`attention has ${bytes.length} values, not ${layers} x ${heads} x ${tokens}`)
  }
  if (packed.max.length !== rows) {
    throw new RangeError(`attention has ${packed.max.length} maxima for ${rows} rows`)
  }
  const values = new Float32Array(bytes.length)
  bytes.forEach((byte, i) => (values[i] = (byte / 255) * (packed.max[Math.floor(i / tokens)] ?? 0)))
  return { layers, heads, tokens, values }
}

/** One weight for each earlier token. */
export function weights(attention: Attention, view: AttentionView): Float32Array {
  if (view.layer !== 'max') return ofLayer(attention, view.layer, view.head)
  const out = new Float32Array(attention.tokens)
  for (let layer = 0; layer < attention.layers; layer++) {
    ofLayer(attention, layer, view.head).forEach((value, i) => (out[i] = Math.max(out[i] ?? 0, value)))
  }
  return out
}

function ofLayer({ heads, tokens, values }: Attention, layer: number, head: number | 'mean'): Float32Array {
  const start = layer * heads * tokens
  if (head !== 'mean') return values.slice(start + head * tokens, start + (head + 1) * tokens)
  const out = new Float32Array(tokens)
  for (let i = 0; i < heads * tokens; i++) {
    out[i % tokens] = (out[i % tokens] ?? 0) + (values[start + i] ?? 0) / heads
  }
  return out
}

/** The places of the `count` largest weights, largest first; zeros are left out. */
export function strongest(of: ArrayLike<number>, count: number): number[] {
  return Array.from(of, (value, index) => ({ value, index }))
    .filter(({ value }) => value > 0)
    .sort((a, b) => b.value - a.value || a.index - b.index)
    .slice(0, count)
    .map(({ index }) => index)
}

/**
 * Tints 0..steps for weights: the square root of each against the largest one, since attention is mostly a few large
 * values (often the first token) over a sea of small ones. The first token can be left out of the scale.
 */
export function tints(of: ArrayLike<number>, steps: number, ignoreFirst = false): number[] {
  const all = Array.from(of)
  const largest = Math.max(0, ...(ignoreFirst && all.length > 1 ? all.slice(1) : all))
  if (largest === 0) return all.map(() => 0)
  return all.map((value) => Math.round(Math.min(1, Math.sqrt(value / largest)) * steps))
}
