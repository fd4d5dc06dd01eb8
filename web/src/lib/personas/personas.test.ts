import { fireEvent, render, screen, waitFor } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { PersonaView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import PersonaManager from './PersonaManager.svelte'
import PersonaPicker from './PersonaPicker.svelte'
import { personas } from './store.svelte'

const persona = (id: string, name: string): PersonaView => ({
  id, name, description: `<img src=x onerror=alert(1)> of ${name}`, system_prompt: 's', greeting: '', example: '', has_avatar: false, created_at: 0,
})

let sent: { method: string; path: string; body: unknown }[]

beforeEach(async () => {
  setLang('en')
  sent = []
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    sent.push({ method: init.method ?? '', path, body: init.body })
    if (init.method === 'DELETE') return new Response(null, { status: 204 })
    if (init.method === 'POST') return new Response(JSON.stringify(persona('new', 'Ada')))
    return new Response(JSON.stringify({ personas: [persona('p1', 'Bea'), persona('p2', '聊聊')] }))
  })
  await personas.reload()
  sent = []
})

describe('the picker', () => {
  test('chooses a persona, or none', async () => {
    const onpick = vi.fn()
    render(PersonaPicker, { value: 'p1', onpick })
    expect((screen.getByRole('radio', { name: 'Bea' }) as HTMLInputElement).checked).toBe(true)
    await fireEvent.click(screen.getByRole('radio', { name: '聊聊' }))
    await fireEvent.click(screen.getByRole('radio', { name: 'The model itself' }))
    expect(onpick.mock.calls).toEqual([['p2'], [null]])
  })

  test('lets go of a persona that is there no more', async () => {
    const onpick = vi.fn()
    render(PersonaPicker, { value: 'gone', onpick })
    await waitFor(() => expect(onpick).toHaveBeenCalledWith(null))
  })
})

describe('the manager', () => {
  test('what a card says is text, never markup', () => {
    const { container } = render(PersonaManager)
    expect(container.querySelector('img')).toBeNull()
    expect(container.textContent).toContain('<img src=x onerror=alert(1)> of Bea')
  })

  test('makes one', async () => {
    render(PersonaManager)
    await fireEvent.click(screen.getByText('New persona'))
    await fireEvent.input(screen.getByLabelText('Name'), { target: { value: ' Ada ' } })
    await fireEvent.click(screen.getByText('Save'))
    await waitFor(() => expect(personas.find('new')?.name).toBe('Ada'))
    expect(JSON.parse(String(sent.find(({ method }) => method === 'POST')?.body))).toEqual({
      name: 'Ada', description: '', system_prompt: '', greeting: '', example: '',
    })
  })

  test('deletes one only when asked twice', async () => {
    render(PersonaManager)
    await fireEvent.click(screen.getByRole('button', { name: 'Delete Bea' }))
    expect(sent.some(({ method }) => method === 'DELETE')).toBe(false)
    await fireEvent.click(screen.getByText('Really?'))
    await waitFor(() => expect(personas.find('p1')).toBeUndefined())
    expect(sent.some(({ path }) => path === '/api/personas/p1')).toBe(true)
  })
})
