/**
 * Wait before trying again, but not when the browser says that the network is back, nor after an abort.
 *
 *     await pause(250, life.signal)
 */
export function pause(delay_ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      clearTimeout(timer)
      removeEventListener('online', go)
      signal?.removeEventListener('abort', go)
      resolve()
    }
    const timer = setTimeout(go, delay_ms)
    addEventListener('online', go)
    signal?.addEventListener('abort', go)
  })
}
