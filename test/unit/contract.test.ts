import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url);
const SEPARATOR = ' › ';
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');

/** Sentences with the tests below them. */
const entries = read('test/contract.md')
  .split('\n')
  .reduce<{ sentence: string; tests: string[] }[]>((list, line) => {
    const [, sentence] = /^- (.+)$/.exec(line) ?? [];
    const [, name] = /^ {2}- `(.+)`$/.exec(line) ?? [];
    if (sentence) list.push({ sentence, tests: [] });
    else if (name) list.at(-1)!.tests.push(name);
    else expect(line, 'neither a sentence nor a test').not.toMatch(/^\s*[-*]/);
    return list;
  }, []);

it('should name a test for each sentence of the contract', () => {
  expect(entries.length).toBeGreaterThan(150);
  expect(entries.filter(({ tests }) => tests.length === 0).map(({ sentence }) => sentence)).toEqual([]);
  const sentences = entries.map(({ sentence }) => sentence);
  expect(sentences.filter((sentence) => /pending|todo/i.test(sentence))).toEqual([]);
});

it('should name tests that are there', () => {
  const absent = entries.flatMap(({ tests }) => tests).filter((test) => !isThere(test));
  expect(absent).toEqual([]);
});

/** Whether its file has the names of the groups and of the test as whole texts, the test's as one that `it` takes. */
function isThere(test: string): boolean {
  const [path, ...names] = test.split(SEPARATOR);
  if (names.length === 0 || !existsSync(new URL(path!, ROOT))) return false;
  const source = read(path!);
  return names.every((name) => ["'", '"', '`'].some((quote) => source.includes(`(${quote}${name}${quote}`)));
}
