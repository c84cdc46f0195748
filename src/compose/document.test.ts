import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_COMPOSE_BYTES, parseCompose, toValue } from './document.ts';
import { anyCharacter } from './testing.ts';

function dataOf(text: string): unknown {
  const { document, findings } = parseCompose(text);
  expect(findings).toEqual([]);
  return document && toValue(document.root);
}

function rulesOf(text: string): string[] {
  return parseCompose(text).findings.map(({ rule, line, column }) => `${line}:${column} ${rule}`);
}

describe('parseCompose', () => {
  it('should expand aliases and merge keys, with the own keys of a mapping before merged ones', () => {
    expect(dataOf('a: &a { x: 1, y: 2 }\nb:\n  <<: *a\n  y: 3\nc: { <<: [*a, { z: 4 }] }\nd: *a')).toEqual({
      a: { x: 1, y: 2 },
      b: { x: 1, y: 3 },
      c: { x: 1, y: 2, z: 4 },
      d: { x: 1, y: 2 },
    });
  });

  it('should merge a list of mappings with the first of them winning, wherever the merge stands', () => {
    const text = 'a: &a { x: 1, y: 1 }\nb: &b { y: 2, z: 2 }\nc: { z: 3, <<: [*a, *b] }\nd: { <<: [*b, *a], z: 3 }';
    expect(dataOf(text)).toMatchObject({ c: { x: 1, y: 1, z: 3 }, d: { x: 1, y: 2, z: 3 } });
  });

  it('should merge what merges itself, but not into what lies deeper', () => {
    const text = 'a: &a { e: { x: 1 } }\nb: &b { <<: *a, f: 2 }\nc: { <<: *b, e: { y: 2 } }';
    expect(dataOf(text)).toMatchObject({ b: { e: { x: 1 }, f: 2 }, c: { e: { y: 2 }, f: 2 } });
  });

  it('should take the nearest anchor before an alias, also inside of expanded ones', () => {
    expect(dataOf('a: &v 1\nb: &l [*v]\nc: &v 2\nd: *l\ne: *v')).toMatchObject({ d: [1], e: 2 });
  });

  it('should take a quoted "<<" as an ordinary key', () => {
    expect(dataOf('a: { "<<": 1 }')).toEqual({ a: { '<<': 1 } });
  });

  it('should read scalars as YAML 1.2 does', () => {
    expect(dataOf('a: no\nb: 022\nc: 0x1f\nd: ~\ne: "5"\nf: 1:30\n8080: on')).toEqual({
      a: 'no',
      b: 22,
      c: 31,
      d: null,
      e: '5',
      f: '1:30',
      '8080': 'on',
    });
  });

  it.each([
    ['', ['1:1 file-empty']],
    ['# nothing', ['1:1 file-empty']],
    ['- a', ['1:1 not-a-mapping']],
    ['a: 1\nb: 2\na: 3', ['3:1 key-duplicate']],
    ['a: [1', ['1:6 yaml-syntax']],
    ['a: *b', ['1:4 yaml-alias']],
    ['a: &a [*a]', ['1:8 yaml-alias']],
    ['a: &a\n  <<: *a', ['2:7 yaml-alias']],
    ['a: { <<: 5 }', ['1:6 yaml-merge']],
    ['a: &a { x: 1 }\nb:\n  <<: *a\n  <<: *a', ['4:3 key-duplicate']],
    ['a: 1\n---\nb: 2', ['2:1 several-documents']],
    ['a: !vault x', ['1:4 yaml-tag']],
    ['__proto__: 1', ['1:1 key-reserved']],
  ])('should say of %j: %j', (text, rules) => {
    expect(rulesOf(text)).toEqual(rules);
  });

  it('should say how to mend a tab', () => {
    const finding = parseCompose('a:\n\tb: 1').findings[0];
    expect(finding).toMatchObject({ line: 2, suggestion: expect.stringContaining('spaces') });
  });

  it('should refuse a file of more than 1 MiB, and read one of exactly that', () => {
    const start = 'services: {}\n#';
    expect(rulesOf(start + 'x'.repeat(MAX_COMPOSE_BYTES - start.length))).toEqual([]);
    expect(rulesOf(start + 'x'.repeat(MAX_COMPOSE_BYTES))).toEqual(['null:null file-too-large']);
    expect(rulesOf(start + 'é'.repeat(MAX_COMPOSE_BYTES / 2))).toEqual(['null:null file-too-large']);
  });

  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]', ...'bcdefghij'].map((line, index) => {
    const before = `*${'abcdefghij'[index - 1]}`;
    return index === 0 ? line : `${line}: &${line} [${Array(9).fill(before)}]`;
  });

  it.each([
    ['an alias bomb', bomb.join('\n'), 'file-too-complex'],
    ['a long text that stands often', `a: &a ${'x'.repeat(90_000)}\nb: [${'*a, '.repeat(50)}]`, 'file-too-large'],
    ['long keys that stand often', `a: &a { ${'k'.repeat(1000)}: }\nb: [${'*a, '.repeat(4300)}]`, 'file-too-large'],
    ['a key that is too long', `? ${'k'.repeat(1025)}\n: 1`, 'key-too-long'],
    ['deep flow nesting', `a: ${'['.repeat(5000)}`, 'too-deep'],
    ['deep block nesting', '- '.repeat(5000), 'too-deep'],
    ['nesting that is well formed', `a: ${'['.repeat(100)}${']'.repeat(100)}`, 'too-deep'],
    ['a file of brackets', '['.repeat(MAX_COMPOSE_BYTES), 'file-too-complex'],
    ['a file of commas', `[${','.repeat(150_000)}]`, 'yaml-syntax'],
    ['a file of bad escapes', `"${'\\x'.repeat(400_000)}"`, 'yaml-syntax'],
    ['a file of equal keys', 'a: 1\n'.repeat(10_000), 'key-duplicate'],
  ])('should refuse %s in bounded time', { timeout: 60_000 }, (_name, text, rule) => {
    const { findings } = parseCompose(text);
    expect(findings[0]?.rule).toBe(rule);
  });

  it('should never throw', () => {
    const lines = fc.array(
      fc.constantFrom('a: ', '  b', '- ', '[', '{', '&x ', '*x', '<<: ', '|\n', '"', "'", '\t', '#', '\n'),
    );
    const texts = fc.oneof(
      fc.string({ unit: anyCharacter, maxLength: 300 }),
      lines.map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const { document, findings } = parseCompose(text);
        expect(document !== null || findings.length > 0).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
