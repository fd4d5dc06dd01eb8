/**
 * The map of all heads: what to shade, and which row the pointer is on.
 *
 *     shades(attention, 0, 2, 100, true)   // 100 columns, 0..1, of head 2 of layer 0
 */
import type { Attention } from './attention'

/**
 * A row of the map, squeezed into `columns`: each column has the largest of its weights, as the square root of its share
 * of the row's largest. With `ignoreFirst` the first token is no part of the scale (it is often all of it).
 */
export function shades(
  attention: Attention,
  layer: number,
  head: number,
  columns: number,
  ignoreFirst: boolean,
): Float32Array {
  const { tokens, heads, values } = attention
  const start = (layer * heads + head) * tokens
  const out = new Float32Array(columns)
  let largest = 0
  for (let i = 0; i < tokens; i++) {
    const value = values[start + i] ?? 0
    const column = Math.floor((i * columns) / tokens)
    out[column] = Math.max(out[column] ?? 0, value)
    if (!(ignoreFirst && i === 0 && tokens > 1)) largest = Math.max(largest, value)
  }
  return out.map((value) => (largest > 0 ? Math.min(1, Math.sqrt(value / largest)) : 0))
}

/** Which head a height on the map belongs to, or null between the layers and beyond the ends. */
export function rowAt(
  y: number,
  { layers, heads }: Pick<Attention, 'layers' | 'heads'>,
  rowHeight: number,
  gap: number,
): { layer: number; head: number } | null {
  const block = heads * rowHeight + gap
  const layer = Math.floor(y / block)
  const head = Math.floor((y - layer * block) / rowHeight)
  return layer >= 0 && layer < layers && head >= 0 && head < heads ? { layer, head } : null
}
