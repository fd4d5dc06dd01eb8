/**
 * A file of conversations in pieces that the server takes.
 *
 *     pieces(await readJson(file), 6_000_000)   // ChatGPT's export is one list, often larger than one request may be
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
 * A list in lists of at most about `limit` bytes; of our own export ({..., conversations: [...]}) the same with all the rest
 * kept in each. Anything else goes as it is. One conversation is never cut: where it is too large the server says so.
 */
export function pieces(data: unknown, limit: number): unknown[] {
  if (Array.isArray(data)) return chunks(data, limit)
  if (typeof data !== 'object' || data === null || !Array.isArray((data as Ours).conversations)) return [data]
  const { conversations, ...rest } = data as Ours
  const parts = chunks(conversations, limit)
  return parts.length <= 1 ? [data] : parts.map((part) => ({ ...rest, conversations: part }))
}

interface Ours {
  conversations: unknown[]
}

function chunks(list: readonly unknown[], limit: number): unknown[][] {
  const encoder = new TextEncoder()
  const found: unknown[][] = [[]]
  let size = 0
  for (const one of list) {
    const bytes = encoder.encode(JSON.stringify(one)).length
    if (size > 0 && size + bytes > limit) {
      found.push([])
      size = 0
    }
    found[found.length - 1]?.push(one)
    size += bytes + 1
  }
  return found
}
