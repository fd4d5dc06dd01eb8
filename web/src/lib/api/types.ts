/**
 * The wire: what /api gives and takes, name for name as the server writes it (snake_case; times are Unix seconds).
 *
 *     GET /api/conversations/{id} -> ConversationView, with every message of its tree
 */

export type Role = 'system' | 'user' | 'assistant' | 'tool'
export type MessageStatus = 'done' | 'running' | 'stopped' | 'length' | 'interrupted' | 'failed'

export interface ToolCallView {
  id: string
  name: string
  /** A JSON object, as text; not whole while it streams. */
  arguments: string
  /** What the tool gave back; null while it runs, where it never answered, and where a message of its own holds it. */
  result: string | null
}

export interface AttachmentView {
  id: string
  name: string
  size_bytes: number
  media_type?: string
  created_at?: number
}

export interface FeedbackView {
  thumb: -1 | 0 | 1
  reasons: string[]
  comment: string
}

export interface GenerationView {
  id: string
  model: string
  model_version: string
  params: Record<string, unknown>
  prompt_tokens: number
  completion_tokens: number
  cached_tokens: number
  first_token_s: number | null
  total_s: number | null
  finish_reason: string | null
  error: string | null
  /** Of `error`: the short name by which it is told in the reader’s language; null where it has none. */
  error_code: string | null
  /** How many of the oldest messages did not fit the model's context and were not shown to it. */
  left_out: number
}

export interface MessageView {
  id: string
  conversation_id: string
  parent_id: string | null
  role: Role
  text: string
  reasoning: string
  tool_calls: ToolCallView[]
  status: MessageStatus
  created_at: number
  edited_from: string | null
  attachments: AttachmentView[]
  feedback: FeedbackView | null
  generation: GenerationView | null
  /** Of a running one: its text holds all events up to this number. */
  seq: number | null
}

/** How to sample, and what the model is told first. What is absent comes from the model. */
export interface ConversationSettings {
  system?: string
  temperature?: number
  top_p?: number
  top_k?: number
  min_p?: number
  repetition_penalty?: number
  presence_penalty?: number
  frequency_penalty?: number
  max_tokens?: number
  seed?: number
  stop?: string[]
  thinking?: boolean
}

export interface ConversationFields {
  id: string
  title: string
  pinned: boolean
  created_at: number
  updated_at: number
  model: string | null
  persona_id: string | null
  settings: ConversationSettings
  head_id: string | null
}

export interface ConversationView extends ConversationFields {
  messages: MessageView[]
}

export interface ConversationSummary {
  id: string
  title: string
  pinned: boolean
  updated_at: number
  model: string | null
  snippet: string | null
}

export interface ModelView {
  id: string
  max_length: number | null
  version: string
  parameters: number | null
  defaults: ConversationSettings
  /** A cold one is loaded when it is first asked. */
  state: 'ready' | 'cold'
}

export interface ModelList {
  models: ModelView[]
  current: string | null
}

export interface PersonaView {
  id: string
  name: string
  description: string
  system_prompt: string
  greeting: string
  example: string
  has_avatar: boolean
  created_at: number
}

export interface AccountView {
  id: string
  name: string
  role: 'admin' | 'member'
  created_at?: number
  disabled?: boolean
}

export interface MeView {
  account: AccountView | null
  mode: 'single' | 'multi'
  needs_setup: boolean
  version: string
}

/** Answer of POST messages and of an edited question. */
export interface Asked {
  user: MessageView
  answers: MessageView[]
  /** Of the conversation, which is named after its first words. */
  title: string
}

/** Answer of regenerate, continue and branch. */
export interface Answers {
  answers: MessageView[]
}

/** Events of GET /api/messages/{id}/events. Text, reasoning and arguments are appended; done and failed hold all of it; after
 *  an error the line is at its end, and the answer goes on. */
export type AnswerEvent =
  | { type: 'text'; text: string }
  | { type: 'reasoning'; text: string }
  | { type: 'tool_call'; index: number; id?: string | null; name?: string | null; arguments?: string; result?: string | null }
  | { type: 'waiting'; num_waiting: number }
  | { type: 'done'; message: MessageView }
  | { type: 'failed'; message: MessageView; error: { message: string; code?: string | null } }
  | { type: 'error'; error: { message: string } }
