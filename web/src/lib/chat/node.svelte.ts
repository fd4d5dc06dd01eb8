/**
 * One message on the page. What it says may grow: `follow` folds the events of its answer into it, once for each frame that is
 * painted, however many tokens came.
 */
import { followAnswer, type FollowOptions } from '../api/events'
import { ApiError, get } from '../api/client'
import type { AnswerEvent, MessageView } from '../api/types'
import { fold, type TreeNode } from './tree'

let nextKey = 1

export class MessageNode implements TreeNode {
  /** Stays the same when the server gives a message its real id, so that the page keeps its elements. */
  readonly key: number
  readonly id: string
  readonly parentId: string | null
  readonly role: string
  view = $state.raw<MessageView>()!
  /** The line to the server is broken; it is being mended. */
  disconnected = $state(false)
  /** Others are answered first. */
  waiting = $state(false)

  constructor(view: MessageView, key?: number) {
    this.key = key ?? nextKey++
    this.id = view.id
    this.parentId = view.parent_id
    this.role = view.role
    this.view = view
  }

  get running(): boolean {
    return this.view.status === 'running'
  }

  /** Grow until the answer is over or `signal` ends it. `onover` is told once it is over. */
  async follow(signal: AbortSignal, onover: () => void, follow: typeof followAnswer = followAnswer): Promise<void> {
    // what is known is kept only where its place among the events is known
    if (this.view.seq === null) this.view = { ...this.view, text: '', reasoning: '', tool_calls: [] }
    const folder = new Folder(this)
    const options: FollowOptions = {
      signal,
      after: this.view.seq ?? 0,
      onevent: (event) => folder.take(event),
      onconnected: (connected) => {
        this.disconnected = !connected
      },
    }
    try {
      await follow(this.id, options)
    } catch (error) {
      await this.#recover(error)
    } finally {
      folder.flush()
      this.disconnected = this.waiting = false
      if (!this.running) onover()
    }
  }

  /** The server refuses its events: it knows the message itself, or it is gone. */
  async #recover(error: unknown): Promise<void> {
    if (!(error instanceof ApiError)) throw error
    const view = await get<MessageView>(`/api/messages/${encodeURIComponent(this.id)}`).catch(() => this.view)
    this.view = view.status === 'running' ? { ...view, status: 'interrupted' } : view
  }
}

/** Collects events and puts them into the node when the next frame is painted (or soon, where nothing is painted). */
class Folder {
  #node: MessageNode
  #pending: AnswerEvent[] = []
  #cancel: (() => void) | null = null

  constructor(node: MessageNode) {
    this.#node = node
  }

  take(event: AnswerEvent): void {
    this.#pending.push(event)
    if (event.type === 'done' || event.type === 'failed') this.flush()
    else this.#cancel ??= soon(() => this.flush())
  }

  flush(): void {
    this.#cancel?.()
    this.#cancel = null
    if (!this.#pending.length) return
    this.#node.waiting = this.#pending.at(-1)?.type === 'waiting'
    this.#node.view = this.#pending.reduce(fold, this.#node.view)
    this.#pending = []
  }
}

/** At the next frame; a page that is not seen has none, and is served by the clock. */
function soon(work: () => void): () => void {
  const frame = document.hidden ? 0 : requestAnimationFrame(work)
  const timer = setTimeout(work, 200) // whichever comes first; both lead to one flush
  return () => {
    if (frame) cancelAnimationFrame(frame)
    clearTimeout(timer)
  }
}
