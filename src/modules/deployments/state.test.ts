import { expect, it } from 'vitest';
import { FINAL_STATUSES, isFinal, STATUSES, sourcesOf, TRANSITIONS } from './state.ts';

it('should have exactly the final states of the contract', () => {
  expect(FINAL_STATUSES.toSorted()).toEqual(['CANCELLED', 'FAILED', 'STOPPED', 'SUPERSEDED']);
});

it('should lead from every state to a final one', () => {
  const reaches = new Set(FINAL_STATUSES);
  for (let grown = true; grown; ) {
    grown = false;
    for (const status of STATUSES) {
      if (reaches.has(status) || !TRANSITIONS[status].some((next) => reaches.has(next))) continue;
      reaches.add(status);
      grown = true;
    }
  }
  expect(reaches.size).toBe(STATUSES.length);
});

it('should reach every state but the first one', () => {
  for (const status of STATUSES) expect(sourcesOf(status).length > 0).toBe(status !== 'QUEUED');
  expect(isFinal('QUEUED')).toBe(false);
});
