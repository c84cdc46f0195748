import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import { decodeIdOf, encodeGlobalId, optionalId } from '../../shared/global-id.ts';
import { deploymentTopic } from '../deployments/records.ts';
import { isFinal, LIVE_STATUSES } from '../deployments/state.ts';
import { principalsOf } from '../executions/principals.ts';
import { effectKey, StepFailure, type StepResult, type StepWork } from '../executions/procedure.ts';
import type { Caller } from '../services.ts';
import { asFailure } from './children.ts';
import type { PerformerDependencies } from './performers.ts';
import { makerOf } from './procedure.ts';

/** Wake-ups may be lost: a deployment is looked at again so often. */
const LOOK_MS = 2 * SECOND_MS;

type DeploymentState = {
  number: number;
  status: DeploymentStatus;
  reason: string | null;
  wasLive: boolean;
  stackVersion: number;
};

/** A step that deploys: done once the deployment is live. */
export async function deploy(
  deps: PerformerDependencies,
  work: StepWork,
  input: Record<string, unknown>,
): Promise<StepResult> {
  const { access, deployments } = deps;
  const { maker, all } = principalsOf(work.execution, makerOf(work.execution));
  const stackId = decodeIdOf('Stack', String(input.stackId));
  const environmentId = decodeIdOf('Environment', String(input.environmentId));
  for (const principal of all) {
    requireHere(work, await access.requireStack(principal, stackId, 'stack:read').catch(asFailure));
    requireHere(work, await access.requireEnvironment(principal, environmentId, 'deployment:create').catch(asFailure));
  }
  const { stackVersion, strategy } = input as { stackVersion?: number; strategy?: string };
  const idempotencyKey = effectKey(work.execution, work.step);
  const made = await deployments
    .create(maker, { stackId, environmentId, stackVersion, strategy, idempotencyKey, trigger: 'WORKFLOW' })
    .catch(asFailure);
  return untilLive(deps, work, maker, made.id);
}

/** A step that goes back to what ran before a deployment; one that never went live left that as it was. */
export async function rollBack(
  deps: PerformerDependencies,
  work: StepWork,
  input: Record<string, unknown>,
): Promise<StepResult> {
  const { access, deployments } = deps;
  const { maker, all } = principalsOf(work.execution, makerOf(work.execution));
  const deploymentId = decodeIdOf('Deployment', String(input.deploymentId));
  const toDeploymentId = optionalId('Deployment', input.toDeploymentId as string | undefined);
  for (const principal of all)
    requireHere(work, await access.requireDeployment(principal, deploymentId, 'deployment:create').catch(asFailure));
  const running = toDeploymentId === undefined ? await runsInstead(deps, deploymentId!) : null;
  if (running !== null) {
    await work.write('the deployment never went live: what ran before it still does\n');
    return untilLive(deps, work, maker, running);
  }
  const idempotencyKey = effectKey(work.execution, work.step);
  const made = await deployments.rollback(maker, { deploymentId, toDeploymentId, idempotencyKey }).catch(asFailure);
  return untilLive(deps, work, maker, made.id);
}

/** What runs in the place of a deployment that ended before it was live; null: it was, or may still be. @throws {StepFailure} */
async function runsInstead({ pool }: PerformerDependencies, deploymentId: string): Promise<string | null> {
  const { rows } = await pool.query<{ running: string | null }>(
    `select live.id as running from deployments d
     join stack_environments se on se.id = d.stack_environment_id
     left join deployments live on live.id = se.live_deployment_id and live.status::text = any($2)
     where d.id = $1 and d.live_at is null and d.finished_at is not null`,
    [deploymentId, LIVE_STATUSES],
  );
  if (!rows[0]) return null;
  if (rows[0].running === null)
    throw new StepFailure('the deployment never went live, and nothing ran before it: there is nothing to go back to');
  return rows[0].running;
}

async function untilLive(
  { bus, pool, deployments }: PerformerDependencies,
  { signal, cancelled, write }: StepWork,
  maker: Caller,
  deploymentId: string,
): Promise<StepResult> {
  using watch = bus.watch([deploymentTopic(deploymentId)]);
  let told = '';
  for (;;) {
    const { rows } = await pool.query<DeploymentState>(
      `select d.number, d.status::text as status, d.status_reason as reason, d.live_at is not null as "wasLive", v.number as "stackVersion"
       from deployments d join stack_versions v on v.id = d.stack_version_id where d.id = $1`,
      [deploymentId],
    );
    if (!rows[0]) throw new StepFailure('the deployment was deleted');
    const { number, status, reason, wasLive, stackVersion } = rows[0];
    const output = { deploymentId: encodeGlobalId('Deployment', deploymentId), number, status, stackVersion };
    if (status !== told) await write(`deployment ${number} is ${status}${reason ? `: ${reason}` : ''}\n`);
    told = status;
    // Something else may have taken its place since.
    if (wasLive) return { output };
    if (isFinal(status)) {
      const why = reason ? `: ${reason}` : '';
      throw new StepFailure(`deployment ${number} is ${status.toLowerCase()}${why}`, { isTransient: true, output });
    }
    await watch.wait(LOOK_MS, signal);
    if (cancelled.aborted) await deployments.cancel(maker, deploymentId).catch(() => undefined);
    signal.throwIfAborted();
  }
}

function requireHere({ execution }: StepWork, { organizationId }: { organizationId: string }): void {
  if (organizationId !== execution.organizationId) throw new StepFailure('it is not one of this organization');
}
