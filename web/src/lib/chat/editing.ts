/** A question that is being changed: which, and the words so far. */
export interface Editing {
  id: string
  text: string
}
