import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isStorableJson, jsonObject, nameText } from './input.ts';

const hasUnstorable = (value: unknown): boolean => {
  if (typeof value === 'string') return value.includes('\0') || !value.isWellFormed();
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([name, entry]) => hasUnstorable(name) || hasUnstorable(entry));
};

describe('isStorableJson', () => {
  it('should find NUL and lone surrogates in keys and values, however they are escaped, and nothing else', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.constantFrom('\\', 'u0000', '\0', '\ud800', '\udc00', '😀', 'ud83d', '"', 'x'))
        .map((parts) => parts.join('')),
    );
    const value = fc.object({ key: text, values: [text, fc.integer(), fc.boolean()] });
    fc.assert(fc.property(value, (json) => isStorableJson(JSON.stringify(json)) === !hasUnstorable(json)));
  });
});

describe('jsonObject', () => {
  it('should take objects up to a size and depth, and nothing else', () => {
    const settings = jsonObject(1_000);
    expect(settings.parse({ a: { b: [1, null] } })).toEqual({ a: { b: [1, null] } });
    for (const value of [null, [], 1, 'x', { a: 'x'.repeat(1_000) }])
      expect(settings.safeParse(value).success).toBe(false);
    let deep: object = {};
    for (let level = 0; level < 100_000; level++) deep = { deep };
    expect(settings.safeParse(deep).error?.issues[0]?.message).toContain('nested');
  });
});

describe('nameText', () => {
  it('should trim, and count characters as people do', () => {
    expect(nameText(2, 3).parse('  ab ')).toBe('ab');
    expect(nameText(2, 3).safeParse('😀😀😀').success).toBe(true);
    for (const name of ['a', 'abcd', ' a ', 'a\tb', '😀']) expect(nameText(2, 3).safeParse(name).success).toBe(false);
  });
});
