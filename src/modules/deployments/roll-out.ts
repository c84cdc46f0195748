import { SECOND_MS } from '../../shared/clock.ts';
import { fenced } from '../lease-transaction.ts';
import { bringUpBeside } from './beside.ts';
import {
  bringUp,
  isReplica,
  missingReplicas,
  type ReleaseInHand,
  type RollOutDependencies,
  waitFor,
} from './bring-up.ts';
import { DRAIN_MS, route } from './ingress-routes.ts';
import { presentInstances, retire } from './instances.ts';
import { observeWorker } from './observation.ts';
import { stepNames } from './preparation.ts';
import { markStep, transition } from './records.ts';
import type { ReleaseSpecs } from './release.ts';
import type { StackWorker } from './stack-worker.ts';
import { coexists } from './strategy.ts';
import type { DeploymentTask, StepOutcome } from './task.ts';

/** Beside the health timeouts and grace periods: what storing and starting may take. */
const MARGIN_SECONDS = 60;

/** Brings one service to what the release says, once what it depends on is there. Touches nothing that is so already. */
export async function applyService(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  release: ReleaseInHand,
  serviceName: string,
  cancelled: AbortSignal,
): Promise<StepOutcome> {
  const service = release.specs.services.find(({ name }) => name === serviceName)!;
  const running = await observeWorker(deps.pool, deps.releases, worker, serviceName);
  const changedByHand = new Set(running.filter(({ drift }) => drift.length > 0).map(({ id }) => id));
  const missing = await missingReplicas(deps.pool, worker, release, service, changedByHand);
  await fenced(deps.pool, worker.lease, async (client, record) => {
    await transition(client, record, task.id, { to: 'DEPLOYING', deadlineSeconds: deadlineOf(task, release.specs) });
    const { rows } = await client.query<{ state: string }>(
      'select state::text as state from deployment_steps where deployment_id = $1 and name = $2',
      [task.id, stepNames.service(serviceName)],
    );
    // One that was to be left alone may have ended since.
    if (rows[0]?.state === 'PENDING' || (rows[0]?.state === 'SKIPPED' && missing.length > 0))
      await markStep(client, record, task.id, { name: stepNames.service(serviceName), state: 'RUNNING' });
  });
  const outcome = coexists(task.strategy)
    ? await bringUpBeside(deps, worker, task, release, service, missing, cancelled)
    : await bringUp(deps, worker, task, release, service, missing, cancelled);
  // What runs of it serves as soon as it is up.
  if (outcome.result === 'ok') await route(deps, worker, release, task.strategy === 'BLUE_GREEN' ? 'former' : 'ready');
  await fenced(deps.pool, worker.lease, async (client, record) => {
    if (outcome.result === 'failed')
      await markStep(client, record, task.id, {
        name: stepNames.service(serviceName),
        state: 'FAILED',
        message: outcome.reason,
      });
    else if (outcome.result === 'ok') await finishStep(client, record, task.id, stepNames.service(serviceName));
  });
  return outcome;
}

/** The health gate: every service of the release is up, or the deployment does not go live. */
export async function verify(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  release: ReleaseInHand,
  cancelled: AbortSignal,
): Promise<StepOutcome> {
  const name = stepNames.verify;
  await fenced(deps.pool, worker.lease, async (client, record) => {
    await transition(client, record, task.id, { to: 'VERIFYING', deadlineSeconds: deadlineOf(task, release.specs) });
    await markStep(client, record, task.id, { name, state: 'RUNNING' });
  });
  const replicas = release.specs.services.flatMap((service) => service.replicas);
  const outcome = await waitFor(deps.pool, worker, replicas, 'live', task.healthTimeoutSeconds * SECOND_MS, cancelled);
  if (outcome.result === 'cancelled') return outcome;
  await fenced(deps.pool, worker.lease, (client, record) =>
    markStep(client, record, task.id, {
      name,
      state: outcome.result === 'ok' ? 'SUCCEEDED' : 'FAILED',
      message: outcome.result === 'failed' ? outcome.reason : null,
    }),
  );
  return outcome;
}

/** Instances that the release does not have, or has no longer so: dependents first. */
export async function retireObsolete(
  deps: RollOutDependencies,
  worker: StackWorker,
  release: ReleaseInHand,
): Promise<void> {
  const wanted = release.specs.services.flatMap((service) => service.replicas);
  const present = await presentInstances(deps.pool, worker.stack.id);
  const obsolete = present.filter(
    (row) => !wanted.some((spec) => isReplica(row, spec) && row.configHash === spec.configHash),
  );
  for (const row of obsolete.reverse()) await retire(deps.pool, worker, row);
}

/** How long the whole may take at the most, before somebody else decides: every wait in it is bounded too. */
export function deadlineOf(task: DeploymentTask, specs: ReleaseSpecs): number {
  const graceMs = specs.services
    .flatMap(({ replicas }) => replicas)
    .reduce((sum, spec) => sum + spec.stopGracePeriodMs, 0);
  const replicas = specs.services.reduce((sum, service) => sum + service.replicas.length, 0);
  // Side by side, replicas come one after the other, and connections to the former ones are given time to end.
  const waits = coexists(task.strategy) ? specs.services.length + replicas + 1 : specs.services.length + 1;
  const drains = coexists(task.strategy) ? (replicas + 1) * (DRAIN_MS / SECOND_MS) : 0;
  return MARGIN_SECONDS + waits * task.healthTimeoutSeconds + drains + Math.ceil(graceMs / SECOND_MS);
}

async function finishStep(
  client: Parameters<typeof markStep>[0],
  record: Parameters<typeof markStep>[1],
  id: string,
  name: string,
): Promise<void> {
  const { rows } = await client.query<{ state: string }>(
    'select state::text as state from deployment_steps where deployment_id = $1 and name = $2',
    [id, name],
  );
  if (rows[0]?.state === 'RUNNING') await markStep(client, record, id, { name, state: 'SUCCEEDED' });
}
