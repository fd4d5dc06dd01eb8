/**
 * What went wrong, in the reader's language: by the code of the error, or in the server's own words where there is none.
 *
 *     wordsOf(error)  ->  "The name or the password is wrong." / "名字或密码不对。"
 */
import { ApiError } from '../api/client'
import { t, type Key } from './index.svelte'

/** The codes of the routes that the page asks; several that mean that the two do not fit together have one sentence. */
const WORDS: ReadonlyMap<string | null, Key> = new Map<string | null, Key>([
  ['unreachable', 'error.unreachable'],
  ['wordless', 'failure.wordless'],
  ['admins_only', 'failure.admins_only'],
  ['busy', 'failure.busy'],
  ['cannot_look', 'failure.cannot_look'],
  ['context_length_exceeded', 'failure.context_length_exceeded'],
  ['file_too_large', 'failure.file_too_large'],
  ['host_not_allowed', 'failure.address'],
  ['idempotency_key_reused', 'failure.mismatch'],
  ['invalid_idempotency_key', 'failure.mismatch'],
  ['invalid_value', 'failure.invalid_value'],
  ['method_not_allowed', 'failure.mismatch'],
  ['missing_required_parameter', 'failure.mismatch'],
  ['model_changed', 'failure.model_changed'],
  ['model_not_found', 'failure.model_not_found'],
  ['no_answer', 'failure.no_answer'],
  ['no_change', 'failure.mismatch'],
  ['no_checkpoint', 'failure.no_checkpoint'],
  ['no_such_token', 'failure.no_such_token'],
  ['no_words', 'failure.no_words'],
  ['not_editable', 'failure.not_editable'],
  ['not_found', 'failure.not_found'],
  ['not_generated', 'failure.not_generated'],
  ['not_logged_in', 'failure.not_logged_in'],
  ['not_text', 'failure.not_text'],
  ['nothing_to_answer', 'failure.nothing_to_answer'],
  ['nothing_to_continue', 'failure.nothing_to_continue'],
  ['origin_not_allowed', 'failure.address'],
  ['overloaded', 'failure.overloaded'],
  ['rate_limit_exceeded', 'failure.rate_limit_exceeded'],
  ['request_too_large', 'failure.request_too_large'],
  ['set_up', 'failure.set_up'],
  ['setup_code_needed', 'failure.setup_code_needed'],
  ['single_user', 'failure.single_user'],
  ['too_many_keys', 'failure.too_many_keys'],
  ['unknown_parameter', 'failure.mismatch'],
  ['wrong_password', 'failure.wrong_password'],
])

/** Whatever was thrown, as words for who sits before the page. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error)
  const { message, status, retry_after_s } = error
  const key = WORDS.get(error.code)
  return key ? t(key, { message, status, n: retry_after_s ?? 1 }) : message
}
