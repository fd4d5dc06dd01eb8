/**
 * A file of conversations in pieces that the server takes.
 *
 *     pieces(await readJson(file), 6_000_000)   // an export is often larger than one request may be
 */

/** The file as JSON. Throws an Error that says so when it is none. */
export async function readJson(file: Blob): Promise<unknown> {
  try {
    return JSON.parse(await file.text())
  } catch {
    throw new Error('JSON')
  }
}

/**
 * A list in lists of at most about `limit` bytes; our own export ({..., conversations: [...]}) in exports, each with the
 * personas and attachments that its conversations name. Anything else goes as it is. One conversation is never cut: where
 * it is too large the server says so.
 */
export function pieces(data: unknown, limit: number): unknown[] {
  if (Array.isArray(data)) return packed(data.map(alone), limit, 0).map(({ talks }) => talks)
  if (!isOurs(data) || bytes(data) <= limit) return [data]
  const { conversations, personas = [], attachments = [], ...head } = data
  return packed(together(conversations, personas, attachments), limit, bytes(head)).map(({ talks, belongings }) => ({
    ...head,
    personas: personas.filter((one) => belongings.has(one)),
    attachments: attachments.filter((one) => belongings.has(one)),
    conversations: talks,
  }))
}

/** A piece that was too large, in smaller ones; just one if that is none. */
export const halves = (piece: unknown): unknown[] => pieces(piece, bytes(piece) / 2)

/** What is in a piece, by its names. */
export function namesIn(piece: unknown): string[] {
  const { conversations, personas = [] }: Ours = isOurs(piece) ? piece : { conversations: Array.isArray(piece) ? piece : [piece] }
  return (conversations.length ? conversations : personas).map((one) => String(field(one, 'title') ?? field(one, 'name') ?? ''))
}

interface Ours {
  conversations: unknown[]
  personas?: unknown[]
  attachments?: unknown[]
}

/** Conversations, with the personas and attachments that they name. */
interface Bundle {
  talks: unknown[]
  belongings: Set<unknown>
}

const alone = (talk: unknown): Bundle => ({ talks: [talk], belongings: new Set() })

/** Each conversation with what must go along with it, after the personas that none of them names. */
function together(conversations: unknown[], personas: unknown[], attachments: unknown[]): Bundle[] {
  const [characters, files] = [byId(personas), byId(attachments)]
  const bundles = conversations.map((talk): Bundle => {
    const named = [characters.get(field(talk, 'persona_id')), ...attachedTo(talk).map((id) => files.get(id))]
    return { talks: [talk], belongings: new Set(named.filter((one) => one !== undefined)) }
  })
  const unnamed = personas.filter((one) => !bundles.some(({ belongings }) => belongings.has(one)))
  return [...unnamed.map((one) => ({ talks: [], belongings: new Set([one]) })), ...bundles]
}

/** Bundles in bundles of at most about `limit` bytes, `empty` of which are there in any case. */
function packed(bundles: readonly Bundle[], limit: number, empty: number): Bundle[] {
  let piece: Bundle = { talks: [], belongings: new Set() }
  let size = empty
  const found = [piece]
  for (const { talks, belongings } of bundles) {
    const isMissing = (one: unknown): boolean => !piece.belongings.has(one)
    let cost = sum([...talks, ...[...belongings].filter(isMissing)])
    if (size > empty && size + cost > limit) {
      found.push((piece = { talks: [], belongings: new Set() }))
      size = empty
      cost = sum([...talks, ...belongings])
    }
    piece.talks.push(...talks)
    for (const one of belongings) piece.belongings.add(one)
    size += cost
  }
  return found
}

const encoder = new TextEncoder()
const bytes = (value: unknown): number => encoder.encode(JSON.stringify(value)).length
const sum = (values: readonly unknown[]): number => values.reduce<number>((total, value) => total + bytes(value) + 1, 0)

function isOurs(data: unknown): data is Ours {
  const isList = (key: string): boolean => Array.isArray(field(data, key))
  return isList('conversations') && ['personas', 'attachments'].every((key) => isList(key) || field(data, key) === undefined)
}

function field(of: unknown, key: string): unknown {
  return typeof of === 'object' && of !== null ? (of as Record<string, unknown>)[key] : undefined
}

function listIn(of: unknown, key: string): unknown[] {
  const value = field(of, key)
  return Array.isArray(value) ? value : []
}

const byId = (list: readonly unknown[]): Map<unknown, unknown> => new Map(list.map((one) => [field(one, 'id'), one] as const))
const attachedTo = (talk: unknown): unknown[] => listIn(talk, 'messages').flatMap((message) => listIn(message, 'attachments'))
