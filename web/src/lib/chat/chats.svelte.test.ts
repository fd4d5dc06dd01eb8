import { flushSync } from 'svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { message } from '../testing/messages'
import { FakeServer } from '../testing/server'
import { Chats } from './chats.svelte'
import type { Conversation } from './conversation.svelte'

const fields = { title: 'T', pinned: false, created_at: 0, updated_at: 0, model: null, persona_id: null, settings: {} }
let server: FakeServer

/** Two conversations with one message each, and a list of both. */
beforeEach(() => {
  sessionStorage.clear()
  vi.stubGlobal('BroadcastChannel', undefined)
  server = new FakeServer()
  server.on('GET /api/conversations', () => ({ conversations: [] }))
  for (let number = 0; number < 12; number++) {
    const id = `c${number}`
    server.on(`GET /api/conversations/${id}`, () => ({ ...fields, id, head_id: `u${number}`, messages: [message({ id: `u${number}`, text: id })] }))
  }
})
afterEach(() => vi.unstubAllGlobals())

const shown = (talk: Conversation): string[] => talk.path.map(({ view }) => view.text)

describe('Chats', () => {
  it('shows an open conversation from memory, and brings it up to date', async () => {
    const chats = new Chats()
    const talk = chats.open('c1')
    await vi.waitFor(() => expect(shown(talk)).toEqual(['c1']))
    server.on('GET /api/conversations/c1', () => ({
      ...fields, id: 'c1', head_id: 'u9', messages: [message({ id: 'u1', text: 'c1' }), message({ id: 'u9', parent_id: 'u1', text: 'new' })],
    }))  // prettier-ignore
    expect(chats.open('c1')).toBe(talk)
    expect(shown(talk)).toEqual(['c1'])
    await vi.waitFor(() => expect(shown(talk)).toEqual(['c1', 'new']))
  })

  it('gives conversations that outlive the effect that asked for them', async () => {
    const chats = new Chats()
    let talk!: Conversation
    const end = $effect.root(() => {
      $effect(() => void (talk = chats.open('c1')))
    })
    flushSync()
    end()
    await vi.waitFor(() => expect(shown(talk)).toEqual(['c1']))
  })

  it('keeps the last few, and forgets what was deleted', async () => {
    server.on('DELETE /api/conversations/c11', () => new Response(null, { status: 204 }))
    const chats = new Chats()
    const talks = Array.from({ length: 12 }, (_, number) => chats.open(`c${number}`))
    await vi.waitFor(() => expect(shown(talks[11]!)).toEqual(['c11']))
    expect(chats.open('c10')).toBe(talks[10])
    expect(chats.open('c0')).not.toBe(talks[0])
    await chats.remove('c11')
    expect(chats.open('c11')).not.toBe(talks[11])
  })
})
