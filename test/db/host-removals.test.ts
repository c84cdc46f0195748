import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Lease } from '../../src/engine/host-lease.ts';
import { HostRemovals, REMOVAL_RETRY_MS } from '../../src/modules/deployments/host-removals.ts';
import { freeIdlePorts } from '../../src/modules/deployments/idle-ports.ts';
import { serviceUid } from '../../src/modules/deployments/service-uid.ts';
import type { ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import { RuntimeError, type StackRef } from '../../src/runtimes/runtime.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { ProcessPlace } from '../runtimes/process-place.ts';
import { shell } from '../runtimes/stack-driver.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

const EPOCH = 7;
const hostId = newId();
const lease: Lease = { hostId, epoch: EPOCH, signal: new AbortController().signal };
let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  const host = { id: hostId, machineId: 'test', runtimeDirectory: '/nowhere', name: 'test', epoch: EPOCH };
  await database.prisma.host.create({ data: host });
});
afterAll(() => database[Symbol.asyncDispose]());

describe('removals from a host', () => {
  const place = new ProcessPlace();
  let runtime: ProcessRuntime;
  let failures = 0;
  let now = new Date();
  beforeAll(async () => {
    runtime = await place.open();
    const remove = runtime.removeStack.bind(runtime);
    runtime.removeStack = async (...args) => {
      if (failures-- > 0) throw new RuntimeError('the disk does not answer');
      await remove(...args);
    };
  });
  afterAll(async () => {
    await runtime.close();
    await place.dispose();
  });

  /** A stack with a running service whose rows were deleted: its service's directory. */
  async function leaveBehind(): Promise<{ stack: StackRef; root: string }> {
    const uidOffset = 1;
    const stack = { ...place.newStack(), uid: serviceUid(uidOffset) };
    await runtime.start(stack, shell('web', 'exec sleep 1000'), EPOCH);
    const { id: stackEnvironmentId, environmentId, stackId } = stack;
    await database.prisma.stackRemoval.create({
      data: { stackEnvironmentId, environmentId, stackId, hostId, uidOffset },
    });
    return { stack, root: runtime.serviceRoot(stack, 'web') };
  }

  const noted = () => database.prisma.stackRemoval.count();
  const holder = () =>
    new HostRemovals({ pool: database.pool, runtime, log: createLogger('silent') }, lease, { now: () => now });

  it('should let go of a stack before they begin, and be tried again a while after a failure', async () => {
    const { stack, root } = await leaveBehind();
    const released: string[] = [];
    const letGo = async (id: string) => void released.push(id);
    const removals = holder();
    failures = 1;
    await removals.take(letGo);
    expect(released).toEqual([stack.id]);
    await removals.close();
    expect([existsSync(root), await noted()]).toEqual([true, 1]);

    await removals.take(letGo);
    await removals.close();
    expect([existsSync(root), await noted()]).toEqual([true, 1]);
    now = new Date(now.getTime() + REMOVAL_RETRY_MS);
    await removals.take(letGo);
    await eventually('the removal', async () => (await noted()) === 0);
    expect(existsSync(root)).toBe(false);
  });

  it('should be finished by the next holder of the lease, from whatever point on', async () => {
    const { stack, root } = await leaveBehind();
    for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, EPOCH);
    await runtime.removeStack(stack, { volumes: true }, EPOCH);
    await runtime.forgetStack(stack, EPOCH);
    await holder().take(async () => undefined);
    await eventually('the removal', async () => (await noted()) === 0);
    expect(existsSync(root)).toBe(false);
  });

  it('should leave the row alone once another holder has the lease', async () => {
    await leaveBehind();
    await database.prisma.host.update({ where: { id: hostId }, data: { epoch: EPOCH + 1 } });
    const removals = holder();
    await removals.take(async () => undefined);
    await removals.close();
    expect(await noted()).toBe(1);
    await database.prisma.host.update({ where: { id: hostId }, data: { epoch: EPOCH } });
  });
});

describe('reserved ports', () => {
  const port = (published: number, protocol = 'tcp') => ({ target: 80, published, host: '0.0.0.0', protocol });
  // Only what is looked at is made here, not the whole domain around it.
  beforeAll(() =>
    database.pool.query(`do $$ declare one record; begin
      for one in select conrelid::regclass as of, conname from pg_constraint where contype = 'f' and conrelid in
        ('stack_environments'::regclass, 'deployments'::regclass, 'releases'::regclass, 'instances'::regclass)
      loop execute format('alter table %s drop constraint %I', one.of, one.conname); end loop;
    end $$`),
  );

  async function addStack(reserved: object[], { active = false, live = [] as object[] } = {}): Promise<string> {
    const [id, releaseId, liveId] = [newId(), newId(), newId()];
    await database.pool.query(
      `insert into stack_environments (id, stack_id, environment_id, active_deployment_id, live_deployment_id)
       values ($1, $2, $3, $4, $5)`,
      [id, newId(), newId(), active ? newId() : null, live.length > 0 ? liveId : null],
    );
    await database.pool.query(
      `insert into releases (id, stack_version_id, specs, secrets, ports, config_hashes) values ($1, $2, '', '{}', $3, '{}')`,
      [releaseId, newId(), JSON.stringify({ web: [live] })],
    );
    await database.pool.query(
      `insert into deployments (id, organization_id, stack_id, stack_version_id, environment_id, stack_environment_id, number,
                                release_id, status, live_at)
       values ($1, $2, $3, $4, $5, $6, 1, $7, 'RUNNING', now())`,
      [liveId, newId(), newId(), newId(), newId(), id, releaseId],
    );
    await database.pool.query(
      `insert into port_reservations (host_id, port, protocol, stack_environment_id)
       select $1, published, protocol, $2 from jsonb_to_recordset($3::jsonb) as given(published int, protocol text)`,
      [hostId, id, JSON.stringify(reserved)],
    );
    return id;
  }

  async function addInstance(stackEnvironmentId: string, bound: object, removed: boolean): Promise<void> {
    await database.pool.query(
      `insert into instances (id, stack_environment_id, deployment_id, release_id, service, replica, config_hash, ports, removed_at)
       values ($1, $2, $3, $4, 'web', 1, 'x', $5, case when $6 then now() end)`,
      [newId(), stackEnvironmentId, newId(), newId(), JSON.stringify([bound]), removed],
    );
  }

  it('should be given back where neither what is live, nor an instance, nor work under way has them', async () => {
    await addStack([port(5001)]);
    await addStack([port(5002)], { active: true });
    await addStack([port(5003), port(5003, 'udp'), port(5004)], { live: [port(5003), port(5005)] });
    const broken = await addStack([port(5006), port(5007)]);
    await addInstance(broken, port(5006), false);
    await addInstance(broken, port(5007), true);
    await freeIdlePorts(database.pool, lease);
    const { rows } = await database.pool.query(
      `select port || '/' || protocol as kept from port_reservations order by port, protocol`,
    );
    expect(rows.map(({ kept }) => kept)).toEqual(['5002/tcp', '5003/tcp', '5006/tcp']);
  });
});
