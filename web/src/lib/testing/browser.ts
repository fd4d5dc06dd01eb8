/** What a browser has and the tests' has not, for whole pages: call `vi.unstubAllGlobals()` afterwards. */
import { vi } from 'vitest'

/** No other tab, no preference for dark, and nothing that ever changes its size. */
export function stubBrowser(): void {
  localStorage.clear()
  sessionStorage.clear()
  vi.stubGlobal('BroadcastChannel', undefined)
  vi.stubGlobal('matchMedia', () => ({ matches: false }))
  vi.stubGlobal('ResizeObserver', class { observe() {} disconnect() {} })  // prettier-ignore
}
