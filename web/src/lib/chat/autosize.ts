/** A text box as high as its text: <textarea {@attach autosize}>. The largest height is the style's. */
export function autosize(box: HTMLTextAreaElement): () => void {
  const fit = (): void => {
    box.style.setProperty('height', 'auto')
    const borders = box.offsetHeight - box.clientHeight
    box.style.setProperty('height', `${box.scrollHeight + borders}px`)
  }
  // a text set by code fires no event; a changed width needs new lines
  const watch = typeof ResizeObserver === 'undefined' ? null : new ResizeObserver(() => requestAnimationFrame(fit))
  watch?.observe(box.parentElement ?? box)
  box.addEventListener('input', fit)
  box.addEventListener('fit', fit)
  fit()
  return () => {
    watch?.disconnect()
    box.removeEventListener('input', fit)
    box.removeEventListener('fit', fit)
  }
}

/** Fit again after the text was set by code. */
export function refit(box: HTMLTextAreaElement | undefined): void {
  box?.dispatchEvent(new Event('fit'))
}
