import { expect, it } from 'vitest';
import type { InstanceRow } from './instances.ts';
import { troubleOf } from './live-state.ts';

const OUTLINES = { db: { configHashes: ['d'] }, web: { configHashes: ['w', 'x'] } };
const row = (service: string, replica: number, over: Partial<InstanceRow> = {}) =>
  ({ service, replica, state: 'RUNNING', exitCode: null, reason: null, ...over }) as InstanceRow;
const ALL = [row('db', 1, { state: 'HEALTHY' }), row('web', 1), row('web', 2)];

it('should find nothing wrong with what is healthy, runs, or ended well', () => {
  expect(troubleOf(OUTLINES, ALL)).toBeNull();
  expect(troubleOf(OUTLINES, ALL.with(1, row('web', 1, { state: 'EXITED', exitCode: 0 })))).toBeNull();
  expect(troubleOf({}, ALL)).toBeNull();
});

it('should name the service and what its instance says', () => {
  const exited = row('web', 2, { state: 'EXITED', exitCode: 3, reason: 'exited with code 3' });
  expect(troubleOf(OUTLINES, ALL.with(2, exited))).toBe('service web (replica 2): exited with code 3');
  expect(troubleOf(OUTLINES, ALL.with(0, row('db', 1, { state: 'UNHEALTHY' })))).toBe('service db: is unhealthy');
  expect(troubleOf(OUTLINES, ALL.with(0, row('db', 1, { state: 'STARTING' })))).toBe('service db: is starting');
});

it('should count what is missing', () => {
  expect(troubleOf(OUTLINES, ALL.slice(0, 2))).toBe('service web: 1 of 2 replicas are missing');
  expect(troubleOf(OUTLINES, [])).toBe('service db: 1 of 1 replicas are missing');
});
