/**
 * Whether a key press means "send". Enter does, Shift+Enter is a new line, and while an input method composes (pinyin, kana)
 * Enter chooses a candidate: browsers tell by `isComposing`, and Safari, whose last Enter comes after the composition, by 229.
 */
export function sends(event: Pick<KeyboardEvent, 'key' | 'shiftKey' | 'altKey' | 'isComposing' | 'keyCode'>): boolean {
  return event.key === 'Enter' && !event.shiftKey && !event.altKey && !event.isComposing && event.keyCode !== 229
}
