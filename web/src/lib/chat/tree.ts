/**
 * The message tree as plain functions: editing and regenerating make siblings, and a conversation is shown as one path.
 *
 *     u1 ─ a1
 *        └ a2 ─ u2 ─ a3      head a3: the path u1 a2 u2 a3; a2 is version 2 of 2
 */
import type { AnswerEvent, MessageView, ToolCallView } from '../api/types'

/** What the shape of a tree is made of. */
export interface TreeNode {
  readonly id: string
  readonly parentId: string | null
  readonly role: string
}

export type Children = ReadonlyMap<string | null, readonly string[]>

/** The children of every node in the order given (oldest first); null has the roots. */
export function childrenOf(nodes: Iterable<TreeNode>): Children {
  const children = new Map<string | null, string[]>()
  for (const { id, parentId } of nodes) {
    const siblings = children.get(parentId)
    if (siblings) siblings.push(id)
    else children.set(parentId, [id])
  }
  return children
}

/** From the root to `headId`. A head that is not there: the newest path. */
export function pathTo<N extends TreeNode>(nodes: ReadonlyMap<string, N>, headId: string | null, children: Children): N[] {
  const head = headId !== null && nodes.has(headId) ? headId : newestLeaf(children, null)
  const path: N[] = []
  const seen = new Set<string>()
  for (let at = head; at !== null && !seen.has(at); ) {
    const node = nodes.get(at)
    if (!node) break
    seen.add(at)
    path.push(node)
    at = node.parentId
  }
  return path.reverse()
}

/** Down from a node along the newest children. */
export function newestLeaf(children: Children, from: string | null): string | null {
  let at = from
  const seen = new Set<string | null>()
  for (;;) {
    const newest = children.get(at)?.at(-1)
    if (newest === undefined || seen.has(newest)) return at
    seen.add(newest)
    at = newest
  }
}

/** The versions of a message: the siblings of its role, itself among them. */
export function versionsOf(nodes: ReadonlyMap<string, TreeNode>, children: Children, node: TreeNode): readonly string[] {
  return (children.get(node.parentId) ?? [node.id]).filter((id) => nodes.get(id)?.role === node.role)
}

/** A message after an event of its answer. Never changes what it is given. */
export function fold(view: MessageView, event: AnswerEvent): MessageView {
  switch (event.type) {
    case 'text':
      return { ...view, text: view.text + event.text }
    case 'reasoning':
      return { ...view, reasoning: view.reasoning + event.text }
    case 'tool_call':
      return { ...view, tool_calls: foldToolCall(view.tool_calls, event) }
    case 'done':
      return event.message
    case 'failed':
      return withError(event.message, event.error)
    default: // waiting, or what a newer server tells
      return view
  }
}

function foldToolCall(calls: readonly ToolCallView[], event: Extract<AnswerEvent, { type: 'tool_call' }>): ToolCallView[] {
  const folded = [...calls]
  const call = folded[event.index] ?? { id: '', name: '', arguments: '', result: null }
  folded[event.index] = {
    id: event.id ?? call.id,
    name: event.name ?? call.name,
    arguments: call.arguments + (event.arguments ?? ''),
    result: event.result ?? call.result,
  }
  return folded
}

/** The reason of a failure is shown with the message, wherever the server wrote it. */
function withError(view: MessageView, { message, code = null }: { message: string; code?: string | null }): MessageView {
  const { generation } = view
  if (!generation || generation.error !== null) return view
  return { ...view, generation: { ...generation, error: message, error_code: code } }
}
