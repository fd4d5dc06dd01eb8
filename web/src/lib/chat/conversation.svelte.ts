/**
 * One conversation while it is on the page: its tree, the path that is shown, and what can be done with it.
 *
 *     const talk = new Conversation(); await talk.send('hello')       // is made at the server by its first message
 *
 * Answers are followed here and not by what shows them: they go on growing while another conversation is looked at.
 */
import { ApiError, get, patch, post, postOnce } from '../api/client'
import type { Answers, Asked, AttachmentView, ConversationFields, ConversationView, MessageView } from '../api/types'
import { keepCompares, readCompares } from './drafts'
import { MessageNode } from './node.svelte'
import { childrenOf, newestLeaf, pathTo, versionsOf, type Children } from './tree'

export interface SendOptions {
  attachments?: AttachmentView[]
  numAnswers?: 1 | 2
  /** Told once a new conversation exists at the server. */
  onsaved?: () => void
}

/** What a new conversation will start with. */
export type NewFields = Pick<ConversationFields, 'model' | 'persona_id' | 'settings'>

/** Told when something changed that others show too: the list, and the other tabs. */
export type OnChanged = (conversation: Conversation) => void

export class Conversation {
  fields = $state.raw<ConversationFields>()!
  headId = $state<string | null>(null)
  /** It exists at the server. */
  saved = $state(false)
  /** Why it could not be loaded. */
  error = $state.raw<ApiError | null>(null)
  loading = $state(false)
  /** A message is being handed over. */
  sending = $state(false)

  #nodes = $state.raw<ReadonlyMap<string, MessageNode>>(new Map())
  #compares = $state.raw(readCompares())
  #life = new AbortController()
  #followed = new Set<string>()
  #reading: Promise<void> = Promise.resolve()
  /** Counts what changes the tree from here: a state of the server that was asked for before is out of date. */
  #changes = 0
  #onchanged: OnChanged

