import type { Pool, PoolClient } from 'pg';
import { SECOND_MS } from '../../shared/clock.ts';
import { fenced, type Recorder } from '../lease-transaction.ts';
import { bringUp, missingReplicas, type ReleaseInHand, type RollOutDependencies, start, waitFor } from './bring-up.ts';
import { isAlive } from './health.ts';
import { closeIngress, switchOver } from './ingress-routes.ts';
import { lockInstances, presentInstances, retire, servicesDone } from './instances.ts';
import { findTrouble } from './live-state.ts';
import { releasePorts } from './port-reservations.ts';
import { stepNames } from './preparation.ts';
import { hostTopic, lockStack, markStep, planSteps, touch, transition } from './records.ts';
import { outlinesOf, portPlanOf } from './release.ts';
import { retireObsolete } from './roll-out.ts';
import type { StackWorker } from './stack-worker.ts';
import { isFinal } from './state.ts';
import { coexists } from './strategy.ts';
import { type DeploymentTask, STEP_OK, type StepOutcome } from './task.ts';

/** Takes the place of what was live: from here on there is no way back but another deployment. */
export async function commit(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  release: ReleaseInHand,
  trouble: string | null,
): Promise<StepOutcome> {
  await switchOver(deps, worker, release, 'own', worker.lease.signal);
  await retireObsolete(deps, worker, release);
  const committed = await fenced(deps.pool, worker.lease, async (client, record) => {
    await lockStack(client, task.stackEnvironmentId);
    await lockInstances(client, task.stackEnvironmentId);
    // Whoever sees that it is live sees its services as they were judged.
    await worker.storeKnown(client, record);
    // Cancelled a moment ago: the row says so, and the transition is refused.
    const live = await transition(client, record, task.id, { to: trouble ? 'DEGRADED' : 'RUNNING', reason: trouble });
    if (!live) return false;
    const former = task.liveDeploymentId;
    if (former && former !== task.id)
      await transition(client, record, former, {
        to: 'SUPERSEDED',
        supersededById: task.id,
        reason: `deployment ${task.number} took its place`,
      });
    const moved = await client.query<{ deployment_id: string }>(
      `update instances set deployment_id = $2 where stack_environment_id = $1 and removed_at is null and deployment_id <> $2`,
      [task.stackEnvironmentId, task.id],
    );
    if (moved.rowCount) await touch(client, record, [task.id]);
    // Without a former one there is nothing to bring back.
    if (former && former !== task.id && task.autoRollback)
      await client.query(
        `update deployments set watch_until = now() + make_interval(secs => watch_seconds) where id = $1 and watch_seconds > 0`,
        [task.id],
      );
    await client.query(
      'update stack_environments set live_deployment_id = $2, active_deployment_id = null where id = $1',
      [task.stackEnvironmentId, task.id],
    );
    await releasePorts(client, task, [portPlanOf(release.specs)]);
    await markStep(client, record, task.id, { name: stepNames.commit, state: 'SUCCEEDED' });
    wakeQueue(record, worker);
    return true;
  });
  return committed ? STEP_OK : { result: 'cancelled' };
}

/**
 * Ends a deployment that did not go live: its instances are taken away and, where `restore` says so, what ran before is brought back as
 * its own release says. The former deployment's row stays as it is, unless that failed too.
 */
