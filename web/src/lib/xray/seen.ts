/**
 * Waiting until something comes into view.
 *
 *     const unwatch = whenSeen(element, () => load())    // calls once; at once where nothing can be watched
 */
export function whenSeen(element: Element, then: () => void): () => void {
  if (typeof IntersectionObserver === 'undefined') {
    then()
    return () => undefined
  }
  const watch = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return
      watch.disconnect()
      then()
    },
    { rootMargin: '300px' },
  )
  watch.observe(element)
  return () => watch.disconnect()
}
