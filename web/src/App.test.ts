import { cleanup, fireEvent, render, screen } from '@testing-library/svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import App from './App.svelte'
import { setLang } from './lib/i18n/index.svelte'
import { go } from './lib/route.svelte'
import { prefs } from './lib/settings/prefs.svelte'
import { stubBrowser } from './lib/testing/browser'
import { FakeServer, refused } from './lib/testing/server'

const AWAY = 'No connection to the server.'
let server: FakeServer

beforeEach(() => {
  setLang('en')
  go('/')
  stubBrowser()
  server = new FakeServer()
  server.on('GET /api/conversations', () => ({ conversations: [] }))
  server.on('GET /api/models', () => ({ models: [], current: null }))
  server.on('GET /api/personas', () => ({ personas: [] }))
})
afterEach(() => {
  cleanup()
  prefs.account = ''
  vi.unstubAllGlobals()
})

describe('the start', () => {
  it('tells why the server refuses, and asks again when it is told to', async () => {
    server.on('GET /api/me', () => refused(403, 'it comes through a proxy', 'host_not_allowed'))
    render(App)
    expect(await screen.findByText('The server takes no requests from this address: it comes through a proxy')).toBeTruthy()
    expect(screen.queryByText(AWAY)).toBeNull()
    server.on('GET /api/me', () => ({ account: { id: 'anna', name: 'anna', role: 'admin' }, mode: 'single', needs_setup: false, version: '0' }))
    await fireEvent.click(screen.getByRole('button', { name: 'Try again' }))
    expect(await screen.findByLabelText('Message')).toBeTruthy()
    expect(prefs.account).toBe('anna')
    expect(screen.queryByRole('button', { name: 'Try again' })).toBeNull()
  })

  it('waits for a server that is away', async () => {
    server.on('GET /api/me', () => refused(503, 'starting', 'overloaded'))
    render(App)
    expect(await screen.findByText(AWAY)).toBeTruthy()
    expect(screen.queryByRole('button', { name: 'Try again' })).toBeNull()
  })
})
