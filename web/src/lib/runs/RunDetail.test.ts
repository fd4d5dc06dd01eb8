import { render, screen, waitFor, within, fireEvent } from '@testing-library/svelte'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { tick } from 'svelte'
import { setLang } from '../i18n/index.svelte'
import RunsPage from './RunsPage.svelte'

class Events {
  static open: Events[] = []
  onmessage?: (event: { data: string }) => void
  onopen?: () => void
  closed = false
  constructor(readonly url: string) {
    Events.open.push(this)
  }
  close(): void {
    this.closed = true
  }
  async tell(event: unknown): Promise<void> {
    this.onmessage?.({ data: JSON.stringify(event) })
    await tick()
  }
}

const run = {
  name: 'town 1', kind: 'speedrun', state: 'running', error: null, folder: '/r', started_at: 1, updated_at: 2, finished_at: null,
  stage: 'pretrain', step: 10, num_steps: 40, metrics: { step: 10, tokens: 1000, elapsed_s: 30, loss: 5 }, evaluation: null,
  model_id: 'run:town 1', version: 'pretrain/10',
}
const ancestor = {
  folder: '/r/model', run: 'town 1', recipe: 'sft', stage: 'sft', step: 9, config: { seed: 1 }, data: { 'talks:en': 'ab' },
  sha256: '0123456789abcdef', tools: ['calculator'], evals: [], status: 'ok',
}
const details = {
  ...run, config: {}, stages: [], report: '# speedrun\n\n![loss](loss.png)\n\nIt took 9 minutes.',
  evals: [{ file: 'eval.json', tasks: [{ name: 'town:facts:en', metric: 'accuracy', value: 0.5, stderr: 0.1, n: 60 }] }],
  lineage: { models: [ancestor, { ...ancestor, run: 'base', recipe: 'pretrain', config: { seed: 0 }, status: 'missing' }] },
}
const line = (step: number, loss: number) => ({ stage: 'pretrain', step, tokens: step * 100, loss })
const sample = (step: number, reply: string) => ({
  stage: 'pretrain', step, tokens: step * 100, time: 0, kind: 'chat', lang: 'en', prompt: 'Who are you?', reply, finished: true,
})

const answers: Record<string, unknown> = {
  '/api/runs': { runs: [run] },
  '/api/models': { models: [], current: null },
  '/api/runs/town%201': details,
  '/api/runs/town%201/metrics': { lines: [line(5, 6), line(10, 5)], cursor: 'c1', reset: false },
  '/api/runs/town%201/samples': { samples: [sample(5, 'aaa'), sample(10, 'I am')], cursor: 's1' },
}

beforeEach(() => {
  setLang('en')
  Events.open = []
  vi.stubGlobal('EventSource', Events)
  vi.stubGlobal('ResizeObserver', class { observe() {} unobserve() {} disconnect() {} })
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(600)
  vi.stubGlobal('fetch', async (path: string) => new Response(JSON.stringify(answers[path] ?? {})))
})

describe('the list', () => {
  test('leads to each run', async () => {
    render(RunsPage)
    const link = await screen.findByRole('link', { name: 'town 1' })
    expect(link.getAttribute('href')).toBe('/runs/town%201')
    expect(screen.getByText('running')).toBeTruthy()
  })
})

describe('one run', () => {
  test('follows the run from where the first answers ended, and folds in what comes', async () => {
    render(RunsPage, { name: 'town 1' })
    await waitFor(() => expect(Events.open).toHaveLength(1))
    const [events] = Events.open as [Events]
    expect(events.url).toBe('/api/runs/town%201/events?after=c1~s1')
    const loss = await screen.findByRole('application', { name: /Training loss/ })
    const words = () => document.getElementById(loss.getAttribute('aria-describedby') ?? '')?.textContent
    expect(words()).toContain('pretrain: from 6 to 5.')
    await events.tell({ type: 'metrics', lines: [line(15, 1)], reset: false })
    expect(words()).toContain('pretrain: from 6 to 1.')
    await events.tell({ type: 'run', run: { ...run, step: 15 } })
    expect(screen.getByText(/^15/)).toBeTruthy()
    await events.tell({ type: 'end' })
    expect(events.closed).toBe(true)
  })

  test('the slider stays at the newest sample until it is moved', async () => {
    render(RunsPage, { name: 'town 1' })
    const slider = (await screen.findByRole('slider', { name: 'Checkpoint' })) as HTMLInputElement
    expect(screen.getByText('I am')).toBeTruthy()
    await Events.open[0]!.tell({ type: 'samples', samples: [sample(15, 'I am Mia.')] })
    expect(screen.getByText('I am Mia.')).toBeTruthy()
    await fireEvent.input(slider, { target: { value: '0' } })
    expect(screen.getByText('aaa')).toBeTruthy()
    expect(slider.getAttribute('aria-valuetext')).toBe('pretrain, step 5, 500 tokens seen')
    await Events.open[0]!.tell({ type: 'samples', samples: [sample(20, 'I am Bo.')] })
    expect(screen.getByText('aaa')).toBeTruthy()
  })

  test('talk, scores, and lineage from the oldest model to this one', async () => {
    render(RunsPage, { name: 'town 1' })
    const talk = await screen.findByRole('link', { name: 'Talk to this run' })
    expect(talk.getAttribute('href')).toBe('/?model=run%3Atown%201')
    expect(within(screen.getByRole('row', { name: /town:facts:en/ })).getByText(/50\.0 ± 10\.0 %/)).toBeTruthy()
    const recipes = screen.getAllByRole('group', { name: 'Recipe' }).map((one) => one.textContent)
    expect(recipes.map((text) => /pretrain|sft/.exec(text ?? '')?.[0])).toEqual(['pretrain', 'sft'])
    expect(recipes[1]).toContain('changed: seed')
    expect(screen.getByText('the folder is gone')).toBeTruthy()
    expect(screen.getByText('It took 9 minutes.')).toBeTruthy()
    expect(screen.queryByText(/loss\.png/)).toBeNull()
  })
})
