import type { PoolClient } from 'pg';
import type { Finding } from '../../compose/index.ts';
import type { LogLevel } from '../../realtime/log-line.ts';
import { logTopic, systemLine } from '../../realtime/log-writer.ts';
import type { Masker } from '../../realtime/masking.ts';
import { RuntimeError } from '../../runtimes/runtime.ts';
import { ConflictError } from '../../shared/errors.ts';
import type { Environments } from '../environments/service.ts';
import { fenced, type Recorder } from '../lease-transaction.ts';
import { digestOf, draftRelease, PLAN_OUT_OF_DATE, readDraft } from './draft.ts';
import {
  type ImageDependencies,
  ImagesInterruptedError,
  imagesInWords,
  requireImages,
  resolveImages,
} from './image-preparation.ts';
import { type ObservedInstance, observeWorker } from './observation.ts';
import { type ChangeAction, planChanges } from './plan.ts';
import { portProblems, portSources, reservePorts } from './port-reservations.ts';
import type { PortSources } from './ports.ts';
import { markStep, planSteps, type StepChange, transition } from './records.ts';
import { portPlanOf, type ReleaseSpecs } from './release.ts';
import { type ContainerSources, lookForImages, projectName } from './release-containers.ts';
import { type ReleaseStore, SecretGoneError } from './release-store.ts';
import type { StackWorker } from './stack-worker.ts';
import { coexists, obstacles, refusal } from './strategy.ts';
import { type DeploymentTask, STEP_OK, type StepOutcome } from './task.ts';

export const PREPARE_SECONDS = 60;
/** Where images may have to be pulled or built. */
export const PREPARE_IMAGES_SECONDS = 1_800;
const MAX_PROBLEMS_IN_REASON = 3;

export type PreparationDependencies = ImageDependencies & { environments: Environments; releases: ReleaseStore };

/** The step names that clients see. */
export const stepNames = {
  prepare: 'prepare',
  service: (service: string) => `start ${service}`,
  verify: 'verify',
  commit: 'commit',
  restore: 'restore',
} as const;

/**
 * Resolves everything that a deployment runs into a stored release and plans it against what runs. Nothing that runs is touched:
 * whatever is wrong is found here.
 */
export async function prepare(
  deps: PreparationDependencies,
  worker: StackWorker,
  task: DeploymentTask,
): Promise<StepOutcome> {
  const begun = await fenced(deps.pool, worker.lease, async (client, record) => {
    const moved = await transition(client, record, task.id, {
      to: 'PREPARING',
      reason: null,
      deadlineSeconds: worker.runtime.images ? PREPARE_IMAGES_SECONDS : PREPARE_SECONDS,
    });
    if (!moved) return false;
    await planSteps(client, task.id, [{ name: stepNames.prepare, state: 'RUNNING' }]);
    await markStep(client, record, task.id, { name: stepNames.prepare, state: 'RUNNING' });
    return true;
  });
  // Further on already (a crash came before this step was recorded, or it is begun anew), or cancelled meanwhile.
  if (!begun) return task.releaseId ? STEP_OK : { result: 'cancelled' };
  const remarks: Remark[] = [];
  let problem: string | null;
  try {
    problem = await findRelease(deps, worker, task, remarks);
  } catch (error) {
    if (error instanceof ImagesInterruptedError && error.isCancelled) return { result: 'cancelled' };
    if (!(error instanceof RuntimeError || error instanceof ImagesInterruptedError)) throw error;
    problem = await masked(deps, task, error.message);
  }
  // A release that was taken marked the step itself, in its own transaction.
  if (problem === null && !task.releaseId) return STEP_OK;
  const state = problem === null ? 'SUCCEEDED' : 'FAILED';
  await fenced(deps.pool, worker.lease, async (client, record) => {
    await tell(client, record, task.id, remarks);
    await markStep(client, record, task.id, { name: stepNames.prepare, state, message: problem });
  });
  return problem === null ? STEP_OK : { result: 'failed', reason: problem, started: false };
}

