/** The models that can be talked to. */
import { ApiError, get } from '../api/client'
import type { ModelList, ModelView } from '../api/types'
import { t } from '../i18n/index.svelte'
import { prefs } from '../settings/prefs.svelte'

export class Models {
  all = $state.raw<readonly ModelView[]>([])
  current = $state<string | null>(null)

  async refresh(): Promise<void> {
    try {
      const { models, current } = await get<ModelList>('/api/models')
      this.all = models
      this.current = current
    } catch (error) {
      if (!(error instanceof ApiError)) throw error // the connection's banner tells of it
    }
  }

  /** The model for a new chat: the one chosen last, while it is served; null: the current one, whichever that is then. */
  get usual(): string | null {
    const isGone = this.all.length > 0 && !this.find(prefs.model)
    return isGone ? null : prefs.model
  }

  /** Remember a choice for new chats. */
  prefer(id: string): void {
    prefs.model = id === this.current ? null : id
  }

  find(id: string | null): ModelView | undefined {
    return this.all.find((model) => model.id === (id ?? this.current))
  }

  /** What people call it: a run by its own name, unless another model has that. */
  nameOf(id: string): string {
    const name = id.replace(/^run:/, '')
    return isRun(id) && this.find(name) ? t('model.of_run', { name }) : name
  }
}

/** Runs that are being trained are models by the name of "run:NAME". */
export const isRun = (id: string): boolean => id.startsWith('run:')
