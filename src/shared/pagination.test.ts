import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newId } from './ids.ts';
import { beyond } from './keyset.ts';
import { decodeCursor, encodeCursor, orderBy, parsePage } from './pagination.ts';

const BY_NAME = orderBy('name', { field: 'name', direction: 'asc', type: 'text' });
const BY_USE = orderBy('-used', { field: 'usedAt', direction: 'desc', type: 'date', nullable: true });

describe('a page', () => {
  it('should have 20 nodes from the start unless asked otherwise', () => {
    expect(parsePage({})).toEqual({ size: 20, backward: false, after: null, before: null });
    expect(parsePage({ last: 5, before: 'x' })).toEqual({ size: 5, backward: true, after: null, before: 'x' });
  });

  it.each([
    { first: 0 },
    { first: 101 },
    { last: 0 },
    { last: 101 },
    { first: 1, last: 1 },
    { first: 1.5 },
  ])('should not be asked for with %o', (args) =>
    expect(() => parsePage(args)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' })));
});

describe('a cursor', () => {
  it('should give back the position it was made at', () => {
    fc.assert(
      fc.property(
        fc
          .string({ unit: 'binary' })
          .filter((text) => text.length < 300 && !text.includes('\0') && text.isWellFormed()),
        (name) => {
          const id = newId();
          expect(decodeCursor(BY_NAME, encodeCursor(BY_NAME, { name, id }), 'after')).toEqual([name, id]);
        },
      ),
    );
    const row = { usedAt: new Date('2026-11-22T10:00:00.123Z'), id: newId() };
    expect(decodeCursor(BY_USE, encodeCursor(BY_USE, row), 'after')).toEqual([row.usedAt, row.id]);
    expect(decodeCursor(BY_USE, encodeCursor(BY_USE, { ...row, usedAt: null }), 'after')).toEqual([null, row.id]);
  });

  it('should be refused where it is none, or one of another order', () => {
    const refused = (cursor: string): void => {
      expect(() => decodeCursor(BY_NAME, cursor, 'after'), cursor).toThrow(
        expect.objectContaining({ code: 'BAD_REQUEST' }),
      );
    };
    fc.assert(fc.property(fc.string(), refused));
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    fc.assert(fc.property(fc.jsonValue(), (value) => refused(encode(value))));
    refused(encodeCursor(BY_USE, { usedAt: null, id: newId() }));
    for (const values of [
      ['name', 'x'],
      ['name', 'x', 'y'],
      ['name', null, newId()],
      ['name', 1, newId()],
      ['name', 'a\0', newId()],
      ['-name', 'x', newId()],
    ]) {
      refused(encode(values));
    }
    refused(`${encodeCursor(BY_NAME, { name: 'x'.repeat(3_000), id: newId() })}`);
  });
});

it('should find exactly the rows beyond a position, nulls last, in both directions', () => {
  type Row = { name: string; id: string };
  type Condition = Record<string, unknown>;
  const matches = (row: Record<string, unknown>, condition: Condition): boolean =>
    Object.entries(condition).every(([key, value]) => {
      if (key === 'AND') return (value as Condition[]).every((part) => matches(row, part));
      if (key === 'OR') return (value as Condition[]).some((part) => matches(row, part));
      const actual = row[key] as string | null;
      if (value === null || typeof value !== 'object' || value instanceof Date) return actual === value;
      const { gt, lt, not } = value as { gt?: string; lt?: string; not?: null };
      if (not === null) return actual !== null;
      return actual !== null && (gt !== undefined ? actual > gt : actual < lt!);
    });
  const row = fc.record({
    name: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: null }),
    id: fc.constantFrom('1', '2', '3', '4'),
  });
  fc.assert(
    fc.property(fc.array(row), row, fc.constantFrom('asc' as const, 'desc' as const), (rows, position, direction) => {
      const order = orderBy('o', { field: 'name', direction, type: 'text', nullable: true });
      const sign = direction === 'asc' ? 1 : -1;
      const compare = (a: Row | typeof position, b: Row | typeof position): number => {
        if (a.name === b.name) return a.id === b.id ? 0 : sign * (a.id < b.id ? -1 : 1);
        if (a.name === null || b.name === null) return a.name === null ? 1 : -1;
        return sign * (a.name < b.name ? -1 : 1);
      };
      const at = [position.name, position.id];
      expect(rows.filter((item) => matches(item, beyond(order, at, 'after')))).toEqual(
        rows.filter((item) => compare(item, position) > 0),
      );
      expect(rows.filter((item) => matches(item, beyond(order, at, 'before')))).toEqual(
        rows.filter((item) => compare(item, position) < 0),
      );
    }),
  );
});
