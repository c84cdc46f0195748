import type { Pool, PoolClient } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import type { SqlExecutor } from '../../realtime/sql.ts';
import type { InstanceStatus, PortBinding, Runtime, StackRef } from '../../runtimes/runtime.ts';
import { newId } from '../../shared/ids.ts';
import { fenced, type Recorder } from '../lease-transaction.ts';
import { lockStack, touch } from './records.ts';
import type { ReplicaSpec } from './release.ts';

/** An instance that was started, or is about to be, and not taken away yet. */
export type InstanceRow = {
  id: string;
  deploymentId: string;
  releaseId: string;
  service: string;
  replica: number;
  configHash: string;
  state: InstanceStatus['state'] | 'PENDING';
  exitCode: number | null;
  reason: string | null;
  ports: PortBinding[];
};

/** The columns of an InstanceRow, for a query that calls the table `alias`. */
export const instanceColumns = (alias: string): string =>
  `${alias}.id, ${alias}.deployment_id as "deploymentId", ${alias}.release_id as "releaseId", ${alias}.service, ${alias}.replica,
   ${alias}.config_hash as "configHash", ${alias}.state::text as state, ${alias}.exit_code as "exitCode", ${alias}.reason, ${alias}.ports`;

/** What starting and stopping needs to know of the stack: its worker. */
export type StackHandle = {
  stack: StackRef;
  lease: Lease;
  runtime: Runtime;
  /** What the runtime last said of an instance. */
  status(instanceId: string): InstanceStatus | undefined;
  /** Takes a status over, without the secrets that its reason may name, before the runtime tells it. */
  note(status: InstanceStatus): Promise<InstanceStatus>;
  /** Takes over what a start answered, unless the runtime told something newer meanwhile; returns the newest. */
  noteStart(status: InstanceStatus): Promise<InstanceStatus>;
  /** Resolves when every line that a stopped instance has written is stored. */
  drain(instanceId: string): Promise<void>;
};

/** The instances of a stack that are not gone, oldest first. */
export async function presentInstances(database: SqlExecutor, stackEnvironmentId: string): Promise<InstanceRow[]> {
  const { rows } = await database.query<InstanceRow>(
    `select ${instanceColumns('i')} from instances i
     where i.stack_environment_id = $1 and i.removed_at is null order by i.created_at, i.id`,
    [stackEnvironmentId],
  );
  return rows;
}

/** Keeps the instances of a stack from being changed, and lines of theirs from being stored, until the transaction ends. */
export async function lockInstances(client: PoolClient, stackEnvironmentId: string): Promise<void> {
  await client.query(
    'select 1 from instances where stack_environment_id = $1 and removed_at is null order by id for no key update',
    [stackEnvironmentId],
  );
}

/** Services of a deployment that ended without an error: jobs that are done, whether or not something is left of them. */
export async function servicesDone(
  database: SqlExecutor,
  stackEnvironmentId: string,
  deploymentId: string,
): Promise<Set<string>> {
  const { rows } = await database.query<{ service: string }>(
    `select service from (
       select distinct on (service, replica) service, state = 'EXITED' and exit_code = 0 as done from instances
       where stack_environment_id = $1 and deployment_id = $2 order by service, replica, created_at desc, id desc
     ) newest group by service having bool_and(done)`,
    [stackEnvironmentId, deploymentId],
  );
  return new Set(rows.map(({ service }) => service));
}

/**
 * Starts one replica of a release, once: the row with the instance's id is stored first, so that after a crash the same id is asked
 * of the runtime again, which starts no id twice while it knows it.
 */
export async function startReplica(pool: Pool, handle: StackHandle, wanted: WantedInstance): Promise<InstanceStatus> {
  const instanceId = await storeReplica(pool, handle, wanted);
  return handle.noteStart(await handle.runtime.start(handle.stack, { ...wanted.spec, instanceId }, handle.lease.epoch));
}

/** Makes a replica ready to be started in the place of what still runs. What an engine refuses to make has cost nothing then. */
export async function createReplica(pool: Pool, handle: StackHandle, wanted: WantedInstance): Promise<void> {
  const instanceId = await storeReplica(pool, handle, wanted);
  await handle.runtime.create(handle.stack, { ...wanted.spec, instanceId }, handle.lease.epoch);
}

/** A row whose instance was taken away already, by somebody who could not record that any more, makes way for a new one. */
function storeReplica(pool: Pool, handle: StackHandle, wanted: WantedInstance): Promise<string> {
  const { deploymentId, releaseId, spec } = wanted;
  return fenced(pool, handle.lease, async (client, record) => {
    const { rows } = await client.query<{ id: string; ran: boolean }>(
      `select id, started_at is not null as ran from instances
       where stack_environment_id = $1 and deployment_id = $2 and release_id = $3 and service = $4 and replica = $5 and removed_at is null`,
      [handle.stack.id, deploymentId, releaseId, spec.service, spec.replica],
    );
    const [stored] = rows;
    if (stored && !(stored.ran && isForgotten(handle.status(stored.id)))) return stored.id;
    if (stored) await client.query(REMOVE, [stored.id]);
    return insertInstance(client, record, handle.stack.id, wanted);
  });
}

