import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyCharacter } from './testing.ts';
import { splitWords, WordsError } from './words.ts';

describe('splitWords', () => {
  it.each([
    ['', []],
    ['   ', []],
    ['nginx', ['nginx']],
    [' a  b\tc\nd ', ['a', 'b', 'c', 'd']],
    [`nginx -g 'daemon off;'`, ['nginx', '-g', 'daemon off;']],
    ['a "b c" d', ['a', 'b c', 'd']],
    [`a'b'"c"d`, ['abcd']],
    [`'' ""`, ['', '']],
    ['"a\\"b\\\\c\\d"', ['a"b\\c\\d']],
    ['a\\ b \\"c\\"', ['a b', '"c"']],
    ["'a\\b'", ['a\\b']],
    ['a \\\nb', ['a', 'b']],
    ['echo "$HOME" $USER', ['echo', '$HOME', '$USER']],
    ['curl http://x/?a=1&b=2', ['curl', 'http://x/?a=1&b=2']],
    [`sh -c 'a && b | c > d; e'`, ['sh', '-c', 'a && b | c > d; e']],
    [`grep ";" "&&" \\|`, ['grep', ';', '&&', '|']],
    ['a ä 日本', ['a', 'ä', '日本']],
  ])('should split %j into %j', (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  it.each([
    'a && b',
    'a || b',
    'a | b',
    'a; b',
    'a ; b',
    'a > b',
    'a >b',
    'a 2>&1',
    'a < b',
    'a &',
    `a 'b`,
    'a "b',
    'a \\',
  ])('should refuse %j', (line) => {
    expect(() => splitWords(line)).toThrow(WordsError);
  });

  it('should give back any words that are quoted', () => {
    const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
    fc.assert(
      fc.property(fc.array(fc.string({ unit: anyCharacter }), { maxLength: 8 }), (words) => {
        expect(splitWords(words.map(quoted).join(' '))).toEqual(words);
      }),
    );
  });
});
