import type { Pool } from 'pg';
import type { PrismaClient } from '../../db/client.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { logTopic, systemLine } from '../../realtime/log-writer.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { ConflictError, NotFoundError, QuotaExceededError } from '../../shared/errors.ts';
import { inTransaction } from '../lease-transaction.ts';
import { queueDeployment } from './creation.ts';
import { CRASH_LOOP_RESTARTS } from './health.ts';
import { planRollback } from './rollback.ts';

/** A live deployment that fails within its window. */
export type Failing = {
  deploymentId: string;
  number: number;
  organizationId: string;
  stackId: string;
  environmentId: string;
  hostId: string;
  reason: string;
};

/**
 * Of a host's live deployments those that fail while they are watched: a health check fails, a service ended with an error for good, or
 * crashes again and again. What ended without anybody having seen how is no fault of theirs.
 */
export async function failingWithinWatch(pool: Pool, hostId: string): Promise<Failing[]> {
  const { rows } = await pool.query<Failing>(
    `select d.id as "deploymentId", d.number, d.organization_id as "organizationId", d.stack_id as "stackId",
            d.environment_id as "environmentId", e.host_id as "hostId", coalesce(d.status_reason, 'it is degraded') as reason
     from stack_environments se join deployments d on d.id = se.live_deployment_id join environments e on e.id = d.environment_id
     where e.host_id = $1 and d.status = 'DEGRADED' and d.watch_until > now() and se.active_deployment_id is null
       and not exists (select 1 from deployments q where q.stack_environment_id = se.id and q.status = 'QUEUED')
       and exists (select 1 from instances i where i.stack_environment_id = se.id and i.removed_at is null
                   and (i.state = 'UNHEALTHY' or (i.state = 'EXITED' and i.exit_code <> 0)
                        or (i.state = 'RESTARTING' and i.restarts >= $2)))`,
    [hostId, CRASH_LOOP_RESTARTS],
  );
  return rows;
}

/**
 * Asks for what ran before, in place of a live deployment that fails. Its watch ends in the same transaction, and the deployment that is
 * asked for has none: nothing is brought back twice. Where nothing ran before, or somebody else acts already, only the watch ends.
 */
export async function revert(
  { prisma, pool, keyring }: { prisma: PrismaClient; pool: Pool; keyring: Keyring },
  failing: Failing,
): Promise<void> {
  const { deploymentId, number, stackId, reason } = failing;
  let told = 'what ran before is brought back';
  try {
    await queueDeployment(
      { prisma, keyring },
      {
        caller: 'system',
        environment: failing,
        stackId,
        operation: 'revert',
        idempotencyKey: null,
        input: {},
        statusReason: `brings back what ran before deployment ${number}: ${reason}`,
        async decide(tx, stackEnvironmentId) {
          await tx.deployment.update({ where: { id: deploymentId }, data: { watchUntil: null } });
          return { ...(await planRollback(tx, stackEnvironmentId, deploymentId, null)), watchSeconds: 0 };
        },
      },
    );
  } catch (error) {
    const isMoot =
      error instanceof ConflictError || error instanceof NotFoundError || error instanceof QuotaExceededError;
    if (!isMoot) throw error;
    told = `what ran before is not brought back: ${error.message}`;
  }
  await inTransaction(pool, async (client) => {
    const { rowCount } = await client.query('update deployments set watch_until = null where id = $1', [deploymentId]);
    if (!rowCount) return;
    await systemLine(client, deploymentId, `failed while it was watched (${reason}): ${told}`, 'ERROR');
    await notifyTopics(client, [logTopic(deploymentId)]);
  });
}
