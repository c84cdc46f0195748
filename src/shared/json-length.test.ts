import fc from 'fast-check';
import { expect, it } from 'vitest';
import { jsonLength } from './json-length.ts';

it('should be about the length of what is written out', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const written = JSON.stringify(value).length;
      // Escapes and long numbers aside.
      expect(jsonLength(value)).toBeGreaterThanOrEqual(written / 25 - 5);
      expect(jsonLength(value)).toBeLessThanOrEqual(written * 5 + 5);
    }),
  );
});

it('should look no further than it has to', () => {
  const text = 'x'.repeat(1_000);
  const wide = Array.from({ length: 1_000 }, () => text);
  const deep = Array.from({ length: 1_000 }, () => wide);
  expect(jsonLength(deep, 5_000)).toBeLessThan(10_000);
  expect(jsonLength(wide)).toBe(1_003_002);
  expect(jsonLength(deep)).toBe(1_003_003_002);
});