  readonly children: Children = $derived(childrenOf(this.#nodes.values()))
  readonly path: readonly MessageNode[] = $derived(pathTo(this.#nodes, this.headId, this.children))
  /** The answers under way of what is shown. */
  readonly running: readonly MessageNode[] = $derived(this.#shown().filter((node) => node.running))

  constructor(fields: Partial<ConversationFields> = {}, onchanged: OnChanged = () => undefined) {
    this.fields = { ...EMPTY, ...fields }
    this.saved = fields.id !== undefined
    this.#onchanged = onchanged
  }

  get id(): string | null {
    return this.saved ? this.fields.id : null
  }

  get nodes(): ReadonlyMap<string, MessageNode> {
    return this.#nodes
  }

  /** Read it from the server; what is on the page already stays in place. */
  async load(): Promise<void> {
    this.loading = true
    this.#reading = this.#read()
    await this.#reading
  }

  async #read(): Promise<void> {
    try {
      let view: ConversationView
      let changes: number
      do {
        changes = this.#changes
        view = await get<ConversationView>(`/api/conversations/${encodeURIComponent(this.fields.id)}`, this.#life.signal)
      } while (changes !== this.#changes && !this.sending)
      this.error = null
      if (!this.sending) this.take(view) // else what is being said would vanish for a moment
    } catch (error) {
      if (!(error instanceof ApiError)) return // left in the meantime
      this.error = error
      if (error.status === 404) this.#nodes = new Map() // deleted elsewhere
    } finally {
      this.loading = false
    }
  }

  /** Take over the server's state. */
  take(view: ConversationView): void {
    const { messages, ...fields } = view
    this.fields = fields
    this.saved = true
    // the same nodes where they are known: they may have more than the store does, and they keep their elements
    this.#nodes = new Map(messages.map((message) => [message.id, this.#refreshed(message)]))
    this.headId = fields.head_id
    this.#followRunning()
  }

  /** Say something, under the last message shown. Raises ApiError and leaves all as it was. */
  async send(text: string, { attachments = [], numAnswers = 1, onsaved }: SendOptions = {}): Promise<void> {
    if (this.saved && !this.path.length) {
      await this.#reading // or it would begin a second root
      if (!this.path.length && this.error) throw this.error
    }
    let parent_id = this.path.at(-1)?.id ?? null
    await this.#ask(text, attachments, numAnswers, parent_id, async () => {
      if (!this.saved) {
        await this.#create()
        parent_id = this.fields.head_id // a persona may have the first word
        onsaved?.()
      }
      return postOnce<Asked>(`/api/conversations/${this.fields.id}/messages`, {
        text,
        parent_id,
        attachment_ids: attachments.map(({ id }) => id),
        num_answers: numAnswers,
      })
    })
  }

  /** Ask something else in place of a question: a new version of it, with its own answers. */
  async edit(node: MessageNode, text: string): Promise<void> {
    await this.#ask(text, node.view.attachments, 1, node.parentId, () => postOnce<Asked>(`/api/messages/${node.id}/edit`, { text }))
  }

  /** Another answer to the same question (or a first one, where there is none). */
  regenerate = (node: MessageNode): Promise<void> => this.#another(`/api/messages/${node.id}/regenerate`)
  /** Go on with an answer that was cut off. */
  continue = (node: MessageNode): Promise<void> => this.#another(`/api/messages/${node.id}/continue`)

  /** An answer that says at `tokenIndex` something else. */
  branch(node: MessageNode, tokenIndex: number, tokenId: number): Promise<void> {
    return this.#another(`/api/messages/${node.id}/branch`, { token_index: tokenIndex, token_id: tokenId })
  }

  /** End the answers that are shown; what they said stays. */
  async stop(): Promise<void> {
    await Promise.all(this.running.filter((node) => !isLocal(node.id)).map((node) => post(`/api/messages/${node.id}/stop`)))
  }

  versions(node: MessageNode): readonly string[] {
    return versionsOf(this.#nodes, this.children, node)
  }

  /** Show another version of a message, down to its newest answer. */
  async show(id: string): Promise<void> {
    this.headId = newestLeaf(this.children, id)
    await this.change({ head_id: this.headId })
  }

  /** A message was made elsewhere (a better answer): show it. */
  async add(view: MessageView): Promise<void> {
    this.#put([view])
    await this.show(view.id)
  }

  /** Change its title, model, settings, … here and at the server. Raises ApiError, and takes the change back. */
  async change(changes: Partial<ConversationFields>): Promise<void> {
    const before = this.fields
    this.fields = { ...before, ...changes }
    if (!this.saved) return
    this.#changes++
    try {
      await patch(`/api/conversations/${this.fields.id}`, changes)
      this.#changes++ // it may have been read before it was heard
      this.#onchanged(this)
    } catch (error) {
      this.fields = before
      throw error
    }
  }

  /** The two answers to compare, when `node` is the first of them and nobody has voted yet. */
  compared(node: MessageNode): MessageNode[] | null {
    const ids = node.parentId === null ? undefined : this.#compares[node.parentId]
    if (!ids?.includes(node.id) || this.path.at(-1) !== node) return null
    const pair = ids.map((id) => this.#nodes.get(id)).filter((one) => one !== undefined)
    return pair.length === 2 ? pair : null
  }

  /** The vote is cast: go on with the one that was chosen. */
  async voted(questionId: string, chosenId: string | null): Promise<void> {
    const { [questionId]: pair, ...others } = this.#compares
    this.#compares = others
    keepCompares(others)
    const next = chosenId ?? pair?.[0]
    if (next) await this.show(next)
  }

  /** Nobody looks at it any more: stop following (the server goes on). */
  leave(): void {
    this.#life.abort()
  }

  async #create(): Promise<void> {
    const { model, persona_id, settings } = this.fields
    const view = await postOnce<ConversationView>('/api/conversations', { model, persona_id, settings })
    const { messages = [], ...fields } = view
    this.fields = fields
    this.saved = true
    this.#put(messages) // a persona's greeting
  }

  /** Show question and answer at once, hand the question over, then put what the server made in their place. */
  async #ask(
    text: string,
    attachments: AttachmentView[],
    numAnswers: number,
    parentId: string | null,
    ask: () => Promise<Asked>,
  ): Promise<void> {
    const before = this.headId
    const user = localView('user', parentId, { text, attachments, status: 'done' })
    const answer = localView('assistant', user.id, { status: 'running' })
    this.#put([user, answer])
    this.headId = answer.id
    this.sending = true
    try {
      const asked = await ask()
      if (numAnswers === 2 && asked.answers.length === 2) this.#compare(asked)
      this.#replace([user.id, answer.id], [asked.user, ...asked.answers])
      this.headId = asked.answers[0]?.id ?? asked.user.id
      this.fields = { ...this.fields, title: asked.title }
    } catch (error) {
      this.#replace([user.id, answer.id], [])
      this.headId = before
      throw error
    } finally {
      this.sending = false
    }
    this.#followRunning()
    this.#onchanged(this)
  }

  async #another(path: string, body: unknown = {}): Promise<void> {
    const { answers } = await postOnce<Answers>(path, body)
    this.#put(answers)
    this.headId = answers[0]?.id ?? this.headId
    this.#followRunning()
    this.#onchanged(this)
  }

  #compare({ user, answers }: Asked): void {
    this.#compares = { ...this.#compares, [user.id]: answers.map(({ id }) => id) }
    keepCompares(this.#compares)
  }

  #shown(): readonly MessageNode[] {
    const last = this.path.at(-1)
    return (last && this.compared(last)) ?? this.path
  }

  #put(views: readonly MessageView[]): void {
    this.#changes++
    this.#nodes = new Map([...this.#nodes, ...views.map((view) => [view.id, this.#refreshed(view)] as const)])
  }

  /** Local messages become the server's, in their order, under the same keys. */
  #replace(local: readonly string[], views: readonly MessageView[]): void {
    const nodes = new Map(this.#nodes)
    const keys = local.map((id) => nodes.get(id)?.key)
    for (const id of local) nodes.delete(id)
    views.forEach((view, index) => nodes.set(view.id, new MessageNode(view, keys[index])))
    this.#nodes = nodes
    this.#changes++
  }

  #refreshed(view: MessageView): MessageNode {
    const node = this.#nodes.get(view.id)
    if (!node) return new MessageNode(view)
    if (!this.#followed.has(view.id)) node.view = view
    return node
  }

  #followRunning(): void {
    for (const node of this.#nodes.values()) {
      if (!node.running || isLocal(node.id) || this.#followed.has(node.id)) continue
      this.#followed.add(node.id)
      void node.follow(this.#life.signal, () => this.#onchanged(this)).finally(() => this.#over(node))
    }
  }

  #over(node: MessageNode): void {
    this.#followed.delete(node.id)
    this.#changes++
  }
}

const EMPTY: ConversationFields = {
  id: '',
  title: '',
  pinned: false,
  created_at: 0,
  updated_at: 0,
  model: null,
  persona_id: null,
  settings: {},
  head_id: null,
}

let nextLocal = 1
const LOCAL = 'local:'
export const isLocal = (id: string): boolean => id.startsWith(LOCAL)

/** A message that the server has not confirmed yet. */
function localView(role: MessageView['role'], parentId: string | null, fields: Partial<MessageView>): MessageView {
  return {
    id: `${LOCAL}${nextLocal++}`,
    conversation_id: '',
    parent_id: parentId,
    role,
    text: '',
    reasoning: '',
    tool_calls: [],
    status: 'done',
    created_at: Date.now() / 1000,
    edited_from: null,
    attachments: [],
    feedback: null,
    generation: null,
    seq: null,
    ...fields,
  }
}
