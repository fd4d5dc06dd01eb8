/** Messages for tests: message({ id: 'a1', parent_id: 'u1', role: 'assistant', text: 'hello' }) */
import type { MessageView } from '../api/types'

export function message(fields: Partial<MessageView> & Pick<MessageView, 'id'>): MessageView {
  return {
    conversation_id: 'c1',
    parent_id: null,
    role: 'user',
    text: '',
    reasoning: '',
    tool_calls: [],
    status: 'done',
    created_at: 0,
    edited_from: null,
    attachments: [],
    feedback: null,
    generation: null,
    seq: null,
    ...fields,
  }
}
