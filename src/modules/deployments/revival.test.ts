import { expect, it } from 'vitest';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import type { InstanceRow } from './instances.ts';
import { isLost } from './revival.ts';

const row = (state: InstanceRow['state'], exitCode: number | null = null) => ({ state, exitCode });
const status = (state: InstanceStatus['state'], exitCode: number | null = null) =>
  ({ state, exitCode }) as InstanceStatus;

it('should take for lost what ended without a code, or is unknown to the runtime', () => {
  expect(isLost(row('RUNNING'), status('EXITED'))).toBe(true);
  expect(isLost(row('EXITED'), status('EXITED'))).toBe(true);
  for (const state of ['STARTING', 'RUNNING', 'HEALTHY', 'RESTARTING', 'STOPPED', 'EXITED'] as const)
    for (const known of [undefined, status('STOPPED')]) expect(isLost(row(state), known)).toBe(true);
});

it('should not take for lost what runs, will run again, or ended by itself', () => {
  for (const state of ['STARTING', 'RUNNING', 'HEALTHY', 'UNHEALTHY', 'RESTARTING'] as const)
    expect(isLost(row('RUNNING'), status(state, 1))).toBe(false);
  for (const code of [0, 3]) {
    expect(isLost(row('RUNNING'), status('EXITED', code))).toBe(false);
    expect(isLost(row('EXITED', code), undefined)).toBe(false);
    expect(isLost(row('EXITED', code), status('STOPPED'))).toBe(false);
  }
});
