/** What the page's content policy forbids is not in its sources, so that nothing fails in the browser alone. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')
const sources = readdirSync(root, { recursive: true, encoding: 'utf-8' })
  .filter((path) => /\.(svelte|ts|css)$/.test(path) && !path.endsWith('.test.ts'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf-8') }))

/** The files in which a pattern stands, comments left out. */
function holding(pattern: RegExp, kind = /./): string[] {
  const bare = (text: string): string => text.replace(/<!--[\s\S]*?-->|\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, '')
  return sources.filter(({ path, text }) => kind.test(path) && pattern.test(bare(text))).map(({ path }) => path)
}

test('there are sources to look at', () => expect(sources.length).toBeGreaterThan(50))

test('no style attributes in markup (style: directives go through the CSSOM)', () =>
  expect(holding(/<[a-z][^>]*\sstyle=/, /svelte$/)).toEqual([]))

test('no handlers or scripts as text, and no eval', () => {
  expect(holding(/\{@html/, /svelte$/)).toEqual([])
  expect(holding(/\beval\(|new Function\(/)).toEqual([])
})

test('no other host in styles, sources or frames', () =>
  expect(holding(/(?:url\(|src=|href=|fetch\(|import\()\s*["'`]?(?:https?:)?\/\/[a-z]/)).toEqual([]))
