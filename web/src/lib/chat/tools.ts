/** The arguments of a tool call, to be read by people: '{"a": "x", "n": 2}' -> [["a", "x"], ["n", "2"]]; null for what is no JSON object. */
export function argumentsOf(text: string): [name: string, value: string][] | null {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
    return Object.entries(value).map(([name, of]) => [name, typeof of === 'string' ? of : JSON.stringify(of)])
  } catch {
    return null // it is still being written, or the model wrote something else
  }
}
