import { beforeEach, describe, expect, it } from 'vitest'
import { followRoute, go, parse, route } from './route.svelte'

describe('parse', () => {
  it('knows the places of the page', () => {
    expect(parse('/c/01AB')).toMatchObject({ page: 'chat', id: '01AB' })
    expect(parse('/runs/town%2030')).toMatchObject({ page: 'runs', name: 'town 30' })
    expect(parse('/settings').page).toBe('settings')
    expect(parse('/setup').page).toBe('login')
    expect(parse('/', '?model=run:a').query.get('model')).toBe('run:a')
  })
  it('takes anything else for a new chat', () => {
    expect(parse('/nonsense')).toMatchObject({ page: 'chat' })
    expect(parse('/c/')).not.toHaveProperty('id')
    expect(parse('/runs/%E4%A')).toMatchObject({ page: 'runs', name: '%E4%A' })
  })
})

describe('moving', () => {
  beforeEach(() => go('/', { replace: true }))

  it('goes and tells', () => {
    go('/c/1')
    expect([location.pathname, route.id]).toEqual(['/c/1', '1'])
  })

  it('takes plain clicks on its own links, and leaves the others to the browser', () => {
    const end = followRoute()
    const click = (html: string, init: MouseEventInit = {}): boolean => {
      document.body.innerHTML = html
      const event = new MouseEvent('click', { bubbles: true, cancelable: true, ...init })
      const stay = (other: Event): void => other.preventDefault() // jsdom cannot leave the page
      addEventListener('click', stay)
      let taken = false
      document.addEventListener('click', (seen) => (taken = seen.defaultPrevented), { once: true })
      document.querySelector('a')!.dispatchEvent(event)
      removeEventListener('click', stay)
      return taken
    }
    expect(click('<a href="/c/2"><b>x</b></a>')).toBe(true)
    expect(route.id).toBe('2')
    expect(click('<a href="/c/3">x</a>', { ctrlKey: true })).toBe(false)
    expect(click('<a href="https://example.org/">x</a>')).toBe(false)
    expect(click('<a href="/api/export" download>x</a>')).toBe(false)
    expect(click('<a href="/api/export">x</a>')).toBe(false)
    expect(click('<a href="/c/4" target="_blank">x</a>')).toBe(false)
    expect(route.id).toBe('2')
    end()
  })
})