/** Whether the runtime has nothing of an instance any more. */
export function isForgotten(status: InstanceStatus | undefined): boolean {
  return status === undefined || status.state === 'STOPPED';
}

type WantedInstance = { deploymentId: string; releaseId: string; spec: ReplicaSpec };

/** The row of an instance that is to be started. */
export async function insertInstance(
  client: PoolClient,
  record: Recorder,
  stackEnvironmentId: string,
  { deploymentId, releaseId, spec }: WantedInstance,
): Promise<string> {
  const { service, replica, configHash, ports } = spec;
  const id = newId();
  await client.query(
    `insert into instances (id, stack_environment_id, deployment_id, release_id, service, replica, config_hash, state, ports)
     values ($1, $2, $3, $4, $5, $6, $7, 'STARTING', $8)`,
    [id, stackEnvironmentId, deploymentId, releaseId, service, replica, configHash, JSON.stringify(ports)],
  );
  await touch(client, record, [deploymentId]);
  return id;
}

/**
 * Starts a replica anew in the place of an instance of a live deployment that is gone: the new row comes together with the end of the old
 * one, so that at no moment the replica is missing. Returns false where a deployment is being worked on, or somebody took it away.
 */
export async function replaceInstance(
  pool: Pool,
  handle: StackHandle,
  row: InstanceRow,
  spec: ReplicaSpec,
): Promise<boolean> {
  const { deploymentId, releaseId } = row;
  // Stored by somebody who could not start it any more: it still can be.
  if (row.state === 'STARTING' && handle.status(row.id) === undefined) {
    await startReplica(pool, handle, { deploymentId, releaseId, spec });
    return true;
  }
  const before = handle.status(row.id);
  // Its last lines may be stored later: the deployment that they belong to goes on.
  await handle.runtime.stop(handle.stack, row.id, handle.lease.epoch);
  const instanceId = await fenced(pool, handle.lease, async (client, record) => {
    await lockStack(client, handle.stack.id);
    if (before?.state === 'EXITED') await storeStatuses(client, record, [before]);
    const removed = await client.query(
      `${REMOVE} and not exists (select 1 from stack_environments se
         where se.id = stack_environment_id and se.active_deployment_id is not null)`,
      [row.id],
    );
    if (!removed.rowCount) return null;
    return insertInstance(client, record, handle.stack.id, { deploymentId, releaseId, spec });
  });
  if (instanceId === null) return false;
  await handle.noteStart(await handle.runtime.start(handle.stack, { ...spec, instanceId }, handle.lease.epoch));
  return true;
}

const REMOVE = `update instances set removed_at = now(), state = case when state = 'EXITED' then state else 'STOPPED' end
  where id = $1 and removed_at is null`;

/** Stops an instance for good: afterwards nothing of it runs, and all that it wrote is stored. */
export async function retire(pool: Pool, handle: StackHandle, row: InstanceRow): Promise<void> {
  const before = handle.status(row.id);
  await handle.runtime.stop(handle.stack, row.id, handle.lease.epoch);
  await handle.drain(row.id);
  await fenced(pool, handle.lease, async (client, record) => {
    // How it ended by itself may not be stored yet.
    if (before?.state === 'EXITED') await storeStatuses(client, record, [before]);
    const removed = await client.query(REMOVE, [row.id]);
    if (removed.rowCount) await touch(client, record, [row.deploymentId]);
  });
}

/** Takes over what the runtime says of instances. What ended by itself stays so when it is taken away. */
export async function storeStatuses(
  client: PoolClient,
  record: Recorder,
  statuses: readonly InstanceStatus[],
): Promise<void> {
  const changed = new Set<string>();
  for (const status of statuses) {
    const { rows } = await client.query<{ deployment_id: string }>(
      `update instances set state = $2::text::"ServiceState", restarts = $3, exit_code = $4, reason = $5, started_at = $6
       where id = $1 and removed_at is null and not (state = 'EXITED' and $2 = 'STOPPED') and (state::text, restarts, exit_code, reason, started_at)
             is distinct from ($2::text, $3::int, $4::int, $5::text, $6::timestamptz(3))
       returning deployment_id`,
      [status.instanceId, status.state, status.restarts, status.exitCode, status.reason, status.startedAt],
    );
    if (rows[0]) changed.add(rows[0].deployment_id);
  }
  await touch(client, record, [...changed]);
}
