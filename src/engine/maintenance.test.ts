import { expect, it } from 'vitest';
import { createLogger } from '../shared/logger.ts';
import { MAINTENANCE_MS, startMaintenance } from './maintenance.ts';

const clock = { now: () => new Date('2026-11-01T00:00:00Z') };
const log = createLogger('silent');

/** Pauses that last until the test says so, and how long each was meant to be. */
function pauses() {
  const asked: number[] = [];
  let wake = () => {};
  const pause = (ms: number, signal: AbortSignal) => {
    asked.push(ms);
    return new Promise<void>((resolve) => {
      wake = resolve;
      signal.addEventListener('abort', () => resolve());
    });
  };
  return { asked, pause, wake: () => wake() };
}

async function until(condition: () => boolean): Promise<void> {
  await expect.poll(condition).toBe(true);
}

it('should do its tasks one after another, again after an hour or when it is woken', async () => {
  const done: string[] = [];
  const { asked, pause, wake } = pauses();
  await using _maintenance = startMaintenance({
    clock,
    log,
    pause,
    tasks: { first: async (now) => done.push(`first at ${now.getTime()}`), second: async () => done.push('second') },
  });
  await until(() => asked.length === 1);
  expect(done).toEqual([`first at ${clock.now().getTime()}`, 'second']);
  wake();
  await until(() => asked.length === 2);
  expect(done).toHaveLength(4);
  expect(asked).toEqual([MAINTENANCE_MS, MAINTENANCE_MS]);
});

it('should come back sooner to a task that failed, and do the others meanwhile', async () => {
  let others = 0;
  const { asked, pause } = pauses();
  await using _maintenance = startMaintenance({
    clock,
    log,
    pause,
    tasks: { broken: () => Promise.reject(new Error('broken')), sound: async () => others++ },
  });
  await until(() => asked.length === 1);
  expect(others).toBe(1);
  expect(asked[0]).toBeLessThan(MAINTENANCE_MS);
});

it('should end a task that is under way, and begin no other', async () => {
  const begun: string[] = [];
  const maintenance = startMaintenance({
    clock,
    log,
    tasks: {
      long: (_now, signal) => {
        begun.push('long');
        return new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
      next: async () => begun.push('next'),
    },
  });
  await until(() => begun.length === 1);
  await maintenance[Symbol.asyncDispose]();
  expect(begun).toEqual(['long']);
});
