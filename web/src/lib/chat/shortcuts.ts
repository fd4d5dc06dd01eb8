/**
 * Keys that work everywhere on the page.
 *
 *     shortcut({ key: 'k', ctrlKey: true })  ->  'search'
 */

export type Action = 'search' | 'new' | 'sidebar' | 'copy' | 'help' | 'focus' | 'stop' | 'settings'

/** As shown in the list of shortcuts; Mod is Ctrl, and ⌘ on a Mac. */
export const SHORTCUTS: readonly (readonly [Action, string])[] = [
  ['search', 'Mod+K'],
  ['new', 'Mod+Shift+O'],
  ['sidebar', 'Mod+Shift+S'],
  ['copy', 'Mod+Shift+C'],
  ['settings', 'Mod+,'],
  ['focus', 'Shift+Esc'],
  ['stop', 'Esc'],
  ['help', '?'],
]

type Pressed = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey'> & Partial<Pick<KeyboardEvent, 'isComposing' | 'target'>>

/** What a key press asks for, if anything. While an input method composes, keys belong to it. */
export function shortcut(event: Pressed): Action | null {
  if (event.isComposing || event.altKey) return null
  const mod = event.ctrlKey || event.metaKey
  const pressed = (mod ? 'Mod+' : '') + (event.shiftKey && event.key !== '?' ? 'Shift+' : '') + named(event.key)
  const action = SHORTCUTS.find(([, keys]) => keys === pressed)?.[0] ?? (pressed === 'Mod+/' ? 'help' : null)
  return action === 'help' && !mod && isTyping(event.target) ? null : action
}

const named = (key: string): string => (key === 'Escape' ? 'Esc' : key.length === 1 ? key.toUpperCase() : key)

/** In a text field "?" is a question mark. */
function isTyping(target: EventTarget | null | undefined): boolean {
  return target instanceof Element && target.matches('input, textarea, select, [contenteditable]')
}

/** "Mod+Shift+O" as keys to show: ["⌘", "⇧", "O"] or ["Ctrl", "Shift", "O"]. */
export function keysOf(keys: string, mac: boolean): string[] {
  const names: Record<string, string> = mac ? { Mod: '⌘', Shift: '⇧', Enter: '⏎' } : { Mod: 'Ctrl' }
  return keys.split('+').map((key) => names[key] ?? key)
}

export const isMac = (): boolean => /mac|iphone|ipad/i.test(navigator.userAgent)
