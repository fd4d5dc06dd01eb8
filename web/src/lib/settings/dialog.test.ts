import { fireEvent, render, screen, waitFor } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { ConversationView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import { prefs } from './prefs.svelte'
import SettingsDialog from './SettingsDialog.svelte'

const conversation: ConversationView = {
  id: 'c1', title: 't', pinned: false, created_at: 0, updated_at: 0, model: null, persona_id: null,
  settings: { temperature: 0.5, system: 'Be kind.' }, head_id: null, messages: [],
}

let sent: { method: string; path: string; body: unknown }[]
let me: unknown

beforeEach(() => {
  setLang('en')
  localStorage.clear()
  prefs.reload()
  sent = []
  me = { account: { id: 'a', name: 'owner', role: 'admin' }, mode: 'single', needs_setup: false, version: '0' }
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : null
    sent.push({ method: init.method ?? '', path, body })
    if (path === '/api/me') return new Response(JSON.stringify(me))
    if (path === '/api/models') {
      return new Response(JSON.stringify({ models: [{ id: 'm', max_length: 9, version: '', parameters: 1, defaults: { top_p: 0.9 } }], current: 'm' }))
    }
    if (path === '/api/accounts') return new Response(JSON.stringify({ accounts: [] }))
    return new Response(JSON.stringify({ ...conversation, ...(body as object) }))
  })
})

const tabs = () => screen.getAllByRole('tab', { hidden: true }).map((tab) => tab.textContent)
const open = (name: string) => fireEvent.click(screen.getByText(name))

describe('SettingsDialog', () => {
  test('one person alone has no account, keys or people', async () => {
    render(SettingsDialog, { open: true, onclose: vi.fn() })
    await waitFor(() => expect(sent.some(({ path }) => path === '/api/me')).toBe(true))
    expect(tabs()).toEqual(['General', 'Model', 'Personas', 'Your data'])
  })

  test.each([
    ['member', ['Account', 'API keys']],
    ['admin', ['Account', 'API keys', 'People']],
  ])('with accounts, a %s has more', async (role, more) => {
    me = { account: { id: 'a', name: 'mila', role }, mode: 'multi', needs_setup: false, version: '0' }
    render(SettingsDialog, { open: true, onclose: vi.fn() })
    await waitFor(() => expect(tabs().slice(4)).toEqual(more))
  })

  test('changes of this conversation go to the server, those of new ones stay in the browser', async () => {
    const onchange = vi.fn()
    render(SettingsDialog, { open: true, onclose: vi.fn(), conversation, onchange })
    await open('Model')
    const top_p = screen.getByLabelText('Top-p') as HTMLInputElement
    await waitFor(() => expect(top_p.placeholder).toBe('0.9'))
    await fireEvent.change(top_p, { target: { value: '0.5' } })
    await waitFor(() => expect(onchange).toHaveBeenCalledOnce())
    expect(sent.find(({ method }) => method === 'PATCH')).toEqual({
      method: 'PATCH',
      path: '/api/conversations/c1',
      body: { settings: { temperature: 0.5, system: 'Be kind.', top_p: 0.5 } },
    })
    await fireEvent.click(screen.getByLabelText('New conversations'))
    await fireEvent.change(screen.getByLabelText('Temperature'), { target: { value: '0' } })
    expect(prefs.defaults).toEqual({ temperature: 0 })
    expect(sent.filter(({ method }) => method === 'PATCH')).toHaveLength(1)
  })

  test('a value out of range is named and not sent', async () => {
    render(SettingsDialog, { open: true, onclose: vi.fn(), conversation })
    await open('Model')
    const temperature = screen.getByLabelText('Temperature')
    await fireEvent.change(temperature, { target: { value: '7' } })
    expect(temperature.getAttribute('aria-invalid')).toBe('true')
    expect(screen.getByText('From 0 to 2')).toBeTruthy()
    expect(sent.some(({ method }) => method === 'PATCH')).toBe(false)
  })

  test('a file of conversations is sent, and what came of it told', async () => {
    const ondata = vi.fn()
    render(SettingsDialog, { open: true, onclose: vi.fn(), ondata })
    vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
      sent.push({ method: init.method ?? '', path, body: JSON.parse(String(init.body ?? 'null')) })
      return new Response(JSON.stringify({ num_conversations: 2, num_messages: 9, skipped: ['<b>image</b>'] }))
    })
    await open('Your data')
    const input = document.querySelector<HTMLInputElement>('input[type=file]')!
    await fireEvent.change(input, { target: { files: [new File(['[{"title": "x"}]'], 'conversations.json')] } })
    expect(await screen.findByText('2 conversations with 9 messages are here.')).toBeTruthy()
    expect(screen.getByText('<b>image</b>').tagName).toBe('LI')
    expect(sent.at(-1)).toEqual({ method: 'POST', path: '/api/import', body: [{ title: 'x' }] })
    expect(ondata).toHaveBeenCalledOnce()
  })

  test('what is too large for one request is left out by its name, and the others come', async () => {
    render(SettingsDialog, { open: true, onclose: vi.fn() })
    vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
      const body = JSON.parse(String(init.body ?? 'null')) as { conversations: { title: string }[] }
      sent.push({ method: init.method ?? '', path, body })
      if (path === '/api/personas') return Response.json({ personas: [] })
      const titles = body.conversations.map(({ title }) => title)
      if (titles.includes('huge')) return Response.json({ error: { message: 'more than 8 MiB' } }, { status: 413 })
      return Response.json({ num_conversations: titles.length, num_messages: titles.length, skipped: [] })
    })
    await open('Your data')
    const input = document.querySelector<HTMLInputElement>('input[type=file]')!
    const data = { format: 'liaoliao/1', personas: [], conversations: ['a', 'huge', 'b'].map((title) => ({ title })) }
    await fireEvent.change(input, { target: { files: [new File([JSON.stringify(data)], 'export.json')] } })
    expect(await screen.findByText('huge: larger than the server takes at once.')).toBeTruthy()
    expect(await screen.findByText('2 conversations with 2 messages are here.')).toBeTruthy()
    await waitFor(() => expect(sent.at(-1)?.path).toBe('/api/personas')) // those that came along are shown
  })

  test('everything is deleted only after asking again', async () => {
    render(SettingsDialog, { open: true, onclose: vi.fn() })
    await open('Your data')
    await fireEvent.click(screen.getAllByText('Delete everything').at(-1)!)
    expect(sent.some(({ method }) => method === 'DELETE')).toBe(false)
    expect(screen.getByText('Delete it all for good')).toBeTruthy()
  })
})
