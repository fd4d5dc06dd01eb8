/**
 * All the page knows of conversations: the list, those that were opened lately (with answers that go on), the models, and the
 * other tabs, which are told of changes and tell of theirs.
 */
import type { ConversationFields } from '../api/types'
import { Conversation, type NewFields } from './conversation.svelte'
import { ConversationList } from './list.svelte'
import { Models } from './models.svelte'

/** So many stay as they are while others are looked at. */
const MOST_OPEN = 8

export class Chats {
  readonly list = new ConversationList()
  readonly models = new Models()
  #open = new Map<string, Conversation>()
  #tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('liaoliao')

  constructor() {
    this.#tabs?.addEventListener('message', ({ data }: MessageEvent<unknown>) => void this.#elsewhere(String(data)))
  }

  /** A conversation by its id; shown from memory if it was open before, and brought up to date in any case. */
  open(id: string): Conversation {
    const known = this.#open.get(id)
    const talk = known ?? this.#make({ id })
    this.#remember(id, talk)
    if (!(known?.sending ?? false)) void talk.load()
    return talk
  }

  /** A new one, which exists only here until something is said. */
  fresh(fields: NewFields): Conversation {
    return this.#make(fields)
  }

  /** A new one got its id. */
  adopt(talk: Conversation): void {
    if (talk.id) this.#remember(talk.id, talk)
  }

  async remove(id: string): Promise<void> {
    await this.list.remove(id)
    this.forget(id)
    this.#tabs?.postMessage(id)
  }

  forget(id: string): void {
    this.#open.get(id)?.leave()
    this.#open.delete(id)
  }

  /** Title or pin, from the list. */
  async change(id: string, changes: Partial<Pick<ConversationFields, 'title' | 'pinned'>>): Promise<void> {
    await this.list.change(id, changes)
    const talk = this.#open.get(id)
    if (talk) talk.fields = { ...talk.fields, ...changes }
    this.#tabs?.postMessage(id)
  }

  /** Something is being answered there. */
  isRunning(id: string): boolean {
    return (this.#open.get(id)?.running.length ?? 0) > 0
  }

  /** Ask for everything again: the server is back, or this tab is looked at after a while. */
  async refresh(current?: string): Promise<void> {
    const talk = current === undefined ? undefined : this.#open.get(current)
    await Promise.all([this.list.refresh(), this.models.refresh(), talk?.sending ? undefined : talk?.load()])
  }

  /** Outside of whatever effect asks for it: it lives on when that is over. */
  #make(fields: Partial<ConversationFields>): Conversation {
    let made!: Conversation
    $effect.root(() => {
      made = new Conversation(fields, this.#onchanged)
    })
    return made
  }

  #remember(id: string, talk: Conversation): void {
    this.#open.delete(id)
    this.#open.set(id, talk) // the latest is the last
    const idle = [...this.#open].filter(([other, { running }]) => other !== id && !running.length)
    for (const [other] of idle.slice(0, Math.max(0, this.#open.size - MOST_OPEN))) this.forget(other)
  }

  #onchanged = (talk: Conversation): void => {
    if (!talk.id) return
    this.adopt(talk)
    this.#tabs?.postMessage(talk.id)
    void this.list.refresh().then(() => this.#retitle(talk))
  }

  /** The server names a conversation after its first words. */
  #retitle(talk: Conversation): void {
    const found = this.list.find(talk.fields.id)
    if (found && found.title !== talk.fields.title) talk.fields = { ...talk.fields, title: found.title }
  }

  async #elsewhere(id: string): Promise<void> {
    const talk = this.#open.get(id)
    await Promise.all([this.list.refresh(), talk && !talk.sending ? talk.load() : undefined])
  }
}
