import { describe, expect, it } from 'vitest'
import type { AnswerEvent } from '../api/types'
import { message } from '../testing/messages'
import { childrenOf, fold, newestLeaf, pathTo, versionsOf, type TreeNode } from './tree'

/** "u1 a1<u1 a2<u1": each after its parent. */
function tree(text: string): Map<string, TreeNode> {
  const nodes = text.split(' ').map((entry): TreeNode => {
    const [id, parent] = entry.split('<')
    return { id: id!, parentId: parent ?? null, role: id!.startsWith('u') ? 'user' : 'assistant' }
  })
  return new Map(nodes.map((node) => [node.id, node]))
}

describe('the tree', () => {
  const nodes = tree('u1 a1<u1 a2<u1 u2<a2 a3<u2 u3<a2 a4<u3')
  const children = childrenOf(nodes.values())
  const ids = (path: TreeNode[]): string => path.map(({ id }) => id).join(' ')

  it('shows the path down to its head', () => {
    expect(ids(pathTo(nodes, 'a3', children))).toBe('u1 a2 u2 a3')
    expect(ids(pathTo(nodes, 'a1', children))).toBe('u1 a1')
  })

  it('shows the newest path where the head is not known', () => {
    expect(ids(pathTo(nodes, null, children))).toBe('u1 a2 u3 a4')
    expect(ids(pathTo(nodes, 'gone', children))).toBe('u1 a2 u3 a4')
    expect(pathTo(new Map(), null, childrenOf([]))).toEqual([])
  })

  it('goes down to the newest answer', () => {
    expect(newestLeaf(children, 'u2')).toBe('a3')
    expect(newestLeaf(children, 'a2')).toBe('a4')
  })

  it('knows the versions of a message, oldest first', () => {
    expect(versionsOf(nodes, children, nodes.get('a1')!)).toEqual(['a1', 'a2'])
    expect(versionsOf(nodes, children, nodes.get('u3')!)).toEqual(['u2', 'u3'])
    expect(versionsOf(nodes, children, nodes.get('u1')!)).toEqual(['u1'])
  })

  it('ends on a tree that bites its tail', () => {
    const looped = tree('u1<a1 a1<u1')
    expect(pathTo(looped, 'a1', childrenOf(looped.values())).length).toBe(2)
    expect(looped.has(newestLeaf(childrenOf(looped.values()), 'u1')!)).toBe(true)
  })
})

describe('fold', () => {
  const empty = message({ id: 'a', role: 'assistant', status: 'running' })

  it('puts the pieces together, each in its place', () => {
    const events: AnswerEvent[] = [
      { type: 'waiting', num_waiting: 2 },
      { type: 'reasoning', text: 'Let me ' },
      { type: 'reasoning', text: 'see.' },
      { type: 'tool_call', index: 0, id: 't1', name: 'calculator', arguments: '' },
      { type: 'tool_call', index: 0, arguments: '{"expression":' },
      { type: 'tool_call', index: 0, arguments: '"2+3"}' },
      { type: 'tool_call', index: 1, id: 't2', name: 'lookup', arguments: '{}', result: null },
      { type: 'tool_call', index: 0, id: 't1', name: 'calculator', arguments: '', result: '5' },
      { type: 'text', text: '5' },
      { type: 'text', text: '。' },
    ]
    const view = events.reduce(fold, empty)
    expect(view).toMatchObject({ text: '5。', reasoning: 'Let me see.', status: 'running' })
    expect(view.tool_calls).toEqual([
      { id: 't1', name: 'calculator', arguments: '{"expression":"2+3"}', result: '5' },
      { id: 't2', name: 'lookup', arguments: '{}', result: null },
    ])
  })

  it('changes nothing that it was given', () => {
    const before = Object.freeze({ ...empty, tool_calls: Object.freeze([]) as never })
    expect(fold(before, { type: 'tool_call', index: 0, name: 'x' })).not.toBe(before)
    expect(before.tool_calls).toEqual([])
  })

  it('leaves a message as it is where it does not know the event', () => {
    for (const frame of [{ type: 'of a newer server', text: 'x' }, { error: { message: 'no' } }]) {
      expect(fold(empty, frame as never)).toBe(empty)
    }
  })

  it('takes the server’s word at the end, and why it failed', () => {
    const over = message({ id: 'a', role: 'assistant', text: 'whole', status: 'done' })
    expect(fold({ ...empty, text: 'wh' }, { type: 'done', message: over })).toBe(over)
    const generation = { error: null, error_code: null } as never
    const error = { message: 'no room', code: 'not_saved' }
    const failed = fold(empty, { type: 'failed', message: { ...over, status: 'failed', generation }, error })
    expect(failed).toMatchObject({ status: 'failed', generation: { error: 'no room', error_code: 'not_saved' } })
    const known = { ...failed, generation: { error: 'full', error_code: null } as never }
    expect(fold(empty, { type: 'failed', message: known, error }).generation).toEqual({ error: 'full', error_code: null })
  })
})
