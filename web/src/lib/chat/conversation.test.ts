import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ConversationView, MessageView } from '../api/types'
import { message } from '../testing/messages'
import { FakeServer, FakeStream, refused } from '../testing/server'
import { Conversation } from './conversation.svelte'

const fields = { id: 'c1', title: '', pinned: false, created_at: 0, updated_at: 0, model: null, persona_id: null, settings: {}, head_id: null }
const user = (text: string, over: Partial<MessageView> = {}): MessageView => message({ id: 'u1', role: 'user', text, ...over })
const running = (id: string, over: Partial<MessageView> = {}): MessageView =>
  message({ id, role: 'assistant', parent_id: 'u1', status: 'running', seq: 0, ...over })
const texts = (talk: Conversation): string[] => talk.path.map(({ view }) => view.text)

let server: FakeServer
let stream: FakeStream

beforeEach(() => {
  sessionStorage.clear()
  server = new FakeServer()
  stream = new FakeStream()
  server.on('POST /api/conversations', () => ({ ...fields, messages: [] }) satisfies ConversationView)
  server.on('POST /api/conversations/c1/messages', (body) => ({
    user: user((body as { text: string }).text),
    answers: [running('a1')],
    title: 'Hello',
  }))
  server.on('GET /api/messages/a1/events', () => stream.response)
})

afterEach(() => vi.unstubAllGlobals())

describe('send', () => {
  it('shows question and answer at once, under keys that stay', async () => {
    const talk = new Conversation()
    const sending = talk.send('hello')
    expect(texts(talk)).toEqual(['hello', ''])
    expect(talk.running.length).toBe(1)
    expect(talk.id).toBeNull()
    const keys = talk.path.map(({ key }) => key)
    await sending
    expect(talk.path.map(({ id }) => id)).toEqual(['u1', 'a1'])
    expect(talk.path.map(({ key }) => key)).toEqual(keys)
    expect(talk.id).toBe('c1')
    expect(talk.fields.title).toBe('Hello')
    talk.leave()
  })

  it('grows with the events, and ends with the server’s message', async () => {
    const changed = vi.fn()
    const talk = new Conversation({}, changed)
    await talk.send('hello')
    stream.event(1, { type: 'text', text: 'Good ' })
    stream.event(2, { type: 'text', text: 'day' })
    await vi.waitFor(() => expect(texts(talk)).toEqual(['hello', 'Good day']))
    stream.event(3, { type: 'done', message: { ...running('a1'), text: 'Good day!', status: 'done' } })
    await vi.waitFor(() => expect(talk.running).toEqual([]))
    expect(texts(talk)).toEqual(['hello', 'Good day!'])
    expect(changed).toHaveBeenCalledTimes(2) // said, and answered
  })

  it('leaves everything as it was where the server refuses', async () => {
    server.on('POST /api/conversations/c1/messages', () => refused(429, 'too many'))
    const talk = new Conversation()
    await expect(talk.send('hello')).rejects.toMatchObject({ status: 429, message: 'too many' })
    expect(talk.path).toEqual([])
    expect(talk.sending).toBe(false)
    expect(talk.id).toBe('c1') // it exists; the next message goes there
  })

  it('says the next thing under the last answer', async () => {
    const talk = new Conversation()
    await talk.send('hello')
    stream.event(1, { type: 'done', message: { ...running('a1'), text: 'x', status: 'done' } })
    await vi.waitFor(() => expect(talk.running).toEqual([]))
    await talk.send('more')
    const asked = server.bodies.filter((body): body is { parent_id: string } => (body as { text?: string })?.text === 'more')
    expect(asked[0]?.parent_id).toBe('a1')
    talk.leave()
  })

  it('lets a persona have the first word', async () => {
    const greeting = message({ id: 'g1', role: 'assistant', text: 'Ahoy!' })
    server.on('POST /api/conversations', () => ({ ...fields, persona_id: 'p1', head_id: 'g1', messages: [greeting] }))
    server.on('POST /api/conversations/c1/messages', () => ({
      user: user('hello', { parent_id: 'g1' }),
      answers: [running('a1', { status: 'done' })],
      title: '',
    }))
    const talk = new Conversation({ persona_id: 'p1' })
    await talk.send('hello')
    expect(talk.path.map(({ id }) => id)).toEqual(['g1', 'u1', 'a1'])
    expect(server.bodies).toContainEqual(expect.objectContaining({ text: 'hello', parent_id: 'g1' }))
  })

  it('compares two answers until a vote is cast, over a reload too', async () => {
    server.on('POST /api/conversations/c1/messages', () => ({
      user: user('which?'),
      answers: [running('a1', { status: 'done' }), running('a2', { status: 'done' })],
      title: '',
    }))
    server.on('PATCH /api/conversations/c1', () => fields)
    const talk = new Conversation()
    await talk.send('which?', { numAnswers: 2 })
    const pair = (one: Conversation): string[] | undefined => one.compared(one.path.at(-1)!)?.map(({ id }) => id)
    expect(pair(talk)).toEqual(['a1', 'a2'])

    const again = new Conversation({ id: 'c1' })
    again.take({ ...fields, head_id: 'a1', messages: [...talk.nodes.values()].map(({ view }) => view) })
    expect(pair(again)).toEqual(['a1', 'a2'])

    await talk.voted('u1', 'a2')
    expect(pair(talk)).toBeUndefined()
    expect(talk.path.at(-1)?.id).toBe('a2')
  })
})

