import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Lease } from '../../src/engine/host-lease.ts';
import { claimExecutions } from '../../src/modules/executions/claim.ts';
import { addExecution } from '../../src/modules/executions/requests.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

const EXECUTIONS = 150;
const HOSTS = 6;

let tenants: Tenants;
beforeAll(async () => {
  tenants = await createTenants();
});
afterAll(async () => tenants?.[Symbol.asyncDispose]());

const newHost = async (name: string): Promise<Lease> => {
  const hostId = newId();
  const leaseExpiresAt = new Date(Date.now() + 60_000);
  const row = { id: hostId, machineId: name, runtimeDirectory: '/nowhere', name, epoch: 1, leaseExpiresAt };
  await tenants.database.prisma.host.create({ data: row });
  return { hostId, epoch: 1, signal: new AbortController().signal };
};
const queue = async (count: number): Promise<void> => {
  const { database, acme } = tenants;
  const row = { organizationId: acme.id, kind: 'AGENT', definition: {}, deadlineAt: new Date() } as const;
  const data = Array.from({ length: count }, () => ({ ...row, id: newId() }));
  await database.prisma.execution.createMany({ data });
};

describe('claiming executions', () => {
  it('should not count the time in which they wait for their turn', async () => {
    const { prisma, pool } = tenants.database;
    const values = { id: newId(), organizationId: tenants.acme.id, kind: 'AGENT', definition: {} } as const;
    await prisma.$transaction((tx) => addExecution(tx, { ...values, timeoutSeconds: 60 }, { event: () => undefined }));
    await pool.query(
      `update executions set deadline_at = deadline_at - interval '1 hour', waiting_since = waiting_since - interval '1 hour' where id = $1`,
      [values.id],
    );
    expect(await claimExecutions(pool, await newHost('late'), 1)).toEqual([values.id]);
    const claimed = await prisma.execution.findUniqueOrThrow({ where: { id: values.id } });
    expect(claimed.deadlineAt.getTime() - claimed.startedAt!.getTime()).toBeGreaterThan(50_000);
  });

  it('should leave those of an organization that is held back, unless they are to be cancelled', async () => {
    const { database, acme } = tenants;
    const row = { organizationId: acme.id, kind: 'AGENT', definition: {}, deadlineAt: new Date() } as const;
    const cancelled = { ...row, id: newId(), status: 'CANCELLING' } as const;
    const rows = [{ ...row, id: newId() }, { ...row, id: newId(), status: 'WAITING', wakeAt: new Date(0) } as const];
    await database.prisma.execution.createMany({ data: [...rows, cancelled] });
    const lease = await newHost('held back');
    expect(await claimExecutions(database.pool, lease, 9, [acme.id])).toEqual([cancelled.id]);
    const others = await claimExecutions(database.pool, lease, 9, [newId()]);
    expect(others.toSorted()).toEqual(rows.map(({ id }) => id).toSorted());
  });

  it('should give each of them to one host alone, however many ask at once', async () => {
    const leases = await Promise.all(Array.from({ length: HOSTS }, (_, index) => newHost(`host ${index}`)));
    await queue(EXECUTIONS);
    const claimed: string[] = [];
    const work = async (lease: Lease) => {
      for (let ids = [''], idle = 0; idle < 3; idle = ids.length === 0 ? idle + 1 : 0) {
        ids = await claimExecutions(tenants.database.pool, lease, 1);
        claimed.push(...ids);
      }
    };
    await Promise.all(leases.map(work));
    expect(claimed.length).toBe(EXECUTIONS);
    expect(new Set(claimed).size).toBe(EXECUTIONS);
  });
});
