/**
 * Short notes at the edge of the page, shown by <Toast />.
 *
 *     toast(t('copied'))
 *     toast(t('chat.deleted'), { action: { label: t('undo'), run: undo } })
 */

export interface ToastNote {
  id: number
  text: string
  kind: 'info' | 'good' | 'bad'
  action?: { label: string; run: () => void } | undefined
}

export interface ToastOptions {
  kind?: ToastNote['kind']
  action?: ToastNote['action']
  /** How long it stays; what a person may act on stays longer. */
  duration_ms?: number
}

const MOST = 3

class Toasts {
  notes = $state<ToastNote[]>([])
  #next = 1

  show(text: string, { kind = 'info', action, duration_ms }: ToastOptions = {}): void {
    const id = this.#next++
    const same = (note: ToastNote): boolean => note.text === text
    this.notes = [...this.notes.filter((note) => !same(note)), { id, text, kind, action }].slice(-MOST)
    setTimeout(() => this.dismiss(id), duration_ms ?? (action || kind === 'bad' ? 8000 : 3500))
  }

  dismiss(id: number): void {
    this.notes = this.notes.filter((note) => note.id !== id)
  }
}

export const toasts = new Toasts()

export function toast(text: string, options?: ToastOptions): void {
  toasts.show(text, options)
}