/** What a runtime refuses may quote a secret. */
async function masked(deps: PreparationDependencies, task: DeploymentTask, message: string): Promise<string> {
  return (await readDraft(deps.environments, task)).masker.maskText(message);
}

/** Returns what stands in the way, in words. `remarks` is filled with what there is to say beside it. */
function findRelease(
  deps: PreparationDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  remarks: Remark[],
): Promise<string | null> {
  const { releaseId, sourceReleaseId } = task;
  if (releaseId !== null) return missingSecret(deps, releaseId);
  return sourceReleaseId === null
    ? resolve(deps, worker, task, remarks)
    : runAgain(deps, worker, task, sourceReleaseId);
}

/** Null where every secret that a release runs with is there. */
async function missingSecret({ releases }: PreparationDependencies, releaseId: string): Promise<string | null> {
  try {
    await releases.requireSecrets(await releases.read(releaseId));
    return null;
  } catch (error) {
    if (error instanceof SecretGoneError) return error.message;
    throw error;
  }
}

/** Stores a release of what the stack means today; returns what stands in the way instead, in words. */
async function resolve(
  deps: PreparationDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  remarks: Remark[],
): Promise<string | null> {
  const draft = await readDraft(deps.environments, task);
  remarks.push(...draft.findings.map((finding) => remarkOf(finding, draft.masker)));
  const { model, secrets } = draft;
  if (!model) return draft.masker.maskText(errorsInWords(draft.findings));

  const running = await observeWorker(deps.pool, deps.releases, worker);
  const sources = await portSources(deps.pool, worker.runtime, task, running);
  const release = (random: PortSources['random'], containers: ContainerSources | null) =>
    draftRelease(deps.releases, model, task.liveReleaseId, { ...sources, random }, containers);
  const hasImages = worker.runtime.images !== null;
  if (task.planDigest !== null) {
    const project = projectName(task);
    const place = { ...worker.stack, project };
    const containers = hasImages ? { project, images: await lookForImages(worker.runtime, place, model) } : null;
    const planned = await release(null, containers);
    if (digestOf(deps.releases, task.stackVersionId, planned.specs, running) !== task.planDigest)
      return PLAN_OUT_OF_DATE;
  }
  const containers = hasImages ? await resolveImages(deps, worker, task, model, draft.masker) : null;
  const { specs, problems } = await release(Math.random, containers);
  if (problems.length > 0) return problems.slice(0, MAX_PROBLEMS_IN_REASON).join(', ');
  const insert = async (client: PoolClient) =>
    (await deps.releases.insert(client, task.stackVersionId, specs, secrets)).id;
  return take(deps, worker, task, specs, running, [...remarks, ...imageRemarks(specs, draft.masker)], insert);
}

/** Takes a release that ran before, exactly as it was; returns what stands in the way instead, in words. */
async function runAgain(
  deps: PreparationDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  releaseId: string,
): Promise<string | null> {
  const gone = await missingSecret(deps, releaseId);
  if (gone !== null) return gone;
  const { specs } = await deps.releases.read(releaseId);
  const masker = await deps.releases.masker(releaseId);
  await requireImages(deps, worker, task, specs, masker);
  const running = await observeWorker(deps.pool, deps.releases, worker);
  const sources = await portSources(deps.pool, worker.runtime, task, running);
  const problems = await portProblems(sources, portPlanOf(specs));
  if (problems.length > 0) return problems.slice(0, MAX_PROBLEMS_IN_REASON).join(', ');
  return take(deps, worker, task, specs, running, imageRemarks(specs, masker), async () => releaseId);
}

