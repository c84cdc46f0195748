import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { excerptOf, LastLine } from './excerpt.mjs';

const lastOf = (...pieces: string[]) => {
  const line = new LastLine();
  for (const piece of pieces) line.push(Buffer.from(piece));
  return line.text;
};

describe('the last line that tells something', () => {
  it('should be none where nothing was told', () => {
    expect([lastOf(), lastOf(''), lastOf('\n \n\r\n\t\n')]).toEqual(['', '', '']);
  });

  it('should be the last one, whether it ended or not', () => {
    expect(lastOf('first\nlast\n')).toBe('last');
    expect(lastOf('first\nlast')).toBe('last');
    expect(lastOf('first\nla', 's', 't\r\n', '\n\n')).toBe('last');
  });

  it('should be the error of a stack trace, not its frames', () => {
    const node = '/app/x.js:1\nthrow new Error()\n^\n\nError: no config\n    at one\n    at two\n\nNode.js v24.1.0\n';
    const java = 'Exception in thread "main" no config\n\tat A.main(A.java:1)\n';
    const python = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no config\n';
    expect([node, java, python].map((text) => lastOf(text))).toEqual([
      'Error: no config',
      'Exception in thread "main" no config',
      'ValueError: no config',
    ]);
  });

  it('should be the same whatever the pieces', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '\n', ' ', 'é'), maxLength: 40 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), (pieces) => {
        const line = new LastLine();
        for (const byte of Buffer.from(pieces.join(''))) line.push(Buffer.from([byte]));
        expect(lastOf(...pieces)).toBe(line.text);
        const lines = pieces.join('').split('\n');
        expect(line.text).toBe(lines.findLast((candidate) => /^[^ ]/.test(candidate)) ?? '');
      }),
    );
  });
});

describe('an excerpt', () => {
  it('should say that it was cut, between two characters', () => {
    const long = excerptOf(Buffer.from('é'.repeat(200)));
    expect(long).toMatch(/^é+…$/);
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(200);
    expect(lastOf('x'.repeat(500), `${'y'.repeat(500)}\n`)).toBe(`${'x'.repeat(197)}…`);
    expect(excerptOf(Buffer.from('short'), true)).toBe('short…');
    expect(excerptOf(Buffer.from('x'.repeat(200)))).toBe('x'.repeat(200));
  });
});
