/** Do something at the server; where that fails, say so and go on. Whether it went well. */
import { ApiError } from '../api/client'
import { wordsOf } from '../i18n/errors'
import { t, type Key } from '../i18n/index.svelte'
import { toast } from '../ui/toast.svelte'

export async function told(work: () => Promise<unknown>, failed: Key = 'error.generic'): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    toast(t(failed, { message: wordsOf(error) }), { kind: 'bad' })
    return false
  }
}
