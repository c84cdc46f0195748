import { expect, it } from 'vitest';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import { StackWorker } from './stack-worker.ts';

const STATUS: InstanceStatus = {
  instanceId: 'one',
  service: 'web',
  replica: 1,
  configHash: 'hash',
  state: 'STARTING',
  restarts: 0,
  exitCode: null,
  startedAt: null,
  ports: [],
  pid: 1,
  reason: null,
};

function workerOf(): StackWorker {
  // Statuses without a reason need neither database nor runtime.
  const none = { runtime: { logsBy: 'stack' } } as ConstructorParameters<typeof StackWorker>[0];
  const stack = { id: 'stack', environmentId: 'environment', stackId: 'stack', uid: null };
  return new StackWorker(none, stack, { hostId: 'host', epoch: 1, signal: new AbortController().signal });
}

it('should not let the late answer to a start hide what the runtime told since', async () => {
  const worker = workerOf();
  const told = worker.note({ ...STATUS, state: 'HEALTHY' });
  expect(await worker.noteStart(STATUS)).toMatchObject({ state: 'HEALTHY' });
  await told;
  expect(worker.status('one')).toMatchObject({ state: 'HEALTHY' });
});

it('should know an instance by the answer to its start, before the runtime tells anything', async () => {
  const worker = workerOf();
  await worker.noteStart(STATUS);
  expect(worker.status('one')).toMatchObject({ state: 'STARTING' });
});
