/**
 * The rest of the wire: X-ray, runs, feedback, personas, account, keys, import and export.
 *
 *     const look = await getLook(messageId, 'reply', 7)      // -> {alternatives, entropy_bits, lens, attention}
 */
import { del, get, patch, post, postOnce, put, upload } from './client'
import type {
  AccountView,
  ConversationSettings,
  ConversationView,
  FeedbackView,
  MeView,
  MessageView,
  PersonaView,
} from './types'

const part = encodeURIComponent

// ---- X-ray ----

export interface PromptToken {
  id: number
  text: string
  special: boolean
}

export interface XrayToken {
  id: number
  text: string
  /** Among all tokens, as the model itself weighs them: before temperature and penalties. */
  prob: number
  /** 1: it was the likeliest. */
  rank: number
  entropy_bits: number
  /** Where its words begin in the answer's text, in code points; null for what is not shown there. Pieces of one character
   *  share their start: the last brings it. */
  start: number | null
  kind: 'text' | 'reasoning' | 'tool' | 'special'
  /** What the server put in before it: results of the model's own tools. */
  given: PromptToken[]
}

export interface XrayListing {
  prompt: PromptToken[]
  tokens: XrayToken[]
  model: string
  version: string
  /** The precision in which these figures were computed. */
  dtype: string
  /** Sampled like this; else edited or imported words, laid out by the template and scored. */
  generated: boolean
  /** The last token is the one that ended the answer. */
  end: boolean
  took_ms: number
}

export interface Alternative {
  id: number
  text: string
  prob: number
}

export interface PackedAttention {
  layers: number
  heads: number
  tokens: number
  /** base64 of layers x heads x tokens bytes. */
  values: string
  /** What the byte 255 stands for, one a row (layer, head). */
  max: number[]
  /** The texts of the tokens that were looked at. */
  context: string[]
}

export interface LensLayer {
  /** 0: the embedding alone. */
  layer: number
  top: Alternative[]
}

export interface Look {
  id: number
  text: string
  prob: number
  rank: number
  entropy_bits: number
  alternatives: Alternative[]
  lens: LensLayer[]
  attention: PackedAttention
  took_ms: number
}

/** Where a token stands: in the answer, or in the prompt that the model was given. */
export type Place = 'reply' | 'prompt'

export const getXray = (messageId: string): Promise<XrayListing> => get(`/api/messages/${part(messageId)}/xray`)

export function getLook(messageId: string, place: Place, index: number, signal?: AbortSignal): Promise<Look> {
  return get(`/api/messages/${part(messageId)}/xray/${index}${place === 'prompt' ? '?at=prompt' : ''}`, signal)
}

// ---- feedback ----

export function putFeedback(messageId: string, feedback: FeedbackView): Promise<unknown> {
  return put(`/api/messages/${part(messageId)}/feedback`, feedback)
}

/** "Write a better answer": a sibling of the message with these words. */
export async function writeBetter(messageId: string, text: string): Promise<MessageView> {
  return (await postOnce<{ message: MessageView }>(`/api/messages/${part(messageId)}/edit`, { text })).message
}

export function vote(parentId: string, chosenId: string, rejectedId: string | null): Promise<unknown> {
  return post('/api/votes', { parent_id: parentId, chosen_id: chosenId, rejected_id: rejectedId })
}

// ---- personas ----

export type PersonaFields = Pick<PersonaView, 'name' | 'description' | 'system_prompt' | 'greeting' | 'example'>

export async function listPersonas(): Promise<PersonaView[]> {
  return (await get<{ personas: PersonaView[] }>('/api/personas')).personas
}

export const addPersona = (fields: PersonaFields): Promise<PersonaView> => post('/api/personas', fields)
export const changePersona = (id: string, fields: Partial<PersonaFields>): Promise<PersonaView> =>
  patch(`/api/personas/${part(id)}`, fields)
export const deletePersona = (id: string): Promise<void> => del(`/api/personas/${part(id)}`)
/** A Character Card V2 as JSON or PNG; `unused` names the parts that are kept and have no effect here. */
export const importPersona = (file: File): Promise<{ persona: PersonaView; unused: string[] }> =>
  upload('/api/personas/import', file)
export const avatarUrl = (id: string): string => `/api/personas/${part(id)}/avatar`

// ---- account, keys, accounts ----

export const getMe = (): Promise<MeView> => get('/api/me')
export const logIn = (name: string, password: string): Promise<unknown> => post('/api/login', { name, password })
export const logOut = (): Promise<unknown> => post('/api/logout')
export const setUp = (name: string, password: string, code?: string): Promise<unknown> =>
  post('/api/setup', code ? { name, password, code } : { name, password })
