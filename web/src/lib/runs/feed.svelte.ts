/**
 * A run as it goes on: its details, its metrics and samples, kept fresh by the server's events.
 *
 *     const feed = new RunFeed('speedrun-1'); await feed.start(); ... feed.stop()
 *
 * The browser's own EventSource comes back after a lost connection, and tells where it was (Last-Event-ID).
 */
import {
  getMetrics,
  getRun,
  getSamples,
  runEventsUrl,
  type RunDetail,
  type RunEvent,
  type Sample,
} from '../api/more'
import { wordsOf } from '../i18n/errors'
import { isMetricsLine, settle, type MetricsLine } from './series'

export class RunFeed {
  readonly name: string
  detail = $state.raw<RunDetail | undefined>()
  lines = $state.raw<MetricsLine[]>([])
  samples = $state.raw<Sample[]>([])
  /** Why there is nothing to show. */
  failure = $state<string | undefined>()
  /** Whether news arrive by themselves at this moment. */
  live = $state(false)
  #events: EventSource | undefined
  #stopped = false

  constructor(name: string) {
    this.name = name
  }

  /** Fetch what there is, then follow what comes. */
  async start(): Promise<void> {
    try {
      const [detail, metrics, samples] = await Promise.all([
        getRun(this.name),
        getMetrics(this.name),
        getSamples(this.name),
      ])
      this.detail = detail
      this.lines = settle(metrics.lines.filter(isMetricsLine))
      this.samples = samples.samples
      if (detail.state === 'running' && !this.#stopped) this.#follow(metrics.cursor, samples.cursor)
    } catch (error) {
      this.failure = wordsOf(error)
    }
  }

  stop(): void {
    this.#stopped = true
    this.#close()
  }

  #close(): void {
    this.#events?.close()
    this.#events = undefined
    this.live = false
  }

  #follow(metrics: string, samples: string): void {
    const events = new EventSource(runEventsUrl(this.name, metrics, samples))
    this.#events = events
    events.onopen = () => (this.live = true)
    events.onerror = () => (this.live = false)
    events.onmessage = (message: MessageEvent<string>) => this.take(JSON.parse(message.data) as RunEvent)
  }

  /** Fold one event in. */
  take(event: RunEvent): void {
    if (event.type === 'metrics') {
      const fresh = event.lines.filter(isMetricsLine)
      this.lines = settle(event.reset ? fresh : [...this.lines, ...fresh])
    } else if (event.type === 'samples') {
      this.samples = event.reset ? event.samples : [...this.samples, ...event.samples]
    } else if (event.type === 'run') {
      if (this.detail) this.detail = { ...this.detail, ...event.run }
    } else if (event.type === 'end') {
      this.#close()
      void this.#refresh()
    }
  }

  /** At the end of a run there are evaluations and a report that the events do not tell. */
  async #refresh(): Promise<void> {
    try {
      this.detail = await getRun(this.name)
    } catch {
      // what is shown already still holds
    }
  }
}
