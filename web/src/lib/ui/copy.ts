/** Copying to the clipboard, with a note where the browser refuses. */
import { t } from '../i18n/index.svelte'
import { toast } from './toast.svelte'

/** Whether it was copied. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return copyBySelection(text) || (toast(t('copy.failed'), { kind: 'bad' }), false)
  }
}

/** The clipboard API is there on https and localhost only; a selection can be copied everywhere. */
function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'visually-hidden'
  document.body.append(area)
  area.select()
  try {
    return document.execCommand('copy')
  } catch {
    return false
  } finally {
    area.remove()
  }
}
