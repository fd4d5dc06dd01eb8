/** Where a search's words stand in a text: pieces("The ferry", "fer") -> "The ", [fer], "ry". Never HTML. */
export interface Piece {
  text: string
  marked: boolean
}

export function pieces(text: string, query: string): Piece[] {
  const words = query.split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  if (!words.length) return [{ text, marked: false }]
  return text
    .split(new RegExp(`(${words.join('|')})`, 'gi'))
    .map((part, index) => ({ text: part, marked: index % 2 === 1 }))
    .filter(({ text: part }) => part)
}
