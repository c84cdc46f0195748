import type { Pool } from 'pg';
import type { Finding, StackModel } from '../../compose/index.ts';
import type { PrismaClient } from '../../db/client.ts';
import type { DeploymentPlan, StackVersion } from '../../db/generated/prisma/client.ts';
import type { DeploymentStrategy } from '../../db/generated/prisma/enums.ts';
import { isMissingParent } from '../../db/missing-parent.ts';
import { type Runtime, RuntimeError, RuntimeUnavailableError, type StackRef } from '../../runtimes/runtime.ts';
import { type Clock, HOUR_MS } from '../../shared/clock.ts';
import { ConflictError, NotFoundError, UnavailableError, ValidationError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import type { Environments } from '../environments/service.ts';
import type { Access, EnvironmentAccess } from '../organizations/access.ts';
import type { Caller } from '../services.ts';
import { maskFinding } from '../stacks/compose-check.ts';
import type { Stacks } from '../stacks/service.ts';
import { requirePlace, requireRuntime } from './creation.ts';
import { digestOf, draftRelease, PLAN_OUT_OF_DATE, readDraft } from './draft.ts';
import { hideSecrets } from './hidden-fields.ts';
import { type DeploymentPlanInput, deploymentPlanInput } from './inputs.ts';
import { type ObservedInstance, observe, type Viewpoint } from './observation.ts';
import { planChanges } from './plan.ts';
import { portSources } from './port-reservations.ts';
import type { ReleaseSpecs } from './release.ts';
import { lookForImages, projectName } from './release-containers.ts';
import { ReleaseGoneError, type ReleaseStore } from './release-store.ts';
import { serviceUid } from './service-uid.ts';
import { obstacles, refusal, requireStrategy } from './strategy.ts';

/** How long a plan may be carried out. */
export const PLAN_HOURS = 1;
/** Of one stack in one environment, the newest: an older one is forgotten. */
export const MAX_PLANS_PER_STACK = 20;
/** Plans that have expired are kept so long, so that whoever has one is told why it is of no use. */
export const EXPIRED_PLAN_HOURS = 24;

const LOOK_AGAIN_MS = 1_000;

export type PlanDependencies = {
  prisma: PrismaClient;
  pool: Pool;
  clock: Clock;
  access: Access;
  environments: Environments;
  stacks: Stacks;
  releases: ReleaseStore;
  processRuntime: boolean;
  /** What this server can ask of a host; null: nothing. What runs there is then known from the database alone. */
  runtimeOf(hostId: string): Runtime | null;
};

export type Plans = {
  plan(caller: Caller | null, input: DeploymentPlanInput): Promise<DeploymentPlan>;
  /** Null where it is absent or another tenant's; throws PermissionDeniedError. */
  findPlan(caller: Caller | null, planId: string): Promise<DeploymentPlan | null>;
  /** For a caller who may deploy there: a plan for exactly this, which still holds; throws NotFoundError, ValidationError or ConflictError. */
  requireCurrent(
    planId: string | null,
    place: { environment: EnvironmentAccess; stackId: string; stackSlug: string },
  ): Promise<DeploymentPlan & { stackVersion: StackVersion }>;
  /** Deletes plans that are of no use any more. */
  prunePlans(now: Date): Promise<void>;
};

type Computed = {
  /** Whether the stack has an ingress, which lets its services be replaced one by one. */
  hasIngress: boolean;
  next: ReleaseSpecs;
  running: ObservedInstance[];
  findings: Finding[];
  digest: string;
  /** Values of each release that runs, and of today. */
  secrets: string[][];
};

export function createPlans(deps: PlanDependencies): Plans {
  const { prisma, pool, access, stacks, releases, clock } = deps;

  /** What a version of a stack would change in an environment now. Throws a ValidationError where it cannot be deployed there. */
  const compute = async (
    environment: EnvironmentAccess,
    { stackId, stackSlug }: { stackId: string; stackSlug: string },
    version: Pick<StackVersion, 'id' | 'compose'>,
  ): Promise<Computed> => {
    const { environmentId, organizationId, runtime, hostId, uidOffset, environmentSlug, privileges } = environment;
    const { model, findings, secrets, masker } = await readDraft(deps.environments, {
      environmentId,
      compose: version.compose,
      runtime,
      privileges,
    });
    const shownFindings = findings.map((finding) => maskFinding(finding, masker));
    if (!model)
      throw new ValidationError('the stack cannot be deployed there: see the findings', { findings: shownFindings });
    const place = await prisma.stackEnvironment.findUnique({
      where: { stackId_environmentId: { stackId, environmentId } },
      include: { liveDeployment: true },
    });
    const local = hostId === null ? null : deps.runtimeOf(hostId);
    const liveReleaseId = place?.liveDeployment?.releaseId ?? null;
    const project = projectName({ stackId, environmentId, stackSlug, environmentSlug });
    const stack = { id: place?.id ?? '', environmentId, stackId, uid: serviceUid(uidOffset), project };
    const running = place ? await look({ database: pool, releases, stack, runtime: local }) : [];
    const holder = { hostId, stackEnvironmentId: place?.id ?? null, organizationId };
    const sources = await portSources(pool, local, holder, running);
    const containers = runtime === 'PROCESS' ? null : await plannedContainers(local, model, stack);
    const ports = { ...sources, random: null };
    const { specs: next, problems } = await draftRelease(releases, model, liveReleaseId, ports, containers);
    if (problems.length > 0)
      throw new ValidationError(problems[0]!, {
        findings: [...shownFindings, ...problems.map((message) => portFinding(masker.maskText(message)))],
      });
    const known = [secrets, ...(await Promise.all(releaseIdsOf(running, liveReleaseId).map(secretsOf)))];
    return {
      hasIngress: model.ingress,
      next,
      running,
      findings: shownFindings,
      digest: digestOf(releases, version.id, next, running),
      secrets: known.map((each) => Object.values(each).map(({ value }) => value)),
    };
  };
  const secretsOf = async (releaseId: string) => (await releases.read(releaseId)).secrets;

  return {
    async plan(caller, input) {
      const { environment, stackId, stackSlug } = await requirePlace(access, caller, input, 'deployment:plan');
      const values = parseInput(deploymentPlanInput, input);
      requireRuntime(environment, deps.processRuntime);
      requireStrategy(environment.runtime, values.strategy);
      const version = await stacks.requireVersion(stackId, values.stackVersion ?? null);
      const { organizationId, environmentId } = environment;
      const create = async () => {
        const computed = await compute(environment, { stackId, stackSlug }, version);
        const { next, running, digest, secrets } = computed;
        const { strategy, findings } = choose(computed, values.strategy ?? null);
        const changes = hideSecrets(planChanges(next, running), secrets);
        const expiresAt = new Date(clock.now().getTime() + PLAN_HOURS * HOUR_MS);
        const what = {
          organizationId,
          stackId,
          stackVersionId: version.id,
          environmentId,
          strategy,
        };
        const row = { id: newId(), ...what, digest, changes, findings, expiresAt };
        return prisma.$transaction(async (tx) => {
          const made = await tx.deploymentPlan.create({ data: row });
          const older = {
            where: { stackId, environmentId },
            orderBy: { id: 'desc' as const },
            skip: MAX_PLANS_PER_STACK,
          };
          const forgotten = await tx.deploymentPlan.findMany({ ...older, select: { id: true } });
          await tx.deploymentPlan.deleteMany({ where: { id: { in: forgotten.map(({ id }) => id) } } });
          return made;
        });
      };
      return create().catch((error: unknown) => {
        // Deleted while it was being planned.
        if (isMissingParent(error) || error instanceof ReleaseGoneError) throw new NotFoundError('stack');
        throw error;
      });
    },

    async findPlan(caller, planId) {
      const found = await prisma.deploymentPlan.findUnique({ where: { id: planId } });
      if (!found) return null;
      await access.requireEnvironment(caller, found.environmentId, 'plan:read');
      return found;
    },

    async requireCurrent(planId, { environment, stackId, stackSlug }) {
      const include = { stackVersion: true };
      const found = planId === null ? null : await prisma.deploymentPlan.findUnique({ where: { id: planId }, include });
      if (found?.organizationId !== environment.organizationId) throw new NotFoundError('plan');
      if (found.environmentId !== environment.environmentId || found.stackId !== stackId)
        throw ValidationError.field('planId', 'is a plan for another stack or environment');
      if (found.expiresAt <= clock.now()) throw new ConflictError('the plan has expired: make a new one');
      const now = await compute(environment, { stackId, stackSlug }, found.stackVersion).catch((error: unknown) => {
        if (error instanceof ValidationError) throw new ConflictError(`${PLAN_OUT_OF_DATE} (${error.message})`);
        throw error;
      });
      if (now.digest !== found.digest) throw new ConflictError(PLAN_OUT_OF_DATE);
      return found;
    },

    async prunePlans(now) {
      const before = new Date(now.getTime() - EXPIRED_PLAN_HOURS * HOUR_MS);
      await prisma.deploymentPlan.deleteMany({ where: { expiresAt: { lt: before } } });
    },
  };
}

/** A strategy that was asked for, or the gentlest that is possible. Throws a ValidationError where the one asked for is not. */
function choose({ hasIngress, next, running, findings }: Computed, wanted: DeploymentStrategy | null) {
  if (wanted === 'RECREATE' || (wanted === null && !hasIngress)) return { strategy: 'RECREATE' as const, findings };
  const why = obstacles(next, running);
  if (why.length === 0) return { strategy: wanted ?? ('ROLLING' as const), findings };
  if (wanted !== null) {
    const message = refusal(wanted, why);
    throw new ValidationError(message, { fields: [{ path: ['strategy'], message }], findings });
  }
  const message = `Services are replaced with an interruption (RECREATE): ${why.join(', ')}.`;
  return { strategy: 'RECREATE' as const, findings: [...findings, strategyFinding(message)] };
}

function strategyFinding(message: string): Finding {
  return { rule: 'strategy', severity: 'INFO', message, path: null, line: null, column: null, suggestion: null };
}

type PlannedStack = StackRef & { project: string };

/** An engine that cannot be asked just now tells nothing of its images. */
async function plannedContainers(runtime: Runtime | null, model: StackModel, stack: PlannedStack) {
  const images = await lookForImages(runtime, stack, model).catch(unavailable);
  return { project: stack.project, images };
}

/** What runs; a host that cannot be looked at just now is no fault of the plan. */
function look(from: Viewpoint): Promise<ObservedInstance[]> {
  return observe(from).catch(unavailable);
}

function unavailable(error: unknown): never {
  if (error instanceof RuntimeError || error instanceof RuntimeUnavailableError)
    throw new UnavailableError(error.message, LOOK_AGAIN_MS);
  throw error;
}

function releaseIdsOf(running: readonly { releaseId: string }[], liveReleaseId: string | null): string[] {
  const ids = new Set(running.map(({ releaseId }) => releaseId));
  if (liveReleaseId !== null) ids.add(liveReleaseId);
  return [...ids];
}

function portFinding(message: string): Finding {
  const suggestion = 'Publish another port, or stop what has this one.';
  return { rule: 'port-unavailable', severity: 'ERROR', message, path: null, line: null, column: null, suggestion };
}
