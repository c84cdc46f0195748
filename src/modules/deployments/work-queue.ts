import type { Pool } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import { fenced } from '../lease-transaction.ts';
import { type InstanceRow, instanceColumns } from './instances.ts';

/** What a deployment that was taken over gets at least. */
const TAKEOVER_SECONDS = 900;

/** A deployment that is to be worked on now. */
export type Work = { deploymentId: string; status: string };

/**
 * Gives every idle stack of the host its next deployment, the queued one of the lowest number, and returns all that are to be
 * worked on now.
 */
export async function claimWork(pool: Pool, lease: Lease): Promise<Work[]> {
  return fenced(pool, lease, async (client) => {
    // Whatever left one that is over must not keep the next from its turn.
    await client.query(
      `update stack_environments se set active_deployment_id = null from deployments d, environments e
       where d.id = se.active_deployment_id and d.finished_at is not null and e.id = se.environment_id and e.host_id = $1`,
      [lease.hostId],
    );
    // Held before the choice is made: a cancel that comes between would otherwise leave a stack busy with what is over.
    await client.query(
      `select 1 from stack_environments se join environments e on e.id = se.environment_id
       where e.host_id = $1 and se.active_deployment_id is null
         and exists (select 1 from deployments d where d.stack_environment_id = se.id and d.status = 'QUEUED')
       order by se.id for no key update of se`,
      [lease.hostId],
    );
    await client.query(
      `update stack_environments se set active_deployment_id = next.id
       from (select distinct on (d.stack_environment_id) d.id, d.stack_environment_id
             from deployments d join environments e on e.id = d.environment_id
             where e.host_id = $1 and d.status = 'QUEUED' order by d.stack_environment_id, d.number) next
       where se.id = next.stack_environment_id and se.active_deployment_id is null`,
      [lease.hostId],
    );
    // Taken over from an earlier holder: nobody worked on it for a while, and that does not count.
    await client.query(
      `update deployments d
         set epoch = $2, deadline_at = greatest(d.deadline_at, now() + make_interval(secs => $3))
       from stack_environments se, environments e
       where se.active_deployment_id = d.id and e.id = se.environment_id and e.host_id = $1 and d.epoch < $2`,
      [lease.hostId, lease.epoch, TAKEOVER_SECONDS],
    );
    const { rows } = await client.query<Work>(
      `select d.id as "deploymentId", d.status::text as status
       from stack_environments se join deployments d on d.id = se.active_deployment_id
       join environments e on e.id = se.environment_id where e.host_id = $1`,
      [lease.hostId],
    );
    return rows;
  });
}

/** Instances of deployments that are over, in stacks that nobody works on: a workflow that broke for good left them running. */
export async function leftBehind(
  pool: Pool,
  hostId: string,
): Promise<Array<InstanceRow & { stackEnvironmentId: string }>> {
  const { rows } = await pool.query<InstanceRow & { stackEnvironmentId: string }>(
    `select ${instanceColumns('i')}, i.stack_environment_id as "stackEnvironmentId"
     from instances i join deployments d on d.id = i.deployment_id
     join stack_environments se on se.id = i.stack_environment_id join environments e on e.id = se.environment_id
     where e.host_id = $1 and i.removed_at is null and d.finished_at is not null and se.active_deployment_id is null`,
    [hostId],
  );
  return rows;
}
