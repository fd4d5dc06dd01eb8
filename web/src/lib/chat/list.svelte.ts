/**
 * The conversations at the side: pages of summaries, newest first, pinned ones before all; or what a search found.
 */
import { ApiError, del, get, patch } from '../api/client'
import type { ConversationSummary } from '../api/types'

const PAGE = 50
const SEARCH_AFTER_MS = 150

export class ConversationList {
  items = $state.raw<readonly ConversationSummary[]>([])
  query = $state('')
  /** The query that `items` answers. */
  answered = $state('')
  loaded = $state(false)
  hasMore = $state(false)
  error = $state.raw<ApiError | null>(null)
  #asking: AbortController | null = null
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Search while it is typed: asked for once the typing pauses. */
  search(query: string): void {
    this.query = query
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.refresh(), query ? SEARCH_AFTER_MS : 0)
  }

  /** Ask anew for as many as are shown; of a very long list for its head, before what is known of the rest. */
  async refresh(): Promise<void> {
    await this.#ask(Math.max(PAGE, Math.ceil(this.items.length / PAGE) * PAGE))
  }

  async loadMore(): Promise<void> {
    const last = this.items.at(-1)
    if (!this.hasMore || !last || !(await this.#ask(PAGE, last.id)) || this.items.at(-1) !== last) return
    // the last was carried on elsewhere: it stands at the top now, and what comes after that is known
    await this.refresh()
    const next = this.items.at(-1)
    if (this.hasMore && next && next.id !== last.id) await this.#ask(PAGE, next.id)
  }

  find(id: string): ConversationSummary | undefined {
    return this.items.find((item) => item.id === id)
  }

  /** Title or pin; shown at once, taken back if the server refuses. */
  async change(id: string, changes: Partial<Pick<ConversationSummary, 'title' | 'pinned'>>): Promise<void> {
    const before = this.items
    this.items = before.map((item) => (item.id === id ? { ...item, ...changes } : item))
    try {
      await patch(`/api/conversations/${id}`, changes)
    } catch (error) {
      this.items = before
      throw error
    }
    await this.refresh()
  }

  async remove(id: string): Promise<void> {
    await del(`/api/conversations/${id}`)
    this.items = this.items.filter((item) => item.id !== id)
  }

  /** Whether it was answered, and nothing else was asked since. */
  async #ask(wanted: number, before?: string): Promise<boolean> {
    this.#asking?.abort()
    const asking = (this.#asking = new AbortController())
    const query = this.query.trim()
    const limit = Math.min(wanted, MOST)
    const params = new URLSearchParams({ limit: String(limit), ...(query && { query }), ...(before && { before }) })
    try {
      const { conversations } = await get<{ conversations: ConversationSummary[] }>(`/api/conversations?${params}`, asking.signal)
      if (asking.signal.aborted) return false
      const isFull = conversations.length >= limit
      const rest = !before && isFull && wanted > MOST && query === this.answered ? following(conversations, this.items) : []
      this.items = before ? [...this.items, ...without(conversations, this.items)] : [...conversations, ...rest]
      if (!rest.length) this.hasMore = isFull
      this.answered = query
      this.loaded = true
      this.error = null
      return true
    } catch (error) {
      if (error instanceof ApiError) this.error = error
      else if (!asking.signal.aborted) throw error
      return false
    }
  }
}

/** The most that is asked for in one request. */
const MOST = 200

type Summaries = readonly ConversationSummary[]

function without(items: Summaries, known: Summaries): ConversationSummary[] {
  const ids = new Set(known.map(({ id }) => id))
  return items.filter(({ id }) => !ids.has(id))
}

/** Those of `known` that stand after the end of `head`. */
function following(head: Summaries, known: Summaries): ConversationSummary[] {
  const last = head.at(-1)
  return last ? without(known, head).filter((item) => inOrder(last, item) < 0).sort(inOrder) : []
}

/** The server's order: pinned ones first, then the latest; less than 0 where `a` stands before `b`. */
function inOrder(a: ConversationSummary, b: ConversationSummary): number {
  return Number(b.pinned) - Number(a.pinned) || b.updated_at - a.updated_at || (a.id < b.id ? 1 : -1)
}

export type Group = 'pinned' | 'today' | 'yesterday' | 'week' | 'month' | 'older'

/** Summaries under their headings, in the order they came. */
export function grouped(items: readonly ConversationSummary[], now_s = Date.now() / 1000): [Group, ConversationSummary[]][] {
  const groups = new Map<Group, ConversationSummary[]>()
  for (const item of items) {
    const group = item.pinned ? 'pinned' : ageOf(item.updated_at, now_s)
    groups.set(group, [...(groups.get(group) ?? []), item])
  }
  return [...groups]
}

/** By calendar days of where the reader is. */
function ageOf(unix_s: number, now_s: number): Group {
  const midnight = new Date(now_s * 1000).setHours(0, 0, 0, 0) / 1000
  const day_s = 86_400
  if (unix_s >= midnight) return 'today'
  if (unix_s >= midnight - day_s) return 'yesterday'
  if (unix_s >= midnight - 7 * day_s) return 'week'
  return unix_s >= midnight - 30 * day_s ? 'month' : 'older'
}
