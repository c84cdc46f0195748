import type { Pool } from 'pg';
import { expect, it } from 'vitest';
import type { InstanceStatus, Runtime } from '../../runtimes/runtime.ts';
import { waitFor } from './bring-up.ts';
import { STABLE_MS } from './health.ts';
import type { ReplicaSpec } from './release.ts';

const TIMEOUT_MS = 60_000;
const SPEC = { service: 'web', replica: 1, configHash: 'hash', healthcheck: null } as ReplicaSpec;
const UP: InstanceStatus = {
  instanceId: 'one',
  service: 'web',
  replica: 1,
  configHash: 'hash',
  state: 'RUNNING',
  restarts: 0,
  exitCode: null,
  startedAt: new Date(Date.now() - 2 * STABLE_MS).toISOString(),
  ports: [],
  pid: 1,
  reason: null,
};
const ENDED: InstanceStatus = { ...UP, state: 'EXITED', exitCode: 3, pid: null, reason: 'exited with code 3' };

it('should not take a service for up that has ended meanwhile, though that was not heard yet', async () => {
  const pool = { query: async () => ({ rows: [{ id: 'one', ...SPEC }] }) } as unknown as Pool;
  let heard = UP;
  let asked = 0;
  const list = async () => {
    // The news arrives after the second look.
    if (++asked === 2) heard = ENDED;
    return [ENDED];
  };
  const worker = {
    stack: { id: 'stack', environmentId: 'environment', stackId: 'stack', uid: null },
    runtime: { list } as unknown as Runtime,
    status: () => heard,
    until: async <T>(look: () => T | null) => look(),
  };
  const outcome = await waitFor(pool, worker, [SPEC], 'live', TIMEOUT_MS, new AbortController().signal);
  expect(outcome).toEqual({
    result: 'failed',
    reason: 'service web: exited with code 3 before it was up',
    started: true,
  });
  expect(asked).toBe(2);
});
