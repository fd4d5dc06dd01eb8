/** What was written and not sent, for each conversation and each account, kept for as long as the tab lives. */
import { prefs } from '../settings/prefs.svelte'

const key = (conversationId: string | null): string => `liaoliao.draft.${prefs.account}.${conversationId ?? 'new'}`

export function readDraft(conversationId: string | null): string {
  try {
    return sessionStorage.getItem(key(conversationId)) ?? ''
  } catch {
    return ''
  }
}

export function keepDraft(conversationId: string | null, text: string): void {
  try {
    if (text) sessionStorage.setItem(key(conversationId), text)
    else sessionStorage.removeItem(key(conversationId))
  } catch {
    // no storage, or it is full: the draft lives in the box alone
  }
}

/** Pairs of answers that wait for a vote: question -> [answer, answer]. */
const COMPARES = 'liaoliao.compare'

export function readCompares(): Record<string, readonly string[]> {
  try {
    return JSON.parse(sessionStorage.getItem(COMPARES) ?? '{}') as Record<string, readonly string[]>
  } catch {
    return {}
  }
}

export function keepCompares(compares: Record<string, readonly string[]>): void {
  try {
    sessionStorage.setItem(COMPARES, JSON.stringify(compares))
  } catch {
    // as above: after a reload they are ordinary versions with arrows
  }
}