export async function abandon(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  end: { reason: string | null; restore: boolean },
): Promise<void> {
  // Live after all, or over: a step that is run again must not take down what it brought up.
  if (task.liveDeploymentId === task.id || isFinal(task.status)) return;
  const own = (await presentInstances(deps.pool, worker.stack.id)).filter((row) => row.deploymentId === task.id);
  const former =
    task.liveDeploymentId && task.liveReleaseId
      ? { deploymentId: task.liveDeploymentId, releaseId: task.liveReleaseId }
      : null;
  const restored = former ? { ...former, specs: (await deps.releases.read(former.releaseId)).specs } : null;
  const restores = end.restore && restored !== null;
  const begun = own.length > 0 || (await hasBegunToStart(deps.pool, task.id));
  const touched = begun && (own.length > 0 || (restored !== null && (await isIncomplete(deps.pool, worker, restored))));
  if (touched && restores) {
    await fenced(deps.pool, worker.lease, async (client, record) => {
      await appendRestoreStep(client, task.id);
      await markStep(client, record, task.id, { name: stepNames.restore, state: 'RUNNING' });
    });
  }
  const beside = coexists(task.strategy);
  const retireOwn = async () => {
    for (const row of own.reverse()) await retire(deps.pool, worker, row);
  };
  if (!beside) await retireOwn();
  if (restores && touched) await restore(deps, worker, task, restored);
  const signal = worker.lease.signal;
  if (touched && restored)
    await switchOver(deps, worker, { deploymentId: task.id, specs: restored.specs }, 'former', signal);
  else if (touched) await closeIngress(worker);
  if (beside) await retireOwn();
  const ended = restored && touched ? await retireEnded(deps, worker, restored) : null;
  await fenced(deps.pool, worker.lease, async (client, record) => {
    await lockStack(client, task.stackEnvironmentId);
    const undoing = `deployment ${task.number} ${restores ? 'could not be undone' : 'failed and was not to be undone'}`;
    await worker.storeKnown(client, record);
    const trouble = restored && begun ? await settleFormer(client, record, task, restored, undoing, ended) : null;
    await markStep(client, record, task.id, {
      name: stepNames.restore,
      state: trouble ? 'FAILED' : 'SUCCEEDED',
      message: trouble,
    });
    await skipPendingSteps(client, task.id);
    // A cancel that came while the failure was being undone wins: its client was told so.
    const { rows } = await client.query<{ status: string }>(
      'select status::text as status from deployments where id = $1 for no key update',
      [task.id],
    );
    const cancelled = rows[0]?.status === 'CANCELLING' || rows[0]?.status === 'QUEUED';
    const to = cancelled ? 'CANCELLED' : 'FAILED';
    await transition(client, record, task.id, { to, reason: end.reason });
    await client.query(
      'update stack_environments set active_deployment_id = null where id = $1 and active_deployment_id = $2',
      [task.stackEnvironmentId, task.id],
    );
    await releasePorts(client, task, restored ? [portPlanOf(restored.specs)] : []);
    wakeQueue(record, worker);
  });
}

/** Whether the roll-out came to a service: before that, what runs was left as it was, well or not. */
async function hasBegunToStart(pool: Pool, deploymentId: string): Promise<boolean> {
  const { rowCount } = await pool.query(
    `select 1 from deployment_steps where deployment_id = $1 and name like $2 and started_at is not null limit 1`,
    [deploymentId, stepNames.service('%')],
  );
  return rowCount === 1;
}

/** Starts again what the former release had and is gone now. Jobs that had ended well are not run a second time. */
async function restore(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  former: ReleaseInHand,
): Promise<void> {
  const never = new AbortController().signal;
  const done = await servicesDone(deps.pool, worker.stack.id, former.deploymentId);
  for (const service of former.specs.services) {
    if (done.has(service.name)) continue;
    const dependsOn = service.dependsOn.filter((dependency) => !done.has(dependency.service));
    // One that cannot be restored does not keep the others from it.
    const optional = { ...service, dependsOn: dependsOn.map((dependency) => ({ ...dependency, required: false })) };
    const missing = await missingReplicas(deps.pool, worker, former, service);
    if (coexists(task.strategy)) for (const spec of missing) await start(deps, worker, former, spec);
    else await bringUp(deps, worker, task, former, optional, missing, never);
  }
  const replicas = former.specs.services.filter(({ name }) => !done.has(name)).flatMap((service) => service.replicas);
  await waitFor(deps.pool, worker, replicas, 'live', task.healthTimeoutSeconds * SECOND_MS, never);
}

