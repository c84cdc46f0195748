import type { Deployment } from '../../db/generated/prisma/client.ts';
import { NotFoundError, ValidationError } from '../../shared/errors.ts';
import { parseInput } from '../../shared/validation.ts';
import { forgottenEntity } from '../idempotency.ts';
import type { Access } from '../organizations/access.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import type { Stacks } from '../stacks/service.ts';
import { type CreationRequest, queueDeployment, requirePlace, requireRuntime } from './creation.ts';
import {
  DEFAULT_HEALTH_TIMEOUT_SECONDS,
  DEFAULT_WATCH_SECONDS,
  type DeploymentCreateInput,
  type DeploymentRedeployInput,
  type DeploymentRollbackInput,
  deploymentCreateInput,
  deploymentRerunInput,
} from './inputs.ts';
import type { DeploymentLists } from './lists.ts';
import type { Plans } from './plans.ts';
import { planRollback } from './rollback.ts';
import { requireStrategy } from './strategy.ts';

export type RequestDependencies = ServiceDependencies & {
  access: Access;
  stacks: Stacks;
  plans: Plans;
  lists: DeploymentLists;
  processRuntime: boolean;
};

/** The ways to ask for a deployment; each returns it as it is then, QUEUED at first. */
export type Requests = {
  create(caller: Caller | null, input: DeploymentCreateInput): Promise<Deployment>;
  /** Runs the release of an earlier deployment again, exactly as it was. */
  rollback(caller: Caller | null, input: DeploymentRollbackInput): Promise<Deployment>;
  /** Deploys the same version with the same settings, resolved anew. */
  redeploy(caller: Caller | null, input: DeploymentRedeployInput): Promise<Deployment>;
};

export function createRequests(deps: RequestDependencies): Requests {
  const { access, stacks, plans, lists, processRuntime } = deps;

  const queue = async (request: CreationRequest & { caller: Caller | null }): Promise<Deployment> => {
    const made = await lists.find(request.caller, await queueDeployment(deps, request));
    if (!made) throw forgottenEntity('deployment');
    return made;
  };

  return {
    async create(caller, input) {
      const { environment, stackId, stackSlug } = await requirePlace(access, caller, input, 'deployment:create');
      const values = parseInput(deploymentCreateInput, input);
      requireRuntime(environment, processRuntime);
      requireStrategy(environment.runtime, values.strategy);
      const { planId } = input;
      const { environmentId } = environment;
      // What is wrong with a plan by now does not matter to a request that was granted before.
      const plannedBy =
        planId === undefined ? null : await held(plans.requireCurrent(planId, { environment, stackId, stackSlug }));
      const version = plannedBy ? null : await stacks.requireVersion(stackId, values.stackVersion ?? null);
      return queue({
        caller,
        environment,
        stackId,
        operation: 'deploymentCreate',
        idempotencyKey: values.idempotencyKey,
        input: { ...values, planId, stackId, environmentId },
        async decide() {
          const plan = plannedBy?.() ?? null;
          if (plan) requireAgreement(values, { stackVersion: plan.stackVersion.number, strategy: plan.strategy });
          return {
            stackVersionId: (plan?.stackVersion ?? version)!.id,
            trigger: input.trigger ?? 'MANUAL',
            strategy: plan?.strategy ?? values.strategy ?? 'RECREATE',
            autoRollback: values.autoRollback ?? true,
            healthTimeoutSeconds: values.healthTimeoutSeconds ?? DEFAULT_HEALTH_TIMEOUT_SECONDS,
            watchSeconds: values.watchSeconds ?? DEFAULT_WATCH_SECONDS,
            planDigest: plan?.digest,
          };
        },
      });
    },

    async rollback(caller, input) {
      const environment = await access.requireDeployment(caller, input.deploymentId, 'deployment:create');
      const { deploymentId, stackId } = environment;
      const target =
        input.toDeploymentId === undefined
          ? null
          : (await access.requireDeployment(caller, input.toDeploymentId, 'deployment:read')).deploymentId;
      const { idempotencyKey } = parseInput(deploymentRerunInput, input);
      requireRuntime(environment, processRuntime);
      return queue({
        caller,
        environment,
        stackId,
        operation: 'deploymentRollback',
        idempotencyKey,
        input: { deploymentId, toDeploymentId: target },
        decide: (tx, stackEnvironmentId) => planRollback(tx, stackEnvironmentId, deploymentId, target),
      });
    },

    async redeploy(caller, input) {
      const environment = await access.requireDeployment(caller, input.deploymentId, 'deployment:create');
      const { deploymentId, stackId } = environment;
      const { idempotencyKey } = parseInput(deploymentRerunInput, input);
      requireRuntime(environment, processRuntime);
      return queue({
        caller,
        environment,
        stackId,
        operation: 'deploymentRedeploy',
        idempotencyKey,
        input: { deploymentId },
        async decide(tx) {
          const found = await tx.deployment.findUnique({ where: { id: deploymentId } });
          if (!found) throw new NotFoundError('deployment');
          const { stackVersionId, strategy, autoRollback, healthTimeoutSeconds, watchSeconds } = found;
          return { stackVersionId, strategy, autoRollback, healthTimeoutSeconds, watchSeconds, trigger: 'REDEPLOY' };
        },
      });
    },
  };
}

/** The plan decides: what is given beside it must be the same. */
function requireAgreement(
  given: { stackVersion?: number | null; strategy?: string | null },
  planned: { stackVersion: number; strategy: string },
): void {
  for (const field of ['stackVersion', 'strategy'] as const) {
    if (given[field] != null && given[field] !== planned[field])
      throw ValidationError.field(field, `the plan is for ${planned[field]}: leave this out, or make another plan`);
  }
}

/** The outcome of a promise for later: its value, or its error thrown. */
async function held<T>(promise: Promise<T>): Promise<() => T> {
  const [outcome] = await Promise.allSettled([promise]);
  return () => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  };
}
