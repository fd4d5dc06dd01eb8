/** Text files on their way into the next message: checked here, sent at once, shown as chips. */
import { ApiError, upload } from '../api/client'
import type { AttachmentView } from '../api/types'
import { wordsOf } from '../i18n/errors'
import { formatBytes, t } from '../i18n/index.svelte'
import { toast } from '../ui/toast.svelte'

/** As the server has it. */
export const MAX_BYTES = 1024 * 1024

export interface Waiting {
  key: number
  name: string
  /** Here once the server has it. */
  view: AttachmentView | null
}

export class Attachments {
  files = $state.raw<readonly Waiting[]>([])
  #next = 1

  get ready(): AttachmentView[] {
    return this.files.flatMap(({ view }) => (view ? [view] : []))
  }

  get busy(): boolean {
    return this.files.some(({ view }) => !view)
  }

  async add(files: Iterable<File>): Promise<void> {
    await Promise.all([...files].map((file) => this.#add(file)))
  }

  remove(key: number): void {
    this.files = this.files.filter((file) => file.key !== key)
  }

  clear(): void {
    this.files = []
  }

  async #add(file: File): Promise<void> {
    const wrong = await refusal(file)
    if (wrong) return toast(wrong, { kind: 'bad' })
    const key = this.#next++
    this.files = [...this.files, { key, name: file.name, view: null }]
    try {
      const view = await upload<AttachmentView>('/api/attachments', file)
      this.files = this.files.map((one) => (one.key === key ? { ...one, view } : one))
    } catch (error) {
      this.remove(key)
      if (!(error instanceof ApiError)) throw error
      toast(t('composer.attachment.failed', { name: file.name, message: wordsOf(error) }), { kind: 'bad' })
    }
  }
}

/** Why a file cannot be attached, or null. The server looks again. */
export async function refusal(file: File): Promise<string | null> {
  if (file.size > MAX_BYTES) return t('composer.attachment.too_large', { name: file.name, limit: formatBytes(MAX_BYTES) })
  try {
    const bytes = new Uint8Array(await file.arrayBuffer())
    const text = new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes)
    return text.includes('\0') ? t('composer.attachment.not_text', { name: file.name }) : null
  } catch {
    return t('composer.attachment.not_text', { name: file.name })
  }
}

/** UTF-8, or UTF-16 that says so. */
function encodingOf([first, second]: Uint8Array): string {
  if (first === 0xff && second === 0xfe) return 'utf-16le'
  return first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8'
}