describe('a conversation of the server', () => {
  const messages = [
    user('first'),
    message({ id: 'a0', role: 'assistant', parent_id: 'u1', text: 'old' }),
    running('a1', { text: 'Hel', seq: 4 }),
  ]

  it('picks a running answer up where its text ends', async () => {
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, head_id: 'a1', messages })
    stream.event(5, { type: 'text', text: 'lo' })
    await vi.waitFor(() => expect(texts(talk)).toEqual(['first', 'Hello']))
    expect(server.asked).toContain('GET /api/messages/a1/events?after=4')
    talk.leave()
  })

  it('does not lose what has grown since when it is read again', async () => {
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, head_id: 'a1', messages })
    stream.event(5, { type: 'text', text: 'lo' })
    await vi.waitFor(() => expect(texts(talk)).toEqual(['first', 'Hello']))
    const node = talk.path[1]
    talk.take({ ...fields, head_id: 'a1', messages })
    expect(talk.path[1]).toBe(node)
    expect(texts(talk)).toEqual(['first', 'Hello'])
    expect(server.asked.filter((path) => path.includes('/events')).length).toBe(1)
    talk.leave()
  })

  it('shows another version, and tells the server', async () => {
    server.on('PATCH /api/conversations/c1', (body) => ({ ...fields, ...(body as object) }))
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, head_id: 'a1', messages: messages.map((view) => ({ ...view, status: 'done' as const })) })
    expect(talk.versions(talk.path[1]!)).toEqual(['a0', 'a1'])
    await talk.show('a0')
    expect(texts(talk)).toEqual(['first', 'old'])
    expect(server.bodies.at(-1)).toEqual({ head_id: 'a0' })
  })

  it('asks for another answer, for more, and for another word', async () => {
    const again = (id: string): object => ({ answers: [message({ id, role: 'assistant', parent_id: 'u1', text: id })] })
    server.on('POST /api/messages/a0/regenerate', () => again('a2'))
    server.on('POST /api/messages/a0/continue', () => again('a3'))
    server.on('POST /api/messages/a0/branch', () => again('a4'))
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, head_id: 'a0', messages: messages.slice(0, 2) })
    const node = talk.path[1]!
    await talk.regenerate(node)
    expect(texts(talk)).toEqual(['first', 'a2'])
    await talk.continue(node)
    expect(texts(talk)).toEqual(['first', 'a3'])
    await talk.branch(node, 3, 77)
    expect(texts(talk)).toEqual(['first', 'a4'])
    expect(server.bodies.at(-1)).toEqual({ token_index: 3, token_id: 77 })
  })

  it('stops what is shown', async () => {
    server.on('POST /api/messages/a1/stop', () => running('a1', { status: 'stopped' }))
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, head_id: 'a1', messages })
    await talk.stop()
    expect(server.asked).toContain('POST /api/messages/a1/stop')
    talk.leave()
  })

  it('knows of an answer whose events the server has no more', async () => {
    server.on('GET /api/messages/a1/events', () => refused(404, 'gone'))
    server.on('GET /api/messages/a1', () => running('a1', { text: 'Hello', status: 'interrupted' }))
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, head_id: 'a1', messages })
    await vi.waitFor(() => expect(talk.path[1]?.view).toMatchObject({ text: 'Hello', status: 'interrupted' }))
  })

  it('says nothing under a conversation that could not be read', async () => {
    server.on('GET /api/conversations/c1', () => refused(500, 'broken'))
    const talk = new Conversation({ id: 'c1' })
    const loading = talk.load()
    await expect(talk.send('hello')).rejects.toMatchObject({ status: 500, message: 'broken' })
    await loading
    expect(server.asked.filter((asked) => asked.startsWith('POST'))).toEqual([]) // it would have begun a second root
    server.on('GET /api/conversations/c1', () => ({ ...fields, head_id: 'a0', messages: messages.slice(0, 2) }))
    await talk.load()
    await talk.send('hello')
    expect(server.bodies).toContainEqual(expect.objectContaining({ text: 'hello', parent_id: 'a0' }))
    talk.leave()
  })

  it('takes a change back that the server refuses', async () => {
    server.on('PATCH /api/conversations/c1', () => refused(400, 'no'))
    const talk = new Conversation({ id: 'c1' })
    talk.take({ ...fields, title: 'was', messages: [] })
    await expect(talk.change({ title: 'is' })).rejects.toMatchObject({ status: 400 })
    expect(talk.fields.title).toBe('was')
  })
})

