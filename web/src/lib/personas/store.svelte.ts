/**
 * The personas of this account, fetched once and shared by the picker and the manager.
 *
 *     await personas.load(); personas.list
 */
import { addPersona, changePersona, deletePersona, importPersona, listPersonas, type PersonaFields } from '../api/more'
import type { PersonaView } from '../api/types'

class Personas {
  list = $state.raw<PersonaView[]>([])
  loaded = $state(false)
  #loading: Promise<void> | undefined

  /** Fetch them, unless that is done or under way. */
  load(): Promise<void> {
    this.#loading ??= this.reload().catch((error: unknown) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  async reload(): Promise<void> {
    this.list = await listPersonas()
    this.loaded = true
  }

  find(id: string | null): PersonaView | undefined {
    return this.list.find((persona) => persona.id === id)
  }

  async save(id: string | null, fields: PersonaFields): Promise<PersonaView> {
    const saved = await (id === null ? addPersona(fields) : changePersona(id, fields))
    this.#put(saved)
    return saved
  }

  /** From a character card; the second value names parts of it that have no effect here. */
  async import(file: File): Promise<[PersonaView, string[]]> {
    const { persona, unused } = await importPersona(file)
    this.#put(persona)
    return [persona, unused]
  }

  async remove(id: string): Promise<void> {
    await deletePersona(id)
    this.list = this.list.filter((persona) => persona.id !== id)
  }

  #put(persona: PersonaView): void {
    const known = this.list.some(({ id }) => id === persona.id)
    this.list = known ? this.list.map((one) => (one.id === persona.id ? persona : one)) : [...this.list, persona]
  }
}

export const personas = new Personas()
