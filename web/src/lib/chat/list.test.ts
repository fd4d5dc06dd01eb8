import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ConversationSummary } from '../api/types'
import { FakeServer } from '../testing/server'
import { ConversationList } from './list.svelte'

const summaries = (count: number, name = 'c'): ConversationSummary[] =>
  Array.from({ length: count }, (_, n) => ({ id: `${name}${n}`, title: '', pinned: false, updated_at: 10_000 - n, model: null, snippet: null }))
const ids = (items: readonly ConversationSummary[]): string[] => items.map(({ id }) => id)

/** What the server has, in its order; `found` is what a search finds. */
let all: ConversationSummary[]
let found: ConversationSummary[]

/** As if it was continued at another device. */
function carryOn(at: number): void {
  all = [{ ...all[at]!, updated_at: 99_999 }, ...all.filter((_, n) => n !== at)]
}

async function listOf(count: number): Promise<ConversationList> {
  const list = new ConversationList()
  await list.refresh()
  while (list.items.length < count) await list.loadMore()
  return list
}

beforeEach(() => {
  const server = new FakeServer()
  server.on('GET /api/conversations', (_, path) => {
    const asked = new URLSearchParams(path.split('?')[1])
    const from = asked.get('query') ? found : all
    const begin = asked.has('before') ? from.findIndex(({ id }) => id === asked.get('before')) + 1 : 0
    return { conversations: from.slice(begin, begin + Number(asked.get('limit'))) }
  })
})
afterEach(() => vi.unstubAllGlobals())

describe('the end of the list', () => {
  it('is followed by what comes after it', async () => {
    all = summaries(120)
    const list = await listOf(120)
    expect(ids(list.items)).toEqual(ids(all))
    expect(list.hasMore).toBe(false)
  })

  it.each([50, 100])('has nothing twice where the last of %d was carried on elsewhere', async (count) => {
    all = summaries(130)
    const list = await listOf(count)
    carryOn(count - 1)
    await list.loadMore()
    expect(new Set(ids(list.items)).size).toBe(list.items.length)
    expect(list.items.length).toBeGreaterThan(count) // it goes on all the same
    while (list.hasMore) await list.loadMore()
    expect(ids(list.items).sort()).toEqual(ids(all).sort())
  })
})

describe('a long list', () => {
  it('keeps its tail when its head is asked for anew', async () => {
    all = summaries(420)
    const list = await listOf(400)
    carryOn(300)
    all = [...summaries(1, 'new'), ...all.filter(({ id }) => id !== 'c10')]
    await list.refresh()
    expect(ids(list.items)).toEqual(ids(all).slice(0, 400))
    expect(list.hasMore).toBe(true)
    await list.loadMore()
    expect(ids(list.items)).toEqual(ids(all))
    expect(list.hasMore).toBe(false)
  })

  it('is not kept behind what a search found', async () => {
    all = summaries(420)
    found = summaries(300, 'found')
    const list = await listOf(400)
    list.query = 'zebra'
    await list.refresh()
    expect(ids(list.items)).toEqual(ids(found).slice(0, 200))
  })
})
