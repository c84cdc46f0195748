import type { Pool } from 'pg';
import type { DependencyCondition } from '../../compose/index.ts';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import { delay, SECOND_MS } from '../../shared/clock.ts';
import { isAlive, isStartFailure, judge, STABLE_MS } from './health.ts';
import { createReplica, type InstanceRow, presentInstances, retire, startReplica } from './instances.ts';
import { endOf } from './observation.ts';
import type { ReleaseService, ReleaseSpecs, ReplicaSpec } from './release.ts';
import type { ReleaseStore } from './release-store.ts';
import type { StackWorker } from './stack-worker.ts';
import { type DeploymentTask, STEP_OK, type StepOutcome } from './task.ts';

const MAX_STABLE_LOOK_MS = STABLE_MS / 5;

export type RollOutDependencies = { pool: Pool; releases: ReleaseStore };

export type ReleaseInHand = { deploymentId: string; releaseId: string; specs: ReleaseSpecs };

/** Stops what is in the way of these replicas of a service, once they can be started, and starts them. */
export async function bringUp(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  release: ReleaseInHand,
  service: ReleaseService,
  missing: readonly ReplicaSpec[],
  cancelled: AbortSignal,
): Promise<StepOutcome> {
  if (missing.length === 0) return STEP_OK;
  const depended = await waitForDependencies(deps, worker, task, release, service, cancelled);
  if (depended.result !== 'ok') return depended;
  for (const spec of missing) {
    if (cancelled.aborted) return { result: 'cancelled' };
    const former = await inTheWay(deps.pool, worker, release, spec);
    if (former.length > 0) await createReplica(deps.pool, worker, { ...release, spec });
    if (cancelled.aborted) return { result: 'cancelled' };
    for (const row of former) await retire(deps.pool, worker, row);
    if (cancelled.aborted) return { result: 'cancelled' };
    const outcome = await start(deps, worker, release, spec);
    if (outcome.result !== 'ok') return outcome;
  }
  return STEP_OK;
}

/** Waits until what a service depends on has come as far as it asks for. */
export async function waitForDependencies(
  deps: RollOutDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  release: ReleaseInHand,
  service: ReleaseService,
  cancelled: AbortSignal,
): Promise<StepOutcome> {
  const timeoutMs = task.healthTimeoutSeconds * SECOND_MS;
  for (const { service: name, condition, required } of service.dependsOn) {
    const dependency = release.specs.services.find((candidate) => candidate.name === name);
    if (!dependency) continue;
    const outcome = await waitFor(deps.pool, worker, dependency.replicas, condition, timeoutMs, cancelled);
    if (outcome.result !== 'ok' && (required || outcome.result === 'cancelled')) return outcome;
  }
  return STEP_OK;
}

/** Starts a replica; one that could not even begin ends the roll-out. */
export async function start(
  deps: RollOutDependencies,
  worker: StackWorker,
  { deploymentId, releaseId }: ReleaseInHand,
  spec: ReplicaSpec,
): Promise<StepOutcome> {
  const status = await startReplica(deps.pool, worker, { deploymentId, releaseId, spec });
  const verdict = judge(spec, status, 'live', Date.now());
  const isHopeless = verdict.state === 'failed' && isStartFailure(status);
  return isHopeless ? { result: 'failed', reason: verdict.why, started: false } : STEP_OK;
}

/** Replicas that do not run as the release wants them. What this deployment started once counts as there, whatever became of it. */
export async function missingReplicas(
  pool: Pool,
  worker: StackWorker,
  release: ReleaseInHand,
  service: ReleaseService,
  changedByHand: ReadonlySet<string> = new Set(),
): Promise<ReplicaSpec[]> {
  const present = await presentInstances(pool, worker.stack.id);
  return service.replicas.filter(
    (spec) =>
      !present.some(
        (row) =>
          isReplica(row, spec) &&
          !isOnlyMade(worker.status(row.id)) &&
          (isStarted(row, worker, release) ||
            (row.configHash === spec.configHash &&
              isAlive(worker.status(row.id) ?? endOf(row)) &&
              !changedByHand.has(row.id))),
      ),
  );
}

