/**
 * Make the children of an element equal to those of a fragment, touching only what differs: while an answer grows the reader's
 * selection stays, code blocks keep their scroll position, and the browser lays out one line instead of the whole.
 *
 *     <p>Hel</p>  patched with  <p>Hello</p>  ->  the same <p>, the same text node, two letters more
 */

export function patch(old: Node, fresh: Node): void {
  let at = old.firstChild
  for (const child of [...fresh.childNodes]) {
    if (!at) {
      old.appendChild(child)
      continue
    }
    const after: ChildNode | null = at.nextSibling
    if (!become(at, child)) old.replaceChild(child, at)
    at = after
  }
  while (at) {
    const after: ChildNode | null = at.nextSibling
    at.remove()
    at = after
  }
}

/** Turn a node into what another one is, if they are of one kind. */
function become(old: ChildNode, fresh: ChildNode): boolean {
  if (old.nodeName !== fresh.nodeName) return false
  if (old instanceof Text && fresh instanceof Text) {
    retext(old, fresh.data)
    return true
  }
  if (!(old instanceof Element && fresh instanceof Element)) return false
  const tex = old.getAttribute('data-tex')
  // drawn mathematics is drawn anew only if it is another
  if (tex !== null || fresh.hasAttribute('data-tex')) return tex === fresh.getAttribute('data-tex') && isDisplay(old) === isDisplay(fresh)
  reattribute(old, fresh)
  patch(old, fresh)
  return true
}

const isDisplay = (element: Element): boolean => element.classList.contains('display')

function retext(old: Text, data: string): void {
  if (old.data === data) return
  if (data.startsWith(old.data)) old.appendData(data.slice(old.data.length))
  else old.data = data
}

function reattribute(old: Element, fresh: Element): void {
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name)
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
}
