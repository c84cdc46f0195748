import { parseValue } from 'graphql';
import { describe, expect, it } from 'vitest';
import {
  parseDateTime,
  parseJson,
  parseJsonLiteral,
  parseSafeInt,
  serializeDateTime,
  serializeSafeInt,
} from './scalars.ts';

describe('DateTime', () => {
  it('should come and go as ISO 8601, leave in UTC', () => {
    expect(serializeDateTime(parseDateTime('2026-11-22T12:00:00+02:00'))).toBe('2026-11-22T10:00:00.000Z');
    expect(serializeDateTime(parseDateTime('2026-11-22T10:00:00.123456Z'))).toBe('2026-11-22T10:00:00.123Z');
  });

  it.each([
    '2026-11-22',
    '2026-11-22T10:00:00',
    'yesterday',
    '2026-13-40T10:00:00Z',
    1,
    null,
  ])('should not be %s', (value) => expect(() => parseDateTime(value)).toThrow('ISO 8601'));
});

describe('SafeInt', () => {
  it('should take integers up to 2^53 - 1, and bigint on its way out', () => {
    expect(parseSafeInt(Number.MAX_SAFE_INTEGER)).toBe(9007199254740991);
    expect(serializeSafeInt(9007199254740991n)).toBe(9007199254740991);
    for (const value of [1.5, 2 ** 53, '1', NaN]) expect(() => parseSafeInt(value)).toThrow();
    expect(() => serializeSafeInt(2n ** 53n)).toThrow();
  });
});

describe('JSON', () => {
  it('should take a literal with variables inside', () => {
    const literal = parseValue('{ a: [1, 2.5, "x", true, null, ENUM], b: { c: $v } }');
    expect(parseJsonLiteral(literal, { v: { d: 1 } })).toEqual({
      a: [1, 2.5, 'x', true, null, 'ENUM'],
      b: { c: { d: 1 } },
    });
  });

  it('should keep a key named __proto__ as data', () => {
    const parsed = parseJsonLiteral(parseValue('{ __proto__: { admin: true } }'), {}) as object;
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it('should not nest without end', () => {
    const nest = (depth: number): unknown => (depth === 0 ? 1 : [nest(depth - 1)]);
    expect(parseJson(nest(32))).toBeDefined();
    expect(() => parseJson(nest(33))).toThrow('32 levels');
    expect(() => parseJsonLiteral(parseValue(`${'['.repeat(40)}${']'.repeat(40)}`), {})).toThrow('32 levels');
  });
});
