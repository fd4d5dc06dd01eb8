/** What the parts of the chat share: given by App, read with `useShell()`. */
import { getContext } from 'svelte'
import type { MeView } from '../api/types'
import type { Chats } from './chats.svelte'
import type { Connection } from './connection.svelte'

export interface Shell {
  readonly chats: Chats
  readonly connection: Connection
  readonly me: MeView | null
  openSettings: () => void
  openHelp: () => void
  toggleSidebar: () => void
}

export const CHATS = Symbol('chats')

export const useShell = (): Shell => getContext<Shell>(CHATS)
