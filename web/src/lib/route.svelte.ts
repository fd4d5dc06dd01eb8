/**
 * Where we are: the address bar as a reactive value, and moves by the history API.
 *
 *     /c/01J...?x=1  ->  { page: 'chat', id: '01J...' };   go('/runs')
 */

export type Page = 'chat' | 'settings' | 'runs' | 'login'

export interface Place {
  page: Page
  /** Of a conversation; absent for a new one. */
  id?: string
  /** Of a run; absent for the list. */
  name?: string
  query: URLSearchParams
}

/** The place that an address names; what we do not know is a new chat. */
export function parse(pathname: string, search = ''): Place {
  const query = new URLSearchParams(search)
  const [first, second] = pathname.split('/').filter(Boolean).map(decoded)
  switch (first) {
    case 'c':
      return second ? { page: 'chat', id: second, query } : { page: 'chat', query }
    case 'runs':
      return second ? { page: 'runs', name: second, query } : { page: 'runs', query }
    case 'settings':
    case 'login':
      return { page: first, query }
    case 'setup':
      return { page: 'login', query }
  }
  return { page: 'chat', query }
}

class Route {
  #place = $state.raw<Place>(parse(location.pathname, location.search))

  get page(): Page {
    return this.#place.page
  }
  get id(): string | undefined {
    return this.#place.id
  }
  get name(): string | undefined {
    return this.#place.name
  }
  get query(): URLSearchParams {
    return this.#place.query
  }

  /** Read the address bar again. */
  update(): void {
    this.#place = parse(location.pathname, location.search)
  }
}

export const route = new Route()

/** Move to a path of this page. */
export function go(path: string, { replace = false } = {}): void {
  if (path !== location.pathname + location.search) history[replace ? 'replaceState' : 'pushState'](null, '', path)
  route.update()
}

/** Follow the back button and plain links; gives back how to stop. */
export function followRoute(): () => void {
  const onpop = (): void => route.update()
  const onclick = (event: MouseEvent): void => {
    const path = ownPath(event)
    if (path === null) return
    event.preventDefault()
    go(path)
  }
  addEventListener('popstate', onpop)
  document.addEventListener('click', onclick)
  return () => {
    removeEventListener('popstate', onpop)
    document.removeEventListener('click', onclick)
  }
}

/** Addresses the server answers itself: downloads and the API. */
const SERVED = /^\/(api|v1|assets)\//

/** The path of an ordinary click on a link within the page, else null. */
function ownPath(event: MouseEvent): string | null {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null
  const link = (event.target as Element | null)?.closest?.('a')
  if (!link || link.target || link.hasAttribute('download')) return null
  const url = new URL(link.href, location.href)
  return url.origin === location.origin && !SERVED.test(url.pathname) ? url.pathname + url.search : null
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
