/**
 * What went wrong, in the reader's language: by the code of the error, or in the server's own words where there is none.
 *
 *     wordsOf(error)  ->  "The name or the password is wrong." / "名字或密码不对。"
 *     reasonOf(generation)  ->  "The server had an error." / "服务器出错了。"
 */
import { ApiError } from '../api/client'
import type { GenerationView } from '../api/types'
import { t, type Key } from './index.svelte'

/** The codes of the routes that the page asks, and of the store below them; several that mean that the two do not fit together
 *  have one sentence. */
const WORDS: ReadonlyMap<string | null, Key> = new Map<string | null, Key>([
  ['unreachable', 'error.unreachable'],
  ['wordless', 'failure.wordless'],
  ['account_name', 'failure.account_name'],
  ['account_name_taken', 'failure.account_name_taken'],
  ['admins_only', 'failure.admins_only'],
  ['broke_off', 'failure.broke_off'],
  ['busy', 'failure.busy'],
  ['cannot_look', 'failure.cannot_look'],
  ['context_length_exceeded', 'failure.context_length_exceeded'],
  ['conversation_deleted', 'failure.conversation_deleted'],
  ['damaged_picture', 'failure.damaged_picture'],
  ['file_too_large', 'failure.file_too_large'],
  ['first_token', 'xray.prompt.first'],
  ['host_not_allowed', 'failure.address'],
  ['idempotency_key_reused', 'failure.mismatch'],
  ['invalid_idempotency_key', 'failure.mismatch'],
  ['invalid_value', 'failure.invalid_value'],
  ['key_name', 'failure.key_name'],
  ['last_admin', 'failure.last_admin'],
  ['method_not_allowed', 'failure.mismatch'],
  ['missing_required_parameter', 'failure.mismatch'],
  ['model_changed', 'failure.model_changed'],
  ['model_not_found', 'failure.model_not_found'],
  ['no_answer', 'failure.no_answer'],
  ['no_card', 'failure.no_card'],
  ['no_change', 'failure.mismatch'],
  ['no_checkpoint', 'failure.no_checkpoint'],
  ['no_export', 'failure.no_export'],
  ['no_json', 'failure.no_json'],
  ['no_such_token', 'failure.no_such_token'],
  ['no_words', 'failure.no_words'],
  ['not_editable', 'failure.not_editable'],
  ['not_found', 'failure.not_found'],
  ['not_generated', 'failure.not_generated'],
  ['not_logged_in', 'failure.not_logged_in'],
  ['not_saved', 'failure.not_saved'],
  ['not_text', 'failure.not_text'],
  ['not_the_password', 'failure.not_the_password'],
  ['not_writable', 'failure.not_writable'],
  ['nothing_to_answer', 'failure.nothing_to_answer'],
  ['nothing_to_continue', 'failure.nothing_to_continue'],
  ['origin_not_allowed', 'failure.address'],
  ['overloaded', 'failure.overloaded'],
  ['own_account', 'failure.own_account'],
  ['password_changed', 'failure.password_changed'],
  ['password_length', 'failure.password_length'],
  ['persona_name', 'failure.persona_name'],
  ['persona_picture', 'failure.persona_picture'],
  ['persona_words', 'failure.persona_words'],
  ['rate_limit_exceeded', 'failure.rate_limit_exceeded'],
  ['reason_unknown', 'message.failed.unknown'],
  ['request_too_large', 'failure.request_too_large'],
  ['set_up', 'failure.set_up'],
  ['setup_code_needed', 'failure.setup_code_needed'],
  ['single_user', 'failure.single_user'],
  ['tokens_unknown', 'failure.tokens_unknown'],
  ['too_many_keys', 'failure.too_many_keys'],
  ['unknown_parameter', 'failure.mismatch'],
  ['unreadable_form', 'failure.mismatch'],
  ['wrong_password', 'failure.wrong_password'],
])

/** Whatever was thrown, as words for who sits before the page. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error)
  const { message, status, retry_after_s } = error
  const key = WORDS.get(error.code)
  return key ? t(key, { message, status, n: retry_after_s ?? 1 }) : message
}

/** Why an answer failed: by the code that the server kept with its words, or in these where it kept none. */
export function reasonOf(made: Pick<GenerationView, 'error' | 'error_code'> | null): string {
  if (!made?.error) return t('message.failed.unknown')
  return wordsOf(new ApiError(made.error, 0, made.error_code))
}
