import { describe, expect, test } from 'vitest'
import { canSpeak, heard, languageOf, pieces, recognitionClass, speakable, type RecognitionEvent } from './speech'

describe('what is read aloud', () => {
  test('marks, code and link targets are left out, words stay', () => {
    expect(speakable('# Hi\n\n**Bold** and `code`, [a link](https://x.y).\n\n- one\n- two\n\n```js\nalert(1)\n```\nEnd')).toBe(
      'Hi Bold and code , a link. one two End',
    )
    expect(speakable('| a | b |\n|---|---|\n| 1 | 2 |')).toBe('a b 1 2')
    expect(speakable('```py\nstill being written')).toBe('')
  })

  test('the voice follows the writing', () => {
    expect(languageOf('你好，世界')).toBe('zh-CN')
    expect(languageOf('In Chinese “hello” is 你好')).toBe('en-US')
    expect(languageOf('用 Python 写一个程序')).toBe('zh-CN')
  })

  test('long texts are cut at sentences, and nothing is lost', () => {
    const text = `${'One sentence here. '.repeat(40)}${'没有句号'.repeat(200)}`
    const parts = pieces(text, 200)
    expect(parts.join('').replace(/\s/g, '')).toBe(text.replace(/\s/g, ''))
    for (const part of parts) expect([...part].length).toBeLessThanOrEqual(200)
    expect(pieces('  ')).toEqual([])
  })
})

describe('dictation', () => {
  test('certain words and guesses are told apart, old ones not heard again', () => {
    const result = (transcript: string, isFinal: boolean) => ({ 0: { transcript }, length: 1, isFinal })
    const results = { 0: result('old ', true), 1: result('new ', true), 2: result('gue', false), length: 3 }
    expect(heard({ resultIndex: 1, results } as unknown as RecognitionEvent)).toEqual({ final: 'new ', guess: 'gue' })
  })

  test('a browser without speech has none', () => {
    class Fake {}
    expect([recognitionClass({}), canSpeak({})]).toEqual([undefined, false])
    expect(recognitionClass({ webkitSpeechRecognition: Fake })).toBe(Fake)
  })
})
