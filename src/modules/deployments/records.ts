import type { PoolClient } from 'pg';
import type { DeploymentStatus, StepState } from '../../db/generated/prisma/enums.ts';
import type { Actor } from '../../realtime/event-log.ts';
import { type DeploymentMove, deploymentEvent } from '../../realtime/event-types.ts';
import { logTopic, systemLine } from '../../realtime/log-writer.ts';
import type { Recorder } from '../lease-transaction.ts';
import { isFinal, sourcesOf } from './state.ts';

/** The topic that wakes whoever follows a deployment's state. */
export const deploymentTopic = (deploymentId: string): string => `deployment:${deploymentId}`;
export { hostTopic } from '../host-topic.ts';

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
  actor?: Actor;
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
