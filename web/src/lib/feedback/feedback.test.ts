import { fireEvent, render, screen, waitFor } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { MessageView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import CompareView from './CompareView.svelte'
import MessageFeedback from './MessageFeedback.svelte'
import { press, toggle } from './reasons'

const message = (id: string, more: Partial<MessageView> = {}): MessageView => ({
  id,
  conversation_id: 'c',
  parent_id: 'u',
  role: 'assistant',
  text: `text of ${id}`,
  reasoning: '',
  tool_calls: [],
  status: 'done',
  created_at: 0,
  edited_from: null,
  attachments: [],
  feedback: null,
  generation: null,
  seq: null,
  ...more,
})

let sent: { method: string; path: string; body: unknown }[]
let status: number

beforeEach(() => {
  setLang('en')
  ;[sent, status] = [[], 200]
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    sent.push({ method: init.method ?? '', path, body: JSON.parse(String(init.body ?? 'null')) })
    return new Response(JSON.stringify({ error: { message: 'no' }, message: message('better') }), { status })
  })
})

describe('thumbs', () => {
  test('pressing one again takes it back; the other turns it round', () => {
    expect([press(0, 1), press(1, 1), press(1, -1), press(-1, -1)]).toEqual([1, 0, -1, 0])
  })

  test('reasons are in their fixed order, and belong to their thumb', () => {
    expect(toggle(-1, ['repeats', 'correct'], 'incorrect')).toEqual(['incorrect', 'repeats'])
    expect(toggle(-1, ['repeats'], 'repeats')).toEqual([])
  })

  test('a thumb is kept at once, reasons and words when they are sent', async () => {
    render(MessageFeedback, { message: message('m') })
    await fireEvent.click(screen.getByRole('button', { name: 'Bad answer' }))
    await fireEvent.click(await screen.findByLabelText('Wrong language'))
    await fireEvent.input(screen.getByLabelText(/own words/), { target: { value: ' it is Dutch ' } })
    await fireEvent.click(screen.getByText('Send'))
    await waitFor(() => expect(sent).toHaveLength(2))
    expect(sent.map(({ path }) => path)).toEqual(['/api/messages/m/feedback', '/api/messages/m/feedback'])
    expect(sent.map(({ body }) => body)).toEqual([
      { thumb: -1, reasons: [], comment: '' },
      { thumb: -1, reasons: ['language'], comment: 'it is Dutch' },
    ])
  })

  test('what the server did not keep is not shown as given', async () => {
    status = 500
    render(MessageFeedback, { message: message('m') })
    const thumb = screen.getByRole('button', { name: 'Good answer' })
    await fireEvent.click(thumb)
    await waitFor(() => expect(sent).toHaveLength(1))
    await waitFor(() => expect(thumb.getAttribute('aria-pressed')).toBe('false'))
    expect(screen.queryByText('What was good?')).toBeNull()
  })

  test('a better answer is a new sibling; the same words are none', async () => {
    const onbetter = vi.fn()
    render(MessageFeedback, { message: message('m'), onbetter })
    await fireEvent.click(screen.getByRole('button', { name: 'Write a better answer' }))
    const save = screen.getByText('Save').closest('button')!
    expect(save.disabled).toBe(true)
    await fireEvent.input(screen.getByRole('textbox', { hidden: true }), { target: { value: 'Better.' } })
    await fireEvent.click(save)
    await waitFor(() => expect(onbetter).toHaveBeenCalledWith(message('better')))
    expect(sent[0]).toEqual({ method: 'POST', path: '/api/messages/m/edit', body: { text: 'Better.' } })
  })
})

test('a better answer that is being written outlives that its message is read again', async () => {
  const { rerender } = render(MessageFeedback, { message: message('m'), onbetter: vi.fn() })
  await fireEvent.click(screen.getByRole('button', { name: 'Write a better answer' }))
  const box = screen.getByRole<HTMLTextAreaElement>('textbox', { hidden: true })
  expect(box.value).toBe('text of m')
  await fireEvent.input(box, { target: { value: 'Better.' } })
  await rerender({ message: message('m', { text: 'text of m, as it is now' }) })
  expect(box.value).toBe('Better.')
})

describe('side by side', () => {
  const userMessage = message('u', { role: 'user' })

  test('why one of them failed is told in the reader’s language', () => {
    setLang('zh')
    const generation = { error: 'The queue is full.', error_code: 'overloaded' } as never
    render(CompareView, { userMessage, answers: [message('a', { status: 'failed', generation }), message('b')], onvoted: vi.fn() })
    expect(screen.getByText('服务器现在无法处理，请稍后再试。')).toBeTruthy()
  })

  test('no vote while one is being written', () => {
    render(CompareView, { userMessage, answers: [message('a'), message('b', { status: 'running' })], onvoted: vi.fn() })
    for (const button of screen.getAllByRole('button')) expect((button as HTMLButtonElement).disabled).toBe(true)
  })

  test.each([
    ['This one is better', 1, { parent_id: 'u', chosen_id: 'b', rejected_id: 'a' }, 'b'],
    ['About the same', 0, { parent_id: 'u', chosen_id: 'a', rejected_id: null }, null],
  ])('%s', async (name, at, body, chosen) => {
    const onvoted = vi.fn()
    render(CompareView, { userMessage, answers: [message('a'), message('b')], onvoted })
    await fireEvent.click(screen.getAllByRole('button', { name })[at]!)
    await waitFor(() => expect(onvoted).toHaveBeenCalledWith(chosen))
    expect(sent).toEqual([{ method: 'POST', path: '/api/votes', body }])
  })
})