/** Where nothing of a deployment runs any more, and not because all its jobs are done: what is left is taken away. Returns what was wrong. */
async function retireEnded(
  deps: RollOutDependencies,
  worker: StackWorker,
  former: ReleaseInHand,
): Promise<string | null> {
  const present = await presentInstances(deps.pool, worker.stack.id);
  const states = present.map((row) => worker.status(row.id)?.state);
  if (!states.every((state) => state === undefined || state === 'EXITED' || state === 'STOPPED')) return null;
  if (!(await isIncomplete(deps.pool, worker, former))) return null;
  const trouble = await fenced(deps.pool, worker.lease, async (client, record) => {
    await lockStack(client, worker.stack.id);
    await worker.storeKnown(client, record);
    return findTrouble(client, worker.stack.id, former.deploymentId, outlinesOf(former.specs));
  });
  for (const row of present.reverse()) await retire(deps.pool, worker, row);
  return trouble;
}

async function isIncomplete(pool: Pool, worker: StackWorker, former: ReleaseInHand): Promise<boolean> {
  const present = await presentInstances(pool, worker.stack.id);
  const done = await servicesDone(pool, worker.stack.id, former.deploymentId);
  const wanted = former.specs.services.filter(({ name }) => !done.has(name));
  return wanted.some(({ replicas }) =>
    replicas.some(
      (spec) =>
        !present.some(
          (row) => row.service === spec.service && row.replica === spec.replica && isAlive(worker.status(row.id)),
        ),
    ),
  );
}

/** The former deployment as it is now: as before, or DEGRADED, or STOPPED when nothing of it runs. Returns what is wrong with it. */
async function settleFormer(
  client: PoolClient,
  record: Recorder,
  task: DeploymentTask,
  former: ReleaseInHand,
  undoing: string,
  ended: string | null,
): Promise<string | null> {
  const trouble =
    ended ?? (await findTrouble(client, task.stackEnvironmentId, former.deploymentId, outlinesOf(former.specs)));
  if (trouble === null) return null;
  const reason = `${undoing}: ${trouble}`;
  if ((await presentInstances(client, task.stackEnvironmentId)).length === 0) {
    await transition(client, record, former.deploymentId, { to: 'STOPPED', reason });
    await client.query('update stack_environments set live_deployment_id = null where id = $1', [
      task.stackEnvironmentId,
    ]);
  } else {
    await transition(client, record, former.deploymentId, { to: 'DEGRADED', reason });
  }
  return trouble;
}

/** Takes everything of a live deployment down: dependents first. */
export async function takeDown(deps: RollOutDependencies, worker: StackWorker, task: DeploymentTask): Promise<void> {
  for (const row of (await presentInstances(deps.pool, worker.stack.id)).reverse())
    await retire(deps.pool, worker, row);
  await closeIngress(worker);
  await fenced(deps.pool, worker.lease, async (client, record) => {
    await lockStack(client, task.stackEnvironmentId);
    await transition(client, record, task.id, { to: 'STOPPED' });
    await client.query(
      `update stack_environments set active_deployment_id = null, live_deployment_id = null where id = $1 and active_deployment_id = $2`,
      [task.stackEnvironmentId, task.id],
    );
    await releasePorts(client, task, []);
    wakeQueue(record, worker);
  });
}

async function appendRestoreStep(client: PoolClient, deploymentId: string): Promise<void> {
  const { rows } = await client.query<{ names: string[] | null }>(
    'select array_agg(name order by position) as names from deployment_steps where deployment_id = $1',
    [deploymentId],
  );
  const names = rows[0]?.names ?? [];
  if (names.includes(stepNames.restore)) return;
  await planSteps(
    client,
    deploymentId,
    [...names, stepNames.restore].map((name) => ({ name, state: 'PENDING' as const })),
  );
}

async function skipPendingSteps(client: PoolClient, deploymentId: string): Promise<void> {
  await client.query(
    `update deployment_steps set state = case when state = 'RUNNING' then 'FAILED' else 'SKIPPED' end::"StepState", finished_at = now()
     where deployment_id = $1 and state in ('PENDING', 'RUNNING')`,
    [deploymentId],
  );
}

function wakeQueue(record: Recorder, worker: StackWorker): void {
  record.wake(hostTopic(worker.lease.hostId));
}