/** Whether a crash came between its being made and its start: asked for again, it begins. */
function isOnlyMade(status: InstanceStatus | undefined): boolean {
  return status?.state === 'STARTING' && status.startedAt === null;
}

/** Whether the runtime was asked for this instance of the very release, and answered. */
function isStarted(row: InstanceRow, worker: StackWorker, release: ReleaseInHand): boolean {
  return (
    row.releaseId === release.releaseId &&
    row.deploymentId === release.deploymentId &&
    worker.status(row.id) !== undefined
  );
}

/** Former instances of the replica, and whatever else of the stack holds one of its ports. */
async function inTheWay(
  pool: Pool,
  worker: StackWorker,
  release: ReleaseInHand,
  spec: ReplicaSpec,
): Promise<InstanceRow[]> {
  const present = await presentInstances(pool, worker.stack.id);
  const isOwn = (row: InstanceRow) => row.releaseId === release.releaseId && row.deploymentId === release.deploymentId;
  const holdsPort = (row: InstanceRow) =>
    !spec.container?.behindIngress &&
    row.ports.some((held) =>
      spec.ports.some((port) => port.published === held.published && port.protocol === held.protocol),
    );
  return present.filter((row) => !isOwn(row) && (isReplica(row, spec) || holdsPort(row)));
}

/** Whether an instance stands in the place of this replica, whatever it runs. */
export function isReplica(row: InstanceRow, spec: ReplicaSpec): boolean {
  return row.service === spec.service && row.replica === spec.replica;
}

/** Waits until every replica has reached the goal; the first that cannot any more ends it. */
export async function waitFor(
  pool: Pool,
  worker: Pick<StackWorker, 'stack' | 'runtime' | 'status' | 'until'>,
  specs: readonly ReplicaSpec[],
  goal: DependencyCondition | 'live',
  timeoutMs: number,
  cancelled: AbortSignal,
): Promise<StepOutcome> {
  const ids = new Map<ReplicaSpec, string>();
  for (const row of await presentInstances(pool, worker.stack.id)) {
    const spec = specs.find((candidate) => isReplica(row, candidate) && candidate.configHash === row.configHash);
    if (spec) ids.set(spec, row.id);
  }
  let waitingFor = 'its services were not seen up';
  const look = (statusOf: (instanceId: string) => InstanceStatus | undefined): StepOutcome | null => {
    let allReached = true;
    for (const spec of specs) {
      const verdict = judge(spec, statusOf(ids.get(spec) ?? ''), goal, Date.now());
      if (verdict.state === 'failed') return { result: 'failed', reason: verdict.why, started: true };
      if (verdict.state === 'waiting') {
        allReached = false;
        waitingFor = verdict.why;
      }
    }
    return allReached ? STEP_OK : null;
  };
  const end = Date.now() + timeoutMs;
  for (;;) {
    const leftMs = Math.max(0, end - Date.now());
    const found = await worker.until(() => look((id) => worker.status(id)), leftMs, cancelled, MAX_STABLE_LOOK_MS);
    if (cancelled.aborted) return { result: 'cancelled' };
    if (!found) break;
    if (found.result !== 'ok' || goal !== 'live') return found;
    // One without a health check counts by the time that nothing was heard of it: it may have ended since, which is told a moment later.
    const isByTime = specs.some((spec) => worker.status(ids.get(spec) ?? '')?.state === 'RUNNING');
    if (!isByTime) return found;
    const statuses = await worker.runtime.list(worker.stack);
    if (look((id) => statuses.find(({ instanceId }) => instanceId === id))?.result === 'ok') return found;
    await delay(MAX_STABLE_LOOK_MS, cancelled);
  }
  return { result: 'failed', reason: `${waitingFor} after ${Math.round(timeoutMs / SECOND_MS)} s`, started: true };
}
