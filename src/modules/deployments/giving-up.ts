import type { Pool, PoolClient } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import { fenced, type Recorder } from '../lease-transaction.ts';
import { insertInstance, presentInstances, servicesDone } from './instances.ts';
import { lockStack, transition } from './records.ts';
import type { ReleaseStore } from './release-store.ts';
import type { DeploymentTask } from './task.ts';

export type GivenUp = { deploymentId: string; isStop: boolean; reason: string };

/**
 * Ends a deployment whose work cannot be done. What it left is taken away later, since no deployment has a claim on it any more; what ran
 * before and is gone gets rows, by which it is started again once that is possible. `task` null: nothing ran before that is to come back.
 */
export async function giveUp(
  { pool, releases }: { pool: Pool; releases: ReleaseStore },
  lease: Lease,
  { deploymentId, isStop, reason }: GivenUp,
  task: DeploymentTask | null,
): Promise<void> {
  const former =
    task?.autoRollback && !isStop && task.liveReleaseId
      ? (await releases.read(task.liveReleaseId)).specs.services.flatMap(({ replicas }) => replicas)
      : [];
  await fenced(pool, lease, async (client, record) => {
    if (task) await lockStack(client, task.stackEnvironmentId);
    const { rows } = await client.query<{ status: string }>(
      'select status::text as status from deployments where id = $1',
      [deploymentId],
    );
    const to = isStop ? 'DEGRADED' : rows[0]?.status === 'CANCELLING' ? 'CANCELLED' : 'FAILED';
    await transition(client, record, deploymentId, { to, reason });
    if (task?.liveDeploymentId && task.liveReleaseId) await noteMissing(client, record, task, former);
    await client.query('update stack_environments set active_deployment_id = null where active_deployment_id = $1', [
      deploymentId,
    ]);
  });
}

async function noteMissing(
  client: PoolClient,
  record: Recorder,
  task: DeploymentTask,
  former: Parameters<typeof insertInstance>[3]['spec'][],
): Promise<void> {
  const [deploymentId, releaseId] = [task.liveDeploymentId!, task.liveReleaseId!];
  const present = await presentInstances(client, task.stackEnvironmentId);
  const done = await servicesDone(client, task.stackEnvironmentId, deploymentId);
  for (const spec of former) {
    const { service, replica, configHash } = spec;
    const isThere = present.some(
      (row) => row.service === service && row.replica === replica && row.configHash === configHash,
    );
    if (isThere || done.has(service)) continue;
    await insertInstance(client, record, task.stackEnvironmentId, { deploymentId, releaseId, spec });
  }
}
