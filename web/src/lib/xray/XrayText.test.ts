import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { MessageView } from '../api/types'
import { setLang } from '../i18n/index.svelte'
import XrayText from './XrayText.svelte'

const message: MessageView = {
  id: 'm1',
  conversation_id: 'c1',
  parent_id: 'u1',
  role: 'assistant',
  text: 'A red hen',
  reasoning: '',
  tool_calls: [],
  status: 'done',
  created_at: 0,
  edited_from: null,
  attachments: [],
  feedback: null,
  generation: null,
  seq: null,
}

const token = (id: number, text: string, prob: number, rank: number, start: number) => ({
  id,
  text,
  prob,
  rank,
  entropy_bits: 1,
  start,
  kind: 'text',
  given: [],
})
const listing = {
  prompt: [
    { id: 90, text: '<|im_start|>', special: true },
    { id: 5, text: 'user\n', special: false },
  ],
  tokens: [token(1, 'A', 0.95, 1, 0), token(2, ' red', 0.02, 3, 1), token(3, ' hen', 0.5, 1, 5)],
  model: 'm',
  version: 'v',
  dtype: 'float32',
  generated: true,
  end: false,
  took_ms: 1,
}
const look = {
  id: 2,
  text: ' red',
  prob: 0.02,
  rank: 3,
  alternatives: [
    { id: 7, text: ' blue', prob: 0.6 },
    { id: 8, text: ' big', prob: 0.2 },
    { id: 2, text: ' red', prob: 0.02 },
  ],
  entropy_bits: 1,
  lens: [
    { layer: 1, top: [{ id: 8, text: ' big', prob: 0.3 }] },
    { layer: 2, top: [{ id: 2, text: ' red', prob: 0.6 }] },
  ],
  attention: { layers: 1, heads: 1, tokens: 3, values: btoa(String.fromCharCode(255, 51, 0)), max: [0.8], context: ['<|im_start|>', 'user\n', 'A'] },
  took_ms: 3,
}

let asked: string[]

beforeEach(() => {
  setLang('en')
  asked = []
  vi.stubGlobal('fetch', async (path: string) => {
    asked.push(path)
    return new Response(JSON.stringify(path.endsWith('/xray') ? listing : look))
  })
})

const tokens = () => within(screen.getByRole('group', { name: /token by token/ })).getAllByRole('button')

describe('XrayText', () => {
  test('tints each token by its probability, and loses no text', async () => {
    render(XrayText, { message })
    await waitFor(tokens)
    expect(tokens().map((one) => one.textContent).join('')).toBe(message.text)
    expect(tokens().map((one) => /xray-band-(\d)/.exec(one.className)?.[1])).toEqual(['0', '6', '2'])
  })

  test('arrow keys move, say the token, and open its alternatives; one branches', async () => {
    const onbranch = vi.fn()
    render(XrayText, { message, onbranch })
    await waitFor(tokens)
    tokens()[0]!.focus()
    await fireEvent.keyDown(tokens()[0]!, { key: 'ArrowRight' })
    expect(document.activeElement).toBe(tokens()[1])
    expect(tokens()[1]!.getAttribute('aria-label')).toBe('·red, 2.0%, choice number 3')
    const popover = await screen.findByRole('dialog')
    const blue = await within(popover).findByRole('button', { name: 'Go on with ·blue 60%' })
    expect(within(popover).queryByRole('button', { name: /·red/ })).toBeNull() // it was chosen already
    await fireEvent.click(blue)
    expect(onbranch).toHaveBeenCalledWith(1, 7)
    expect(asked).toEqual(['/api/messages/m1/xray', '/api/messages/m1/xray/1'])
  })

  test('a tap pins the popover, Escape closes it and leads back to the token', async () => {
    render(XrayText, { message, onbranch: vi.fn() })
    await waitFor(tokens)
    await fireEvent.click(tokens()[2]!)
    const popover = await screen.findByRole('dialog', { name: /·hen/ })
    await fireEvent.keyDown(popover, { key: 'Escape' })
    await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull())
    expect(document.activeElement).toBe(tokens()[2])
  })

  test('the deep look has layers, attention and the raw prompt', async () => {
    vi.stubGlobal('ResizeObserver', class { observe() {} unobserve() {} disconnect() {} })
    render(XrayText, { message })
    await waitFor(tokens)
    await fireEvent.click(tokens()[1]!)
    await fireEvent.click(await screen.findByRole('button', { name: /Layers, attention/ }))
    const rows = await screen.findAllByRole('row')
    const cells = rows.map((row) => [...row.children].map((cell) => cell.textContent?.replace(/\s+/g, ' ').trim()))
    expect(cells).toEqual([
      ['Layer', '1.'],
      ['2', '·red 60% chosen'],
      ['1', '·big 30%'],
    ])
    expect(screen.getByText('From layer 2 on, the chosen word leads.')).toBeTruthy()
    await fireEvent.click(screen.getByRole('tab', { name: 'Attention' }))
    const most = screen.getByRole('list', { name: 'The tokens looked at most' })
    expect(within(most).getAllByRole('listitem').map((one) => one.textContent)).toEqual(['<|im_start|> 80%', 'user⏎ 16%'])
    await fireEvent.click(screen.getByRole('tab', { name: 'Raw prompt' }))
    expect(screen.getByRole('button', { name: '<|im_start|>' }).className).toContain('special')
  })

  test('an answer still being written is shown as it is, and not asked about', () => {
    render(XrayText, { message: { ...message, status: 'running' } })
    expect(screen.getByText('A red hen')).toBeTruthy()
    expect(asked).toEqual([])
  })

  test('where the server cannot look, its reason and the words are shown', async () => {
    vi.stubGlobal('fetch', async () => new Response('{"error":{"message":"That model is gone."}}', { status: 409 }))
    render(XrayText, { message })
    expect(await screen.findByText('That model is gone.')).toBeTruthy()
    expect(screen.getByText('A red hen')).toBeTruthy()
  })
})
