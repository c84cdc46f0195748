import type { PoolClient } from 'pg';
import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';
import type { Recorder } from '../lease-transaction.ts';
import { isFine } from './health.ts';
import { type InstanceRow, presentInstances, servicesDone } from './instances.ts';
import { touch, transition } from './records.ts';
import type { ServiceOutline } from './release.ts';
import { isLive } from './state.ts';

type Live = {
  id: string;
  status: DeploymentStatus;
  statusReason: string | null;
  outlines: Record<string, ServiceOutline>;
};

/** The live deployment of a stack, unless one is being worked on: then what runs is the roll-out's business. Locks the stack's row. */
async function undisturbedLive(client: PoolClient, stackEnvironmentId: string): Promise<Live | null> {
  const { rows } = await client.query<Live & { active: string | null }>(
    `select d.id, d.status::text as status, d.status_reason as "statusReason", r.config_hashes as outlines,
            se.active_deployment_id as active
     from stack_environments se join deployments d on d.id = se.live_deployment_id join releases r on r.id = d.release_id
     where se.id = $1 for no key update of se`,
    [stackEnvironmentId],
  );
  const live = rows[0];
  return live && live.active === null && isLive(live.status) ? live : null;
}

/** RUNNING or DEGRADED, by what the instances say. */
export async function reassess(client: PoolClient, record: Recorder, stackEnvironmentId: string): Promise<void> {
  const live = await undisturbedLive(client, stackEnvironmentId);
  if (!live) return;
  const trouble = await findTrouble(client, stackEnvironmentId, live.id, live.outlines);
  if (trouble === null && live.status === 'DEGRADED') {
    await transition(client, record, live.id, { to: 'RUNNING', reason: null });
  } else if (trouble !== null && live.status === 'RUNNING') {
    await transition(client, record, live.id, { to: 'DEGRADED', reason: trouble });
  } else if (trouble !== null && !live.statusReason?.endsWith(trouble)) {
    // What is said already may also say how it came: "deployment 2 could not be undone: …".
    await client.query('update deployments set status_reason = $2 where id = $1', [live.id, trouble]);
    await touch(client, record, [live.id]);
  }
}

/** What is wrong with what runs of a live deployment, in one sentence; null where all is well. */
export async function findTrouble(
  client: PoolClient,
  stackEnvironmentId: string,
  deploymentId: string,
  outlines: Record<string, ServiceOutline>,
): Promise<string | null> {
  const present = await presentInstances(client, stackEnvironmentId);
  // A job that is done may have been taken away by a deployment that was undone: it is not run again for that.
  const done = await servicesDone(client, stackEnvironmentId, deploymentId);
  const wanted = Object.entries(outlines).filter(([service]) => !done.has(service));
  return troubleOf(Object.fromEntries(wanted), present);
}

/** The first trouble of services by their instances. */
export function troubleOf(outlines: Record<string, ServiceOutline>, instances: readonly InstanceRow[]): string | null {
  for (const [service, { configHashes }] of Object.entries(outlines)) {
    const own = instances.filter((instance) => instance.service === service);
    const bad = own.find((instance) => !isFine(instance.state, instance.exitCode));
    const wanted = configHashes.map((_, index) => index + 1);
    const which = wanted.length > 1 ? ` (replica ${bad?.replica})` : '';
    if (bad) return `service ${service}${which}: ${bad.reason ?? `is ${bad.state.toLowerCase()}`}`;
    const missing = wanted.filter((number) => !own.some(({ replica }) => replica === number));
    if (missing.length > 0) return `service ${service}: ${missing.length} of ${wanted.length} replicas are missing`;
  }
  return null;
}
