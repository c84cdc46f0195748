import type { Pool, PoolClient } from 'pg';
import type { DeploymentStatus, StepState } from '../../db/generated/prisma/enums.ts';
import { isOutage } from '../../db/outage.ts';
import { type Lease, requireLease } from '../../engine/host-lease.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { appendEvents, type NewEvent } from '../../realtime/event-log.ts';
import { type DeploymentMove, deploymentEvent } from '../../realtime/event-types.ts';
import { logTopic, systemLine } from '../../realtime/log-writer.ts';
import { delay } from '../../shared/clock.ts';
import { isFinal, sourcesOf } from './state.ts';

/** The topic that wakes whoever follows a deployment's state. */
export const deploymentTopic = (deploymentId: string): string => `deployment:${deploymentId}`;
export { hostTopic } from '../host-topic.ts';

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2_000;

/** Runs again what a database that was away interrupted, until it succeeds or the signal aborts. Work must be idempotent. */
export async function untilStored<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (let wait = RETRY_FIRST_MS; ; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!isOutage(error) || signal.aborted) throw error;
      await delay(wait, signal);
      if (signal.aborted) throw error;
    }
  }
}

/**
 * One transaction of the lease's holder: nothing is written once another instance took over. What was recorded is told at its
 * end, in the order that the event log wants.
 */
export async function fenced<T>(
  pool: Pool,
  lease: Lease,
  work: (client: PoolClient, record: Recorder) => Promise<T>,
): Promise<T> {
  return untilStored(lease.signal, () =>
    inTransaction(pool, async (client) => {
      await requireLease(client, lease);
      const events: NewEvent[] = [];
      const topics = new Set<string>();
      const result = await work(client, {
        event: (event) => events.push(event),
        wake: (...woken) => {
          for (const topic of woken) topics.add(topic);
        },
      });
      await notifyTopics(client, [...topics]);
      await appendEvents(client, events);
      return result;
    }),
  );
}

export type Recorder = { event(event: NewEvent): void; wake(...topics: string[]): void };

export async function inTransaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // A connection that is lost between two statements tells it here; without a listener it would end the process.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((cause: Error) => {
      broken = cause;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

/**
 * Holds a stack's row in an environment, before anything else of it is changed. Locks are taken in this order, so that nobody waits in a
 * circle: host, stack_environments, instances, deployments, heads of logs, counters of events. Never "for update": rows that refer to it
 * are added meanwhile, in any order.
 */
export async function lockStack(client: PoolClient, stackEnvironmentId: string): Promise<void> {
  await client.query('select 1 from stack_environments where id = $1 for no key update', [stackEnvironmentId]);
}

export type Transition = {
  to: DeploymentMove;
  /** Null takes a former reason away; absent keeps it. */
  reason?: string | null;
  /** Until when the new state must have ended. */
  deadlineSeconds?: number | null;
  actor?: NewEvent['actor'];
  supersededById?: string;
};

type Moved = {
  id: string;
  organization_id: string;
  environment_id: string;
  stack_id: string;
  number: number;
  previous: DeploymentStatus;
};

/**
 * Moves a deployment to another status, where the transition table allows it; returns whether it stands there now. Repeating it
 * changes nothing. The change, its event, its line in the log and the wake-ups are one transaction.
 */
