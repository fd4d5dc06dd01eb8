/**
 * The few rules for a new password, checked before the server is asked (it has the last word).
 *
 *     weakness("mila", "mila") -> "login.short"
 */
export const MIN_LENGTH = 8

export type Weakness = 'login.short' | 'login.sameAsName'

/** The key of what is wrong with a password, or null. Length is counted in characters as people count them. */
export function weakness(password: string, name: string): Weakness | null {
  if ([...password].length < MIN_LENGTH) return 'login.short'
  if (password.trim().toLowerCase() === name.trim().toLowerCase()) return 'login.sameAsName'
  return null
}
