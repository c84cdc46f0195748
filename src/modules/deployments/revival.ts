import type { Pool } from 'pg';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import { fenced } from '../lease-transaction.ts';
import { type InstanceRow, isForgotten, presentInstances, replaceInstance, type StackHandle } from './instances.ts';
import { reassess } from './live-state.ts';
import { lockStack, touch } from './records.ts';
import type { ReplicaSpec } from './release.ts';
import type { ReleaseStore } from './release-store.ts';

/** What is said of an instance of which the runtime knows nothing any more. */
const FORGOTTEN = 'nothing is left of it on its host';

/**
 * A supervisor that was killed, or a host that restarted, leaves instances whose end nobody saw: those that their restart policy keeps up
 * run again, as new instances, and with them what shares their namespaces. It goes by the table of instances, so whatever interrupts it,
 * the next run goes on. Returns whether it changed anything: then it is worth another look. Does nothing while a deployment is being
 * worked on.
 */
export async function reviveLost(deps: { pool: Pool; releases: ReleaseStore }, handle: StackHandle): Promise<boolean> {
  const { pool, releases } = deps;
  const { rows: stacks } = await pool.query<{ live: string | null; active: string | null }>(
    'select live_deployment_id as live, active_deployment_id as active from stack_environments where id = $1',
    [handle.stack.id],
  );
  const [stack] = stacks;
  if (!stack?.live || stack.active) return false;
  const { live } = stack;
  const present = async () =>
    (await presentInstances(pool, handle.stack.id)).filter(({ deploymentId }) => deploymentId === live);
  const specOf = async (row: InstanceRow) => {
    const { specs } = await releases.read(row.releaseId);
    return specs.services.find(({ name }) => name === row.service)?.replicas[row.replica - 1];
  };
  const errors: unknown[] = [];
  let changed = false;
  const before = await present();
  for (const row of before.filter((each) => isLost(each, handle.status(each.id)))) {
    try {
      const spec = await specOf(row);
      if (isKeptUp(spec)) changed = (await replaceInstance(pool, handle, row, spec)) || changed;
      // What the runtime does tell of an end is stored with its own reason, by the worker.
      else if (row.state !== 'EXITED' && isForgotten(handle.status(row.id)))
        changed = (await storeEnd(pool, handle, row)) || changed;
    } catch (error) {
      // One that cannot be started does not keep the others from it.
      errors.push(error);
    }
  }
  const rows = changed ? await present() : before;
  for (const row of rows) {
    const spec = await specOf(row);
    if (row.state === 'EXITED' || !isKeptUp(spec) || !isStranded(row, spec, rows)) continue;
    changed = (await replaceInstance(pool, handle, row, spec)) || changed;
  }
  if (errors.length > 0) throw errors[0];
  return changed;
}

function isKeptUp(spec: ReplicaSpec | undefined): spec is ReplicaSpec {
  return spec !== undefined && spec.restart.name !== 'no';
}

/** Whether an instance is older than one whose namespaces or volumes it shares: it holds those of that one's predecessor. */
function isStranded(row: InstanceRow, { container }: ReplicaSpec, oldestFirst: readonly InstanceRow[]): boolean {
  const newer = oldestFirst.slice(oldestFirst.indexOf(row) + 1);
  return newer.some(({ service, replica }) => replica === 1 && container?.joined?.[service] !== undefined);
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
