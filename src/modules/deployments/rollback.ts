import type { Transaction } from '../../db/client.ts';
import type { Deployment } from '../../db/generated/prisma/client.ts';
import { ConflictError, ValidationError } from '../../shared/errors.ts';
import type { NewDeployment } from './creation.ts';
import { isLive } from './state.ts';

/** The deployment that runs the release of an earlier one again: chosen under the lock of the stack's row. */
export async function planRollback(
  tx: Transaction,
  stackEnvironmentId: string,
  deploymentId: string,
  toDeploymentId: string | null,
): Promise<NewDeployment> {
  const place = await tx.stackEnvironment.findUniqueOrThrow({
    where: { id: stackEnvironmentId },
    include: { liveDeployment: { include: { source: true } } },
  });
  const live = place.liveDeployment;
  if (live?.id !== deploymentId || !isLive(live.status)) {
    const what = live
      ? `deployment ${live.number} is ${isLive(live.status) ? 'what runs' : 'stopping'}`
      : 'nothing of this stack runs here';
    throw new ConflictError(`only the live deployment can be rolled back: ${what}`);
  }
  const target =
    toDeploymentId === null
      ? await newestBefore(tx, stackEnvironmentId, live.source?.number ?? live.number)
      : await earlier(tx, stackEnvironmentId, live, toDeploymentId);
  const { stackVersionId, strategy, autoRollback, healthTimeoutSeconds, watchSeconds } = target;
  return {
    stackVersionId,
    strategy,
    autoRollback,
    healthTimeoutSeconds,
    watchSeconds,
    trigger: 'ROLLBACK',
    rollbackOfId: live.id,
    // The one that made the release: what ran it again has its own place in the order, but says nothing of what is older.
    sourceId: target.sourceId ?? target.id,
  };
}

async function newestBefore(tx: Transaction, stackEnvironmentId: string, number: number): Promise<Deployment> {
  const found = await tx.deployment.findFirst({
    where: { stackEnvironmentId, number: { lt: number }, liveAt: { not: null }, releaseId: { not: null } },
    orderBy: { number: 'desc' },
  });
  if (!found)
    throw new ConflictError('no earlier deployment of this stack was live here: there is nothing to go back to');
  return found;
}

async function earlier(
  tx: Transaction,
  stackEnvironmentId: string,
  live: Deployment,
  toDeploymentId: string,
): Promise<Deployment> {
  const refuse = (why: string) => ValidationError.field('toDeploymentId', why);
  const found = await tx.deployment.findFirst({ where: { id: toDeploymentId, stackEnvironmentId } });
  if (!found) throw refuse('is a deployment of another stack or environment');
  if (found.id === live.id) throw refuse('is what runs now: redeploy it instead');
  if (found.liveAt === null || found.releaseId === null)
    throw refuse(`deployment ${found.number} was never live: choose one that was`);
  return found;
}
