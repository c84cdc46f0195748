import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Lease } from '../../src/engine/host-lease.ts';
import {
  cancelled,
  loadExecution,
  readExecution,
  storeAdvance,
  storeMove,
  storeSteps,
} from '../../src/modules/executions/ledger.ts';
import type { StepRow } from '../../src/modules/executions/procedure.ts';
import { newId } from '../../src/shared/ids.ts';
import { stepRow } from '../support/execution-rows.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

let tenants: Tenants;
let executionId: string;
beforeAll(async () => {
  tenants = await createTenants();
});
afterAll(async () => tenants?.[Symbol.asyncDispose]());
beforeEach(async () => {
  executionId = newId();
  const data = { id: executionId, organizationId: tenants.acme.id, kind: 'AGENT', definition: {} } as const;
  await tenants.database.prisma.execution.create({ data: { ...data, deadlineAt: new Date() } });
});

const store = (...steps: StepRow[]) => storeSteps(tenants.database.pool, executionId, steps);
const read = async () => (await readExecution(tenants.database.pool, executionId))!.steps;
const times = async () => {
  const orderBy = { position: 'asc' } as const;
  const rows = await tenants.database.prisma.executionStep.findMany({ where: { executionId }, orderBy });
  return rows.map(
    ({ key, startedAt, finishedAt }) => `${key}: ${startedAt ? 'began' : '–'}, ${finishedAt ? 'over' : '–'}`,
  );
};

describe('the steps of an execution', () => {
  it('should be read as they were stored', async () => {
    const approval = { message: 'May I?', role: 'ADMIN' } as const;
    const all = [
      stepRow({ key: 'a', state: 'SUCCEEDED', attempt: 2, dependsOn: [], output: { n: [1, null, 'x'] } }),
      stepRow({ key: 'b', position: 2, state: 'WAITING', dependsOn: ['a'], input: 'text', approval, wakeAt: 9e12 }),
      stepRow({ key: 'c', position: 3, state: 'RETRYING', attempt: 1, error: 'busy', wakeAt: 1_000, isDue: true }),
    ];
    await store(...all);
    expect(await read()).toMatchObject(all);
    const changed = { ...all[1]!, state: 'FAILED', error: 'no', wakeAt: null } as const;
    await store(changed);
    expect(await read()).toMatchObject([all[0], changed, all[2]]);
  });

  it('should hold whatever a model or a tool may say', async () => {
    const said = 'a\0b\ud800 \\u0000 \u{1f600}';
    const kept = 'a\ufffdb\ufffd \\u0000 \u{1f600}';
    await store(stepRow({ state: 'FAILED', error: said, output: { [said]: said }, input: [said] }));
    expect(await read()).toMatchObject([{ error: kept, output: { [kept]: kept }, input: [kept] }]);
  });

  it('should have begun only where they did', async () => {
    const states = ['PENDING', 'RUNNING', 'WAITING', 'SKIPPED', 'SUCCEEDED'] as const;
    await store(...states.map((state, index) => stepRow({ key: state, position: index + 1, state })));
    await store(...cancelled(await read()));
    expect(await times()).toEqual([
      'PENDING: –, over',
      'RUNNING: began, over',
      'WAITING: began, over',
      'SKIPPED: –, over',
      'SUCCEEDED: began, over',
    ]);
  });
});

describe('an execution that waits for another one', () => {
  it('should not be written over by who read it before that one ended', async () => {
    const { prisma, pool } = tenants.database;
    const { id: hostId, epoch } = await prisma.host.findFirstOrThrow();
    const lease: Lease = { hostId, epoch, signal: new AbortController().signal };
    await prisma.execution.update({
      where: { id: executionId },
      data: { status: 'RUNNING', hostId, hostEpoch: epoch },
    });
    const waiting = stepRow({ key: 'child', state: 'RUNNING', attempt: 1 });
    await store(waiting);
    const childId = newId();
    const child = { id: childId, organizationId: tenants.acme.id, kind: 'AGENT', definition: {} } as const;
    const parent = { parentId: executionId, parentStep: 'child' };
    await prisma.execution.create({ data: { ...child, ...parent, status: 'RUNNING', deadlineAt: new Date() } });
    const before = await loadExecution(pool, lease, executionId);
    const ended = (await readExecution(pool, childId))!;
    const record = { event: () => undefined, wake: () => undefined };
    await storeMove(pool, record, ended.execution, { to: 'COMPLETED', output: 42 });
    const late = storeAdvance(pool, lease, before.execution, [{ ...waiting, state: 'WAITING' }], { to: 'WAITING' });
    expect(await late).toBe(false);
    expect(await read()).toMatchObject([{ state: 'RUNNING', output: { status: 'COMPLETED', output: 42 } }]);
  });
});