/** Reserves what a release needs and gives it to the deployment, with its steps, in one transaction. */
async function take(
  deps: PreparationDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  specs: ReleaseSpecs,
  running: readonly ObservedInstance[],
  remarks: readonly Remark[],
  releaseFor: (client: PoolClient) => Promise<string>,
): Promise<string | null> {
  const why = coexists(task.strategy) ? obstacles(specs, running) : [];
  // Who named it wants no interruption; what follows an earlier deployment wants above all to run.
  if (why.length > 0 && task.trigger === 'MANUAL') return refusal(task.strategy, why);
  const told: Remark[] =
    why.length > 0 ? [{ text: `RECREATE instead of ${task.strategy}: ${why.join(', ')}`, level: 'WARN' }] : [];
  try {
    await fenced(deps.pool, worker.lease, async (client, record) => {
      await reservePorts(client, task, portPlanOf(specs));
      const stored = await client.query<{ release_id: string | null }>(
        'select release_id from deployments where id = $1 for no key update',
        [task.id],
      );
      if (stored.rows[0]?.release_id) return;
      const releaseId = await releaseFor(client);
      await client.query(
        'update deployments set release_id = $2, strategy = $3::text::"DeploymentStrategy" where id = $1',
        [task.id, releaseId, why.length > 0 ? 'RECREATE' : task.strategy],
      );
      await tell(client, record, task.id, [...remarks, ...told]);
      await planSteps(client, task.id, stepsFor(specs, running));
      await markStep(client, record, task.id, { name: stepNames.prepare, state: 'SUCCEEDED' });
    });
  } catch (error) {
    if (error instanceof ConflictError) return error.message;
    throw error;
  }
  return null;
}

function errorsInWords(findings: readonly Finding[]): string {
  const errors = findings.filter(({ severity }) => severity === 'ERROR');
  const first = errors
    .slice(0, MAX_PROBLEMS_IN_REASON)
    .map(({ message, line }) => (line ? `line ${line}: ${message}` : message));
  const more = errors.length - first.length;
  return `the compose file cannot be deployed here: ${first.join(' ')}${more > 0 ? ` (and ${more} more, see its log)` : ''}`;
}

/** A line of the deployment's log. */
type Remark = { text: string; level: LogLevel; service?: string };
const LEVELS = { ERROR: 'ERROR', WARNING: 'WARN', INFO: 'INFO' } as const;

function remarkOf({ severity, message, path, line }: Finding, masker: Masker): Remark {
  const place = [path, line ? `line ${line}` : null].filter(Boolean).join(', ');
  return { text: masker.maskText(`${message}${place ? ` (${place})` : ''}`), level: LEVELS[severity] };
}

/** In the transaction that ends the step, so that no crash makes it be said twice. */
/** What the release runs, for whoever looks into the log later. */
function imageRemarks(specs: ReleaseSpecs, masker: Masker): Remark[] {
  return imagesInWords(specs).map(({ service, text }) => ({ service, text: masker.maskText(text), level: 'INFO' }));
}

async function tell(
  client: PoolClient,
  record: Recorder,
  deploymentId: string,
  remarks: readonly Remark[],
): Promise<void> {
  if (remarks.length === 0) return;
  for (const { text, level, service } of remarks) await systemLine(client, deploymentId, text, level, { service });
  record.wake(logTopic(deploymentId));
}

const STEP_MESSAGES: Record<ChangeAction, string | null> = {
  CREATE: 'new',
  RECREATE: 'replaces what runs',
  SCALE: 'another number of replicas',
  REMOVE: null,
  UNCHANGED: 'unchanged',
};

function stepsFor(specs: ReleaseSpecs, running: readonly ObservedInstance[]): StepChange[] {
  const names = new Set(specs.services.map(({ name }) => name));
  const services = planChanges(specs, running)
    .filter(({ service }) => names.has(service))
    .map(({ service, action }): StepChange => {
      const state = action === 'UNCHANGED' ? 'SKIPPED' : 'PENDING';
      return { name: stepNames.service(service), state, message: STEP_MESSAGES[action] };
    });
  const pending = [stepNames.verify, stepNames.commit].map((name): StepChange => ({ name, state: 'PENDING' }));
  return [{ name: stepNames.prepare, state: 'RUNNING' }, ...services, ...pending];
}
