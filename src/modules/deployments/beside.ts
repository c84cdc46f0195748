import { SECOND_MS } from '../../shared/clock.ts';
import {
  isReplica,
  type ReleaseInHand,
  type RollOutDependencies,
  start,
  waitFor,
  waitForDependencies,
} from './bring-up.ts';
import { switchOver } from './ingress-routes.ts';
import { presentInstances, retire } from './instances.ts';
import type { ReleaseService, ReplicaSpec } from './release.ts';
import type { StackWorker } from './stack-worker.ts';
import { type DeploymentTask, STEP_OK, type StepOutcome } from './task.ts';

/**
 * Brings up replicas of a service beside what runs of it. ROLLING: so many at a time as its update policy says; each of the former
 * instances goes once the new one in its place is up, gets the connections, and those to the former one are over. BLUE_GREEN: all of
 * them, and none of the former ones goes before the whole is live.
 */
export async function bringUpBeside(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  release: ReleaseInHand,
  service: ReleaseService,
  missing: readonly ReplicaSpec[],
  cancelled: AbortSignal,
): Promise<StepOutcome> {
  if (missing.length > 0) {
    const depended = await waitForDependencies(deps, worker, task, release, service, cancelled);
    if (depended.result !== 'ok') return depended;
  }
  const isRolling = task.strategy === 'ROLLING';
  const timeoutMs = task.healthTimeoutSeconds * SECOND_MS;
  // A crash may have come between the start of a new one and the end of the former one: those in place count too.
  const places = isRolling ? service.replicas : missing;
  const { parallelism, order } = service.update ?? { parallelism: 1, order: 'start-first' };
  for (const batch of batchesOf(places, isRolling ? parallelism : 0)) {
    if (isRolling && order === 'stop-first')
      await retireFormer(
        deps,
        worker,
        release,
        batch.filter((spec) => missing.includes(spec)),
        cancelled,
      );
    for (const spec of batch) {
      if (cancelled.aborted) return { result: 'cancelled' };
      if (!missing.includes(spec)) continue;
      const outcome = await start(deps, worker, release, spec);
      if (outcome.result !== 'ok') return outcome;
    }
    if (!isRolling) continue;
    const outcome = await waitFor(deps.pool, worker, batch, 'live', timeoutMs, cancelled);
    if (outcome.result !== 'ok') return outcome;
    await retireFormer(deps, worker, release, batch, cancelled);
  }
  return cancelled.aborted ? { result: 'cancelled' } : STEP_OK;
}

/** Ends what else stands in the places of these replicas, once no connection goes there any more. */
async function retireFormer(
  deps: RollOutDependencies,
  worker: StackWorker,
  release: ReleaseInHand,
  specs: readonly ReplicaSpec[],
  cancelled: AbortSignal,
): Promise<void> {
  const present = await presentInstances(deps.pool, worker.stack.id);
  const newest = new Map(
    specs.map((spec) => [spec, present.findLast((row) => isReplica(row, spec) && row.configHash === spec.configHash)]),
  );
  const former = present.filter((row) => specs.some((spec) => isReplica(row, spec) && newest.get(spec)?.id !== row.id));
  if (former.length === 0) return;
  await switchOver(deps, worker, release, 'ready', cancelled);
  for (const row of former) if (!cancelled.aborted) await retire(deps.pool, worker, row);
}

/** Parallelism 0: all at once. */
function batchesOf(specs: readonly ReplicaSpec[], parallelism: number): ReplicaSpec[][] {
  const size = parallelism > 0 ? parallelism : Math.max(1, specs.length);
  return Array.from({ length: Math.ceil(specs.length / size) }, (_, index) =>
    specs.slice(index * size, (index + 1) * size),
  );
}