export async function transition(
  client: PoolClient,
  record: Recorder,
  deploymentId: string,
  change: Transition,
): Promise<boolean> {
  const { to, reason, deadlineSeconds, actor, supersededById } = change;
  const { rows } = await client.query<Moved>(
    `update deployments d
       set status = $2::text::"DeploymentStatus", revision = d.revision + 1,
           status_reason = case when $3 then $4 else d.status_reason end,
           deadline_at = now() + make_interval(secs => $5),
           started_at = case when $2 = 'PREPARING' then coalesce(d.started_at, now()) else d.started_at end,
           live_at = case when $2 in ('RUNNING', 'DEGRADED') then coalesce(d.live_at, now()) else d.live_at end,
           progress = case when $2 in ('RUNNING', 'DEGRADED') then 1 else d.progress end,
           finished_at = case when $6 then now() else null end,
           superseded_by_id = coalesce($7::uuid, d.superseded_by_id)
     from (select id, status from deployments where id = $1 for no key update) former
     where d.id = former.id and former.status = any($8::text[]::"DeploymentStatus"[])
     returning d.id, d.organization_id, d.environment_id, d.stack_id, d.number, former.status::text as previous`,
    [
      deploymentId,
      to,
      reason !== undefined,
      reason ?? null,
      deadlineSeconds ?? null,
      isFinal(to),
      supersededById ?? null,
      sourcesOf(to),
    ],
  );
  const moved = rows[0];
  if (!moved) {
    const current = await client.query<{ status: DeploymentStatus }>(
      'select status::text from deployments where id = $1',
      [deploymentId],
    );
    return current.rows[0]?.status === to;
  }
  record.event({
    organizationId: moved.organization_id,
    type: deploymentEvent(to),
    actor: actor ?? { type: 'system', id: null },
    subject: { type: 'Deployment', id: deploymentId },
    data: {
      status: to,
      previousStatus: moved.previous,
      number: moved.number,
      environmentId: moved.environment_id,
      stackId: moved.stack_id,
      reason: reason ?? null,
    },
  });
  record.wake(deploymentTopic(deploymentId));
  const level = to === 'FAILED' || to === 'DEGRADED' ? 'ERROR' : 'INFO';
  const message = `deployment ${to.toLowerCase()}${reason ? `: ${reason}` : ''}`;
  await systemLine(client, deploymentId, message, level);
  record.wake(logTopic(deploymentId));
  return true;
}

/** Raises the revision: something of the deployment that clients see has changed. */
export async function touch(client: PoolClient, record: Recorder, deploymentIds: readonly string[]): Promise<void> {
  if (deploymentIds.length === 0) return;
  await client.query('update deployments set revision = revision + 1 where id = any($1)', [[...deploymentIds].sort()]);
  record.wake(...deploymentIds.map(deploymentTopic));
}

export type StepChange = { name: string; state: StepState; message?: string | null };

/** Sets the state of a step by its name and the deployment's progress with it; progress never falls. */
export async function markStep(
  client: PoolClient,
  record: Recorder,
  deploymentId: string,
  change: StepChange,
): Promise<void> {
  await client.query(
    `update deployment_steps
       set state = $3::text::"StepState", message = coalesce($4, message),
           started_at = case when $3 = 'PENDING' then null else coalesce(started_at, now()) end,
           finished_at = case when $3 in ('SUCCEEDED', 'FAILED', 'SKIPPED') then now() end
     where deployment_id = $1 and name = $2`,
    [deploymentId, change.name, change.state, change.message ?? null],
  );
  await client.query(
    `update deployments d
       set revision = d.revision + 1,
           progress = greatest(d.progress, least(0.99, (select count(*) filter (where state in ('SUCCEEDED', 'SKIPPED'))::float / greatest(count(*), 1)
                                                          from deployment_steps where deployment_id = d.id)))
     where d.id = $1`,
    [deploymentId],
  );
  record.wake(deploymentTopic(deploymentId));
}

/** The steps of a roll-out, in their order; those that are there stay as they are. */
export async function planSteps(client: PoolClient, deploymentId: string, steps: readonly StepChange[]): Promise<void> {
  await client.query(
    `insert into deployment_steps (deployment_id, position, name, state, message)
     select $1, ordinal, step->>'name', (step->>'state')::"StepState", step->>'message'
     from jsonb_array_elements($2::jsonb) with ordinality as given(step, ordinal)
     on conflict (deployment_id, position) do nothing`,
    [deploymentId, JSON.stringify(steps)],
  );
}
