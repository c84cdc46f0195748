import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ExecutionStatus } from '../../src/db/generated/prisma/enums.ts';
import { removeEndedExecutions } from '../../src/modules/executions/retention.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

const LONG_AGO = new Date('2020-01-01T00:00:00Z');
const BEFORE = new Date('2025-01-01T00:00:00Z');

let tenants: Tenants;
beforeAll(async () => {
  tenants = await createTenants();
});
afterAll(() => tenants?.[Symbol.asyncDispose]());

async function execution(status: ExecutionStatus, endedAt: Date | null, more: { continuesId?: string } = {}) {
  const id = newId();
  const { prisma, pool } = tenants.database;
  const times = { createdAt: LONG_AGO, deadlineAt: LONG_AGO, finishedAt: endedAt };
  const about = { organizationId: tenants.acme.id, kind: 'AGENT', definition: {}, status, ...times, ...more } as const;
  await prisma.execution.create({ data: { id, ...about } });
  await prisma.executionStep.create({ data: { id: newId(), executionId: id, key: 'a', kind: 'turn', position: 1 } });
  await pool.query(
    `insert into execution_output (execution_id, sequence, step, attempt, text) values ($1, 1, 'a', 1, 'x')`,
    [id],
  );
  return id;
}

const left = async (table: string, column: string) => {
  const { rows } = await tenants.database.pool.query(`select ${column} as id from ${table} order by 1`);
  return rows.map(({ id }) => id as string);
};

it('should take what ended before, with all that is part of it, and nothing that is not over', async () => {
  const open = await execution('WAITING', null);
  const young = await execution('FAILED', BEFORE);
  // More than one batch.
  await Promise.all(Array.from({ length: 120 }, () => execution('COMPLETED', LONG_AGO)));
  expect(await removeEndedExecutions(tenants.database.pool, BEFORE)).toBe(120);
  for (const [table, column] of [
    ['executions', 'id'],
    ['execution_steps', 'execution_id'],
    ['execution_output', 'execution_id'],
  ] as const)
    expect(await left(table, column)).toEqual([open, young].toSorted());
});

it('should keep the beginning of a conversation as long as what goes on with it', async () => {
  const first = await execution('COMPLETED', LONG_AGO);
  const second = await execution('COMPLETED', LONG_AGO, { continuesId: first });
  const third = await execution('COMPLETED', BEFORE, { continuesId: second });
  expect(await removeEndedExecutions(tenants.database.pool, BEFORE)).toBe(0);
  const after = new Date(BEFORE.getTime() + 1);
  expect(await left('executions', 'id')).toEqual(expect.arrayContaining([first, second, third]));
  await removeEndedExecutions(tenants.database.pool, after);
  const ids = await left('executions', 'id');
  for (const id of [first, second, third]) expect(ids).not.toContain(id);
});
