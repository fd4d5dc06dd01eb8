import { fireEvent, render, screen, waitFor } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { setLang } from '../i18n/index.svelte'
import LoginPage from './LoginPage.svelte'
import { weakness } from './password'

let sent: { path: string; body: unknown }[]
let answers: [number, unknown][]

beforeEach(() => {
  setLang('en')
  location.hash = ''
  ;[sent, answers] = [[], []]
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    sent.push({ path, body: JSON.parse(String(init.body)) })
    const [status, body] = answers.shift() ?? [200, {}]
    return new Response(JSON.stringify(body), { status })
  })
})

const type = (label: string, value: string) => fireEvent.input(screen.getByLabelText(label), { target: { value } })

describe('login', () => {
  test('sends name and password, and goes on', async () => {
    const onlogin = vi.fn()
    render(LoginPage, { mode: 'login', onlogin })
    await type('Name', ' mila ')
    await type('Password', ' s p a c e ')
    await fireEvent.click(screen.getByRole('button', { name: 'Log in' }))
    await waitFor(() => expect(onlogin).toHaveBeenCalledOnce())
    expect(sent).toEqual([{ path: '/api/login', body: { name: 'mila', password: ' s p a c e ' } }])
  })

  test('a refusal is shown in the server’s words', async () => {
    answers = [[401, { error: { message: 'Wrong name or password.' } }]]
    const onlogin = vi.fn()
    render(LoginPage, { mode: 'login', onlogin })
    await type('Name', 'mila')
    await type('Password', 'x')
    await fireEvent.click(screen.getByRole('button', { name: 'Log in' }))
    expect((await screen.findByText('Wrong name or password.')).getAttribute('role')).toBe('alert')
    expect(onlogin).not.toHaveBeenCalled()
  })
})

describe('set-up', () => {
  test('passwords that are weak or differ are not sent', async () => {
    render(LoginPage, { mode: 'setup', onlogin: vi.fn() })
    await type('Name', 'mila')
    await type('Password', 'long enough')
    await type('Password once more', 'long enougj')
    await fireEvent.click(screen.getByRole('button', { name: 'Create the account' }))
    expect(screen.getByText('The two passwords differ.')).toBeTruthy()
    expect(sent).toEqual([])
  })

  test('asks for the code when the server wants it, and takes it from the link', async () => {
    answers = [[403, { error: { message: 'A code is needed.', code: 'setup_code_needed' } }]]
    const onlogin = vi.fn()
    const { unmount } = render(LoginPage, { mode: 'setup', onlogin })
    expect(screen.queryByLabelText(/Code that/)).toBeNull()
    await type('Name', 'mila')
    await type('Password', 'long enough')
    await type('Password once more', 'long enough')
    await fireEvent.click(screen.getByRole('button', { name: 'Create the account' }))
    await waitFor(() => screen.getByLabelText(/Code that/))
    await type('Code that the server printed at its start', 'K7')
    await fireEvent.click(screen.getByRole('button', { name: 'Create the account' }))
    await waitFor(() => expect(onlogin).toHaveBeenCalled())
    expect(sent[1]?.body).toEqual({ name: 'mila', password: 'long enough', code: 'K7' })
    unmount()
    location.hash = '#Q-9'
    render(LoginPage, { mode: 'setup', onlogin })
    await waitFor(() => expect((screen.getByLabelText(/Code that/) as HTMLInputElement).value).toBe('Q-9'))
  })

  test('weak passwords', () => {
    expect(weakness('1234567', 'mila')).toBe('login.short')
    expect(weakness('密码密码密码密码', 'mila')).toBeNull()
    expect(weakness('Mila-the-hen', 'mila-the-hen')).toBe('login.sameAsName')
  })
})
