import { cleanup, fireEvent, render, screen } from '@testing-library/svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ConversationView, ModelView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import { go } from '../route.svelte'
import { prefs } from '../settings/prefs.svelte'
import { stubBrowser } from '../testing/browser'
import { message } from '../testing/messages'
import { FakeServer, refused } from '../testing/server'
import ChatPage from './ChatPage.svelte'
import { Chats } from './chats.svelte'
import { CHATS } from './context'
import { readDraft } from './drafts'

const model = (id: string, over: Partial<ModelView> = {}): ModelView => ({
  id, max_length: 2048, version: '', parameters: null, defaults: {}, state: 'ready', ...over,
})  // prettier-ignore
let server: FakeServer

function serving(...models: ModelView[]): void {
  server.on('GET /api/models', () => ({ models, current: 'now' }))
}

/** The page as it is at a visit, before and after the server has told of its models. */
async function visit(path = '/'): Promise<Chats> {
  go(path)
  const chats = new Chats()
  render(ChatPage, { context: new Map([[CHATS, { chats, me: null }]]) })
  await chats.models.refresh()
  return chats
}

const chosen = (): string => screen.getByRole('button', { name: /^Model:/ }).textContent?.trim() ?? ''
const box = (): HTMLTextAreaElement => screen.getByLabelText<HTMLTextAreaElement>('Message')
const type = (value: string): Promise<unknown> => fireEvent.input(box(), { target: { value } })

/** A conversation in which one thing was said. */
const conversation = (id: string): ConversationView => ({
  id, title: 'T', pinned: false, created_at: 0, updated_at: 0, model: null, persona_id: null, settings: {}, head_id: `u${id}`,
  messages: [message({ id: `u${id}`, text: `said in ${id}` })],
})  // prettier-ignore

/** Somebody says hello in the conversation c1, and what comes back makes the server refuse it. */
async function saidInVain(): Promise<() => void> {
  let refuse = (): void => undefined
  server.on('POST /api/conversations/c1/messages', () => new Promise((resolve) => (refuse = () => resolve(refused(500, 'no')))))
  await visit('/c/c1')
  await screen.findByText('said in c1')
  await type('hello')
  await fireEvent.keyDown(box(), { key: 'Enter' })
  await vi.waitFor(() => expect(server.asked).toContain('POST /api/conversations/c1/messages'))
  return () => refuse()
}

beforeEach(() => {
  setLang('en')
  stubBrowser()
  prefs.reload()
  server = new FakeServer()
  server.on('GET /api/personas', () => ({ personas: [] }))
  server.on('GET /api/conversations', () => ({ conversations: [] }))
  serving(model('now'), model('run:big', { max_length: null, state: 'cold' }))
})
afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

describe('what was written', () => {
  it('waits, where it was not heard, for who has gone elsewhere meanwhile', async () => {
    for (const id of ['c1', 'c2']) server.on(`GET /api/conversations/${id}`, () => conversation(id))
    const refuse = await saidInVain()
    go('/c/c2')
    await screen.findByText('said in c2')
    expect(box().value).toBe('')
    await type('of another kind')
    refuse()
    await vi.waitFor(() => expect(readDraft('c1')).toBe('hello'))
    expect(box().value).toBe('of another kind')
    go('/c/c1')
    await vi.waitFor(() => expect(box().value).toBe('hello'))
  })

  it('is there before what was typed since', async () => {
    server.on('GET /api/conversations/c1', () => conversation('c1'))
    const refuse = await saidInVain()
    await type('and more')
    refuse()
    await vi.waitFor(() => expect(box().value).toBe('hello\nand more'))
  })

  it('stays where a suggestion is asked', async () => {
    server.on('POST /api/conversations', () => ({ ...conversation('c1'), head_id: null, messages: [] }))
    server.on('POST /api/conversations/c1/messages', (body) => ({
      user: message({ id: 'u1', text: (body as { text: string }).text }),
      answers: [message({ id: 'a1', role: 'assistant', parent_id: 'u1', text: 'Hi.' })],
      title: 'T',
    }))
    await visit()
    await type('half a tho')
    await fireEvent.click(screen.getByRole('button', { name: /^Say hello/ }))
    await vi.waitFor(() => expect(location.pathname).toBe('/c/c1'))
    await vi.waitFor(() => expect(server.bodies).toContainEqual(expect.objectContaining({ text: 'Hello! Who are you?' })))
    expect(box().value).toBe('half a tho')
    await vi.waitFor(() => expect([readDraft('c1'), readDraft(null)]).toEqual(['half a tho', '']))
  })
})

describe('a new chat', () => {
  it('is with a model or with the run of the same name, which are told apart', async () => {
    serving(model('now'), model('run:now', { state: 'cold' }))
    await visit()
    await fireEvent.click(screen.getByRole('button', { name: 'Model: now' }))
    expect(screen.getAllByRole('menuitemradio', { hidden: true })).toHaveLength(2)
    await fireEvent.click(screen.getByRole('menuitemradio', { name: /^now \(training run\)/, hidden: true }))
    expect(chosen()).toBe('now (training run)')
    expect(prefs.model).toBe('run:now')
  })

  it('is with the model that was chosen last', async () => {
    await visit()
    expect(chosen()).toBe('now')
    await fireEvent.click(screen.getByRole('button', { name: 'Model: now' }))
    const other = screen.getByRole('menuitemradio', { name: /^big/, hidden: true })
    expect(other.textContent?.replace(/\s+/g, ' ').trim()).toBe('big a training run · loaded when first asked') // no context known yet
    await fireEvent.click(other)
    expect(chosen()).toBe('big')
    cleanup()
    await visit()
    expect(chosen()).toBe('big')
    let asked: unknown
    server.on('POST /api/conversations', (body) => {
      asked = body
      return new Response(null, { status: 500 })
    })
    const box = screen.getByLabelText<HTMLTextAreaElement>('Message')
    await fireEvent.input(box, { target: { value: 'hello' } })
    await fireEvent.keyDown(box, { key: 'Enter' })
    await vi.waitFor(() => expect(asked).toMatchObject({ model: 'run:big' }))
    await vi.waitFor(() => expect(box.value).toBe('hello')) // refused: the words are still there
  })

  it('is with the current model where that one is gone, and where the address names one, with that', async () => {
    prefs.model = 'run:big'
    serving(model('now'))
    await visit()
    await vi.waitFor(() => expect(chosen()).toBe('now'))
    cleanup()
    serving(model('now'), model('run:big'), model('run:small'))
    await visit('/?model=run%3Asmall')
    expect(chosen()).toBe('small')
    cleanup()
    await visit()
    expect(chosen()).toBe('big')
  })
})