describe('a state of the server that comes late', () => {
  const old = [user('first'), message({ id: 'a0', role: 'assistant', parent_id: 'u1', text: 'old' })]
  const before = { ...fields, head_id: 'a0', messages: old }
  let answers: ((view: ConversationView) => void)[]
  let talk: Conversation

  beforeEach(() => {
    answers = []
    server.on('GET /api/conversations/c1', () => new Promise((resolve) => answers.push(resolve)))
    talk = new Conversation({ id: 'c1' })
    talk.take(before)
  })
  afterEach(() => talk.leave())

  /** Read it while `work` is done, which has begun after the question and is over before the answer. */
  async function readDuring(work: () => Promise<void>, after: ConversationView): Promise<string[]> {
    const loading = talk.load()
    await vi.waitFor(() => expect(answers).toHaveLength(1))
    await work()
    answers[0]!(before)
    await vi.waitFor(() => expect(answers).toHaveLength(2)) // it is asked again
    const shown = texts(talk)
    answers[1]!(after)
    await loading
    expect(texts(talk)).toEqual(shown)
    return shown
  }

  it('takes nothing away that was said meanwhile', async () => {
    const question = user('second', { id: 'u2', parent_id: 'a0' })
    const answer = running('a2', { parent_id: 'u2', text: 'new', status: 'done' })
    server.on('POST /api/conversations/c1/messages', () => ({ user: question, answers: [answer], title: '' }))
    const after = { ...fields, head_id: 'a2', messages: [...old, question, answer] }
    expect(await readDuring(() => talk.send('second'), after)).toEqual(['first', 'old', 'second', 'new'])
  })

  it('takes no other answer away, though it is finished already', async () => {
    const answer = running('a2', { text: 'new', status: 'done' })
    server.on('POST /api/messages/a0/regenerate', () => ({ answers: [answer] }))
    const after = { ...fields, head_id: 'a2', messages: [...old, answer] }
    expect(await readDuring(() => talk.regenerate(talk.path[1]!), after)).toEqual(['first', 'new'])
  })

  it('does not lead back to the version that was left meanwhile', async () => {
    server.on('PATCH /api/conversations/c1', (body) => ({ ...fields, ...(body as object) }))
    const both = [...old, message({ id: 'a9', role: 'assistant', parent_id: 'u1', text: 'other' })]
    talk.take({ ...before, messages: both })
    const after = { ...fields, head_id: 'a9', messages: both }
    expect(await readDuring(() => talk.show('a9'), after)).toEqual(['first', 'other'])
  })

  it('is taken where nothing has happened', async () => {
    const loading = talk.load()
    await vi.waitFor(() => expect(answers).toHaveLength(1))
    answers[0]!({ ...before, messages: [old[0]!, { ...old[1]!, text: 'edited elsewhere' }] })
    await loading
    expect(texts(talk)).toEqual(['first', 'edited elsewhere'])
    expect(answers).toHaveLength(1)
  })
})
