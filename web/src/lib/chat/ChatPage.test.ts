import { cleanup, fireEvent, render, screen } from '@testing-library/svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ModelView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import { go } from '../route.svelte'
import { prefs } from '../settings/prefs.svelte'
import { FakeServer } from '../testing/server'
import ChatPage from './ChatPage.svelte'
import { Chats } from './chats.svelte'
import { CHATS } from './context'

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

describe('a new chat', () => {
  beforeEach(() => {
    setLang('en')
    localStorage.clear()
    prefs.reload()
    vi.stubGlobal('BroadcastChannel', undefined)
    vi.stubGlobal('matchMedia', () => ({ matches: false }))
    vi.stubGlobal('ResizeObserver', class { observe() {} disconnect() {} })  // prettier-ignore
    server = new FakeServer()
    server.on('GET /api/personas', () => ({ personas: [] }))
    server.on('GET /api/conversations', () => ({ conversations: [] }))
    serving(model('now'), model('run:big', { max_length: null, state: 'cold' }))
  })
  afterEach(() => {
    cleanup()
    vi.unstubAllGlobals()
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