export const changePassword = (old: string, fresh: string): Promise<unknown> =>
  post('/api/password', { old, new: fresh })
/** Delete the account that asks and all it owns; single-user mode has no password. */
export const deleteMe = (password?: string): Promise<unknown> => del('/api/me', password === undefined ? {} : { password })

export interface KeyView {
  id: string
  name: string
  prefix: string
  created_at: number
  last_used_at: number | null
}

export async function listKeys(): Promise<KeyView[]> {
  return (await get<{ keys: KeyView[] }>('/api/keys')).keys
}
/** The key itself is told this once only. */
export const addKey = (name: string): Promise<KeyView & { key: string }> => post('/api/keys', { name })
export const revokeKey = (id: string): Promise<unknown> => del(`/api/keys/${part(id)}`)

export async function listAccounts(): Promise<AccountView[]> {
  return (await get<{ accounts: AccountView[] }>('/api/accounts')).accounts
}
export const addAccount = (name: string, password: string, role: AccountView['role']): Promise<AccountView> =>
  post('/api/accounts', { name, password, role })
/** One change at a time. */
export const changeAccount = (
  id: string,
  change: { role: AccountView['role'] } | { disabled: boolean } | { password: string },
): Promise<AccountView> => patch(`/api/accounts/${part(id)}`, change)
export const deleteAccount = (id: string): Promise<unknown> => del(`/api/accounts/${part(id)}`)

// ---- conversations: settings, import, export ----

export function saveSettings(conversationId: string, settings: ConversationSettings): Promise<ConversationView> {
  return patch(`/api/conversations/${part(conversationId)}`, { settings })
}

export interface ImportReport {
  num_conversations: number
  num_messages: number
  skipped: string[]
}

export const exportUrl = '/api/export'
/** Conversations as JSON: our own export, or a list in the form of ChatGPT's conversations.json. */
export const importConversations = (data: unknown): Promise<ImportReport> => post('/api/import', data)

// ---- runs ----

export type RunState = 'running' | 'finished' | 'interrupted' | 'failed'

export interface RunView {
  name: string
  kind: string
  state: RunState
  error: string | null
  folder: string
  started_at: number | null
  updated_at: number | null
  finished_at: number | null
  stage: string | null
  step: number | null
  num_steps: number | null
  metrics: Record<string, number> | null
  evaluation: Record<string, number> | null
  /** "run:NAME" to talk to it; null while it has no checkpoint. */
  model_id: string | null
  version: string | null
}

export interface TaskScore {
  name: string
  metric: string
  value: number
  stderr: number | null
  n: number | null
}

export interface EvalView {
  file: string
  tasks: TaskScore[]
}

export interface Ancestor {
  folder: string | null
  run: string | null
  recipe: string | null
  stage: string | null
  step: number | null
  config: Record<string, unknown> | null
  data: Record<string, string>
  sha256: string | null
  tools: string[]
  evals: EvalView[]
  status: 'ok' | 'missing' | 'changed' | 'unverified'
}

export interface Lineage {
  models: Ancestor[]
}

export interface StageView {
  name: string
  step: number
  num_steps: number | null
  tokens: number
  checkpoints: string[]
}

export interface RunDetail extends RunView {
  config: Record<string, unknown>
  stages: StageView[]
  evals: EvalView[]
  lineage: Lineage | null
  report: string | null
}

export interface Sample {
  stage: string
  step: number
  tokens: number
  time: number
  kind: 'chat' | 'text'
  lang: string
  prompt: string
  reply: string
  finished: boolean
}

export interface MetricsPage {
  lines: unknown[]
  cursor: string
  reset: boolean
}

export type RunEvent =
  | { type: 'metrics'; lines: unknown[]; reset: boolean }
  | { type: 'samples'; samples: Sample[]; reset?: boolean }
  | { type: 'run'; run: RunView }
  | { type: 'end' }

const run = (name: string): string => `/api/runs/${part(name)}`

export async function listRuns(): Promise<RunView[]> {
  return (await get<{ runs: RunView[] }>('/api/runs')).runs
}
export const getRun = (name: string): Promise<RunDetail> => get(run(name))
export const getMetrics = (name: string): Promise<MetricsPage> => get(`${run(name)}/metrics`)
export interface SamplesPage {
  samples: Sample[]
  cursor: string
}

export const getSamples = (name: string): Promise<SamplesPage> => get(`${run(name)}/samples`)
/** What is written after these two cursors. */
export const runEventsUrl = (name: string, metrics: string, samples: string): string =>
  `${run(name)}/events?after=${part(`${metrics}~${samples}`)}`
export const getLineage = (modelId: string): Promise<Lineage> => get(`/api/models/${part(modelId)}/lineage`)
