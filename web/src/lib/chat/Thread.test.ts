import { cleanup, fireEvent, render, screen } from '@testing-library/svelte'
import { tick } from 'svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { MessageView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import { message } from '../testing/messages'
import { FakeServer, FakeStream } from '../testing/server'
import { Conversation } from './conversation.svelte'
import Thread from './Thread.svelte'

const fields = { id: 'c1', title: 'T', pinned: false, created_at: 0, updated_at: 0, model: null, persona_id: null, settings: {} }
const generation = {
  id: 'g', model: 'm', model_version: 'v', params: {}, prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0,
  first_token_s: 0.1, total_s: 0.2, finish_reason: 'stop', error: null, error_code: null, left_out: 0,
}  // prettier-ignore

function show(messages: MessageView[], head_id: string) {
  const talk = new Conversation({ id: 'c1' })
  talk.take({ ...fields, head_id, messages })
  const onedited = vi.fn()
  const view = render(Thread, { talk, editing: null, onedited })
  return { talk, onedited, ...view }
}

const question = (over: Partial<MessageView> = {}): MessageView => message({ id: 'u1', text: 'What?', ...over })
const answer = (over: Partial<MessageView> = {}): MessageView =>
  message({ id: 'a1', role: 'assistant', parent_id: 'u1', text: 'This.', generation, ...over })

let server: FakeServer

