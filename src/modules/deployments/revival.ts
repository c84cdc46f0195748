import type { Pool } from 'pg';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import { type InstanceRow, isForgotten, presentInstances, replaceInstance, type StackHandle } from './instances.ts';
import { reassess } from './live-state.ts';
import { fenced, lockStack, touch } from './records.ts';
import type { ReleaseStore } from './release-store.ts';

/** What is said of an instance of which the runtime knows nothing any more. */
const FORGOTTEN = 'nothing is left of it on its host';

/**
 * A supervisor that was killed, or a host that restarted, leaves instances whose end nobody saw: those that their restart policy keeps up
 * run again, as new instances. It goes by the table of instances, so whatever interrupts it, the next run goes on. Returns whether it
 * changed anything: then it is worth another look. Does nothing while a deployment is being worked on.
 */
export async function reviveLost(deps: { pool: Pool; releases: ReleaseStore }, handle: StackHandle): Promise<boolean> {
  const { pool, releases } = deps;
  const { rows } = await pool.query<{ live: string | null; active: string | null }>(
    'select live_deployment_id as live, active_deployment_id as active from stack_environments where id = $1',
    [handle.stack.id],
  );
  if (!rows[0]?.live || rows[0].active) return false;
  const { live } = rows[0];
  const lost = (await presentInstances(pool, handle.stack.id)).filter(
    (row) => row.deploymentId === live && isLost(row, handle.status(row.id)),
  );
  const errors: unknown[] = [];
  let changed = false;
  for (const row of lost) {
    const { specs } = await releases.read(row.releaseId);
    const spec = specs.services.find(({ name }) => name === row.service)?.replicas[row.replica - 1];
    try {
      if (spec && spec.restart.name !== 'no') changed = (await replaceInstance(pool, handle, row, spec)) || changed;
      // What the runtime does tell of an end is stored with its own reason, by the worker.
      else if (row.state !== 'EXITED' && isForgotten(handle.status(row.id)))
        changed = (await storeEnd(pool, handle, row)) || changed;
    } catch (error) {
      // One that cannot be started does not keep the others from it.
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
  return changed;
}

/** Whether an instance is gone without anybody having seen how it ended. */
export function isLost(row: Pick<InstanceRow, 'state' | 'exitCode'>, status: InstanceStatus | undefined): boolean {
  if (status && !isForgotten(status)) return status.state === 'EXITED' && status.exitCode === null;
  return row.state !== 'EXITED' || row.exitCode === null;
}

/** Takes over that an instance is gone which the runtime does not know. Returns whether that is news. */
function storeEnd(pool: Pool, handle: StackHandle, row: InstanceRow): Promise<boolean> {
  return fenced(pool, handle.lease, async (client, record) => {
    await lockStack(client, handle.stack.id);
    const stored = await client.query(
      `update instances set state = 'EXITED', exit_code = null, reason = $2 where id = $1 and removed_at is null`,
      [row.id, FORGOTTEN],
    );
    if (!stored.rowCount) return false;
    await touch(client, record, [row.deploymentId]);
    await reassess(client, record, handle.stack.id);
    return true;
  });
}
