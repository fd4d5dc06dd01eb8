import { cleanup, fireEvent, render, screen } from '@testing-library/svelte'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { setLang } from '../i18n/index.svelte'
import { Attachments } from './attachments.svelte'
import Composer from './Composer.svelte'

function show(over: Record<string, unknown> = {}) {
  const told = { onsend: vi.fn(), onstop: vi.fn(), onup: vi.fn() }
  render(Composer, { text: '', attachments: new Attachments(), running: false, sending: false, ...told, ...over })
  return { ...told, box: screen.getByLabelText<HTMLTextAreaElement>('Message') }
}

describe('Composer', () => {
  beforeEach(() => setLang('en'))
  afterEach(cleanup)

  it('sends on Enter, but never while an input method composes', async () => {
    const { box, onsend } = show({ text: '你好' })
    await fireEvent.keyDown(box, { key: 'Enter', isComposing: true })
    await fireEvent.keyDown(box, { key: 'Enter', keyCode: 229 })
    await fireEvent.keyDown(box, { key: 'Enter', shiftKey: true })
    expect(onsend).not.toHaveBeenCalled()
    await fireEvent.keyDown(box, { key: 'Enter' })
    expect(onsend).toHaveBeenCalledTimes(1)
  })

  it('sends nothing that is empty, and nothing while an answer is made', async () => {
    const empty = show({ text: '  \n' })
    await fireEvent.keyDown(empty.box, { key: 'Enter' })
    expect(empty.onsend).not.toHaveBeenCalled()
    expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Send' }).disabled).toBe(true)
    cleanup()
    const busy = show({ text: 'next', running: true })
    await fireEvent.keyDown(busy.box, { key: 'Enter' })
    expect(busy.onsend).not.toHaveBeenCalled()
    await fireEvent.click(screen.getByRole('button', { name: 'Stop' }))
    expect(busy.onstop).toHaveBeenCalledTimes(1)
  })

  it('edits the last message on ↑ in an empty box, and moves the cursor in a full one', async () => {
    const empty = show()
    await fireEvent.keyDown(empty.box, { key: 'ArrowUp' })
    expect(empty.onup).toHaveBeenCalledTimes(1)
    cleanup()
    const full = show({ text: 'a\nb' })
    await fireEvent.keyDown(full.box, { key: 'ArrowUp' })
    expect(full.onup).not.toHaveBeenCalled()
  })

  it('speaks Chinese', () => {
    setLang('zh')
    render(Composer, { text: '', attachments: new Attachments(), running: false, sending: false, onsend: vi.fn(), onstop: vi.fn(), onup: vi.fn() })
    expect(screen.getByLabelText('消息')).toBeTruthy()
    expect(screen.getByRole('button', { name: '发送' })).toBeTruthy()
  })
})
