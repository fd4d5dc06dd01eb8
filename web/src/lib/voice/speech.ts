/**
 * The browser's own Web Speech: what it has, under which name, and what to say aloud of a Markdown text.
 *
 *     speakable("**Hi** `x`") -> "Hi x"        languageOf("你好，世界") -> "zh-CN"
 *
 * Dictation in some browsers goes through their maker's servers; that is why voice is off until it is switched on.
 */

export interface RecognitionResult {
  readonly isFinal: boolean
  readonly length: number
  readonly [index: number]: { readonly transcript: string }
}

export interface RecognitionEvent {
  readonly resultIndex: number
  readonly results: { readonly length: number; readonly [index: number]: RecognitionResult }
}

/** As much of SpeechRecognition as is used here (TypeScript's DOM types leave it out). */
export interface Recognition {
  lang: string
  continuous: boolean
  interimResults: boolean
  onresult: ((event: RecognitionEvent) => void) | null
  onerror: ((event: { readonly error: string }) => void) | null
  onend: (() => void) | null
  start(): void
  stop(): void
  abort(): void
}

type RecognitionClass = new () => Recognition

/** The browser's recogniser, or undefined where it has none. */
export function recognitionClass(scope: object = globalThis): RecognitionClass | undefined {
  const found = scope as { SpeechRecognition?: RecognitionClass; webkitSpeechRecognition?: RecognitionClass }
  return found.SpeechRecognition ?? found.webkitSpeechRecognition
}

export function canSpeak(scope: object = globalThis): boolean {
  return 'speechSynthesis' in scope && 'SpeechSynthesisUtterance' in scope
}

/** The final words of an event, and what is only guessed so far. */
export function heard(event: RecognitionEvent): { final: string; guess: string } {
  let final = ''
  let guess = ''
  for (let i = event.resultIndex; i < event.results.length; i++) {
    const result = event.results[i]
    const words = result?.[0]?.transcript ?? ''
    if (result?.isFinal) final += words
    else guess += words
  }
  return { final, guess }
}

/** Markdown as words to be read aloud: marks and code blocks left out, links as their text. */
export function speakable(markdown: string): string {
  return markdown
    .replace(/```[\s\S]*?(```|$)/g, ' ')
    .replace(/\$\$[\s\S]*?\$\$/g, ' ')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/^\s*\|?[\s:|-]+\|?\s*$/gm, ' ')
    .replace(/^\s{0,3}(#{1,6}|>|[-*+]|\d+\.)\s+/gm, '')
    .replace(/[*_`~|]+/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
}

/** Which voice a text wants: Chinese where a good part of its letters are. */
export function languageOf(text: string): 'zh-CN' | 'en-US' {
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0
  const latin = text.match(/\p{Script=Latin}/gu)?.length ?? 0
  return han * 3 > latin ? 'zh-CN' : 'en-US'
}

/** Sentences of at most about `limit` characters: browsers cut long utterances off. */
export function pieces(text: string, limit = 200): string[] {
  const sentences = text.match(/[^.!?。！？；;]+[.!?。！？；;]*\s*/g) ?? []
  const found: string[] = []
  for (const sentence of sentences.flatMap((one) => split(one, limit))) {
    const last = found[found.length - 1]
    if (last !== undefined && last.length + sentence.length <= limit) found[found.length - 1] = last + sentence
    else found.push(sentence)
  }
  return found.map((one) => one.trim()).filter((one) => one !== '')
}

function split(sentence: string, limit: number): string[] {
  const letters = [...sentence]
  const parts: string[] = []
  for (let i = 0; i < letters.length; i += limit) parts.push(letters.slice(i, i + limit).join(''))
  return parts
}