describe('Thread', () => {
  beforeEach(() => {
    setLang('en')
    sessionStorage.clear()
    server = new FakeServer()
    vi.stubGlobal('ResizeObserver', class { observe() {} disconnect() {} })  // prettier-ignore
  })
  afterEach(() => {
    cleanup()
    vi.unstubAllGlobals()
  })

  it('shows what a person wrote as text, whatever it looks like', () => {
    const { container } = show([question({ text: '<img src=x onerror=alert(1)> **a**' }), answer()], 'a1')
    expect(container.querySelector('img')).toBeNull()
    expect(screen.getByText('<img src=x onerror=alert(1)> **a**')).toBeTruthy()
  })

  it('offers to go on where an answer was cut off', async () => {
    server.on('POST /api/messages/a1/continue', () => ({ answers: [answer({ id: 'a2', text: 'This. And that.' })] }))
    show([question(), answer({ status: 'interrupted' })], 'a1')
    expect(screen.getByText(/The server stopped in the middle/)).toBeTruthy()
    await fireEvent.click(screen.getByRole('button', { name: 'Go on' }))
    await vi.waitFor(() => expect(screen.getByText('This. And that.')).toBeTruthy())
    expect(screen.getByRole('group', { name: 'Version 2 of 2' })).toBeTruthy()
  })

  it('tells why an answer failed, and tries again', async () => {
    server.on('POST /api/messages/a1/regenerate', () => ({ answers: [answer({ id: 'a2', text: 'Now.' })] }))
    show([question(), answer({ text: '', status: 'failed', generation: { ...generation, error: 'no room <b>' } })], 'a1')
    expect(screen.getByRole('alert').textContent).toContain('no room <b>')
    await fireEvent.click(screen.getByRole('button', { name: 'Try again' }))
    await vi.waitFor(() => expect(screen.getByText('Now.')).toBeTruthy())
  })

  it('tells in the reader’s language why an answer failed', () => {
    setLang('zh')
    const failed = { ...generation, error: 'The conversation is too long.', error_code: 'context_length_exceeded' }
    show([question(), answer({ text: '', status: 'failed', generation: failed })], 'a1')
    expect(screen.getByRole('alert').textContent).toContain('这个回答失败了：内容超出了模型能读的长度。')
  })

  it('goes between versions', async () => {
    server.on('PATCH /api/conversations/c1', () => ({ ...fields, head_id: null, messages: [] }))
    show([question(), answer(), answer({ id: 'a2', text: 'That.' })], 'a2')
    expect(screen.getByText('That.')).toBeTruthy()
    await fireEvent.click(screen.getByRole('button', { name: 'Previous version' }))
    expect(screen.getByText('This.')).toBeTruthy()
    expect(screen.queryByText('That.')).toBeNull()
    expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Previous version' }).disabled).toBe(true)
  })

  it('edits a question in its place', async () => {
    const { onedited } = show([question(), answer()], 'a1')
    await fireEvent.click(screen.getByRole('button', { name: 'Edit' }))
    const box = screen.getByLabelText<HTMLTextAreaElement>('Edit your message')
    expect(box.value).toBe('What?')
    await fireEvent.input(box, { target: { value: 'Why? ' } })
    await fireEvent.keyDown(box, { key: 'Enter', isComposing: true })
    expect(onedited).not.toHaveBeenCalled()
    await fireEvent.keyDown(box, { key: 'Enter' })
    expect(onedited).toHaveBeenCalledWith({ id: 'u1', text: 'Why?' })
    expect(screen.queryByLabelText('Edit your message')).toBeNull()
  })

  it('reads an answer out by sentences while it grows', async () => {
    const stream = new FakeStream()
    server.on('GET /api/messages/a1/events', () => stream.response)
    const { container, talk } = show([question(), answer({ text: '', status: 'running', seq: 0 })], 'a1')
    const live = container.querySelector('[aria-live="polite"]')!
    stream.event(1, { type: 'text', text: 'One is done. Two is' })
    await vi.waitFor(() => expect(live.textContent).toBe('One is done.'))
    stream.event(2, { type: 'done', message: answer({ text: 'One is done. Two is too.' }) })
    await vi.waitFor(() => expect(live.textContent).toBe('Two is too. Answer finished.'))
    expect(talk.running).toEqual([])
  })

  it('shows a tool at work, and afterwards what it was asked and gave back', async () => {
    const stream = new FakeStream()
    server.on('GET /api/messages/a1/events', () => stream.response)
    const { container } = show([question(), answer({ text: '', status: 'running', seq: 0 })], 'a1')
    const call = { type: 'tool_call', index: 0, id: 't1', name: 'calculator' }
    stream.event(1, { ...call, arguments: '{"expression": "2+3", "digits": 2}', result: null })
    await vi.waitFor(() => expect(screen.getByText('Using a tool: calculator…')).toBeTruthy())
    expect(screen.getByText('still at work')).toBeTruthy()
    expect(screen.getByText('The answer is on its way')).toBeTruthy()
    stream.event(2, { ...call, arguments: '', result: '<b>5</b>' })
    await vi.waitFor(() => expect(screen.getByText('Used a tool: calculator')).toBeTruthy())
    const told = [...container.querySelectorAll('dt, dd')].map(({ textContent }) => textContent?.trim())
    expect(told).toEqual(['expression', '2+3', 'digits', '2', 'gave back', '<b>5</b>'])
    setLang('zh')
    await vi.waitFor(() => expect(screen.getByText('使用了 1 次工具：calculator')).toBeTruthy())
    expect(screen.getByText('返回')).toBeTruthy()
    stream.end()
  })

  it('shows arguments that are no JSON as they are, and no answer where none came', () => {
    const tool_calls = ['{"a": ', '[1]', ''].map((text, index) => ({ id: `t${index}`, name: `tool${index}`, arguments: text, result: null }))
    const { container } = show([question(), answer({ tool_calls, status: 'stopped' })], 'a1')
    expect(screen.getByText('Used tools 3 times: tool0, tool1, tool2')).toBeTruthy()
    const told = [...container.querySelectorAll('dt, dd')].map(({ textContent }) => textContent)
    expect(told).toEqual(['asked with', '{"a": ', 'asked with', '[1]'])
  })

  it('says nothing of what was there before', async () => {
    const { container } = show([question(), answer()], 'a1')
    await tick()
    expect(container.querySelector('[aria-live="polite"]')!.textContent).toBe('')
  })
})
