/**
 * Lineage in few words: data by kind, what a recipe's settings say, and what a later recipe changed.
 *
 *     dataGroups({"talks:en": "5b93…", "talks:zh": "37a8…"}) -> [{name: "talks", streams: [{part: "en", …}, {part: "zh", …}]}]
 */

export interface DataGroup {
  name: string
  streams: { name: string; part: string; digest: string }[]
}

/** Streams called "kind:language", by kind. */
export function dataGroups(data: Record<string, string>): DataGroup[] {
  const groups = new Map<string, DataGroup>()
  for (const [name, digest] of Object.entries(data)) {
    const colon = name.indexOf(':')
    const kind = colon === -1 ? name : name.slice(0, colon)
    const group = groups.get(kind) ?? { name: kind, streams: [] }
    group.streams.push({ name, part: colon === -1 ? '' : name.slice(colon + 1), digest })
    groups.set(kind, group)
  }
  return [...groups.values()]
}

const TELLING = ['minutes', 'depth', 'data', 'vocab_size', 'row_length', 'tokens_per_step', 'num_steps', 'seed']

/** The settings that say most about a run, in a fixed order; what is not set is left out. */
export function highlights(config: Record<string, unknown>): [string, string][] {
  return TELLING.flatMap((key): [string, string][] => {
    const value = config[key]
    if (value === null || value === undefined) return []
    return [[key, Array.isArray(value) ? value.map(String).join(', ') : String(value)]]
  })
}

/** The dotted names of the settings that differ between two recipes. */
export function changed(from: Record<string, unknown> | null, to: Record<string, unknown> | null): string[] {
  if (!from || !to) return []
  const [before, after] = [flat(from), flat(to)]
  const keys = [...new Set([...before.keys(), ...after.keys()])]
  return keys.filter((key) => before.get(key) !== after.get(key)).sort()
}

function flat(value: Record<string, unknown>, prefix = ''): Map<string, string> {
  const found = new Map<string, string>()
  for (const [key, one] of Object.entries(value)) {
    if (typeof one === 'object' && one !== null && !Array.isArray(one)) {
      flat(one as Record<string, unknown>, `${prefix}${key}.`).forEach((text, name) => found.set(name, text))
    } else found.set(prefix + key, JSON.stringify(one) ?? 'null')
  }
  return found
}
