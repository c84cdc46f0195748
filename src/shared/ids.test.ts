import { expect, it } from 'vitest';
import { isId, newId } from './ids.ts';

it('should make canonical, unique ids that sort in the order of making', () => {
  const ids = Array.from({ length: 20_000 }, () => newId());
  expect(new Set(ids).size).toBe(ids.length);
  expect([...ids].sort()).toEqual(ids);
  for (const id of ids.slice(0, 100)) {
    expect(isId(id)).toBe(true);
    expect(id[14]).toBe('7');
    expect('89ab').toContain(id[19]);
  }
});

it('should not go back when the clock does', () => {
  const later = newId(Date.now() + 5_000);
  expect(newId() > later).toBe(true);
});

it('should refuse anything that PostgreSQL would not take as a uuid in canonical form', () => {
  for (const text of ['', 'x', '0190', `${newId()} `, newId().toUpperCase(), "' or 1=1"])
    expect(isId(text)).toBe(false);
});
