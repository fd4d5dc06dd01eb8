import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ModelView } from '../api/types'
import { prefs } from '../settings/prefs.svelte'
import { FakeServer } from '../testing/server'
import { Models } from './models.svelte'

const model = (id: string): ModelView => ({ id, max_length: null, version: '', parameters: null, defaults: {}, state: 'ready' })
let server: FakeServer

function serving(...ids: string[]): void {
  server.on('GET /api/models', () => ({ models: ids.map(model), current: ids[0] ?? null }))
}

beforeEach(() => {
  localStorage.clear()
  prefs.reload()
  server = new FakeServer()
})
afterEach(() => vi.unstubAllGlobals())

describe('the model of a new chat', () => {
  it('is the one that was chosen last, at the next visit too', async () => {
    serving('now', 'run:big')
    const models = new Models()
    await models.refresh()
    expect(models.usual).toBeNull()
    models.prefer('run:big')
    prefs.reload()
    expect(models.usual).toBe('run:big')
    expect(new Models().usual).toBe('run:big') // before the server has told which there are
  })

  it('is the current one again, whichever that will be, once that was chosen', async () => {
    serving('now', 'run:big')
    const models = new Models()
    await models.refresh()
    models.prefer('run:big')
    models.prefer('now')
    expect(models.usual).toBeNull()
  })

  it('is the current one while the other is not served, and the other when it is back', async () => {
    const models = new Models()
    serving('now', 'run:big')
    await models.refresh()
    models.prefer('run:big')
    serving('now')
    await models.refresh()
    expect(models.usual).toBeNull()
    serving('now', 'run:big')
    await models.refresh()
    expect(models.usual).toBe('run:big')
  })
})
