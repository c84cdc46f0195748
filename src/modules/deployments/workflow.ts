import type { Pool } from 'pg';
import {
  type BrokenWorkflow,
  currentWorkflow,
  type DurableWorkflow,
  registerWorkflow,
  runStep,
} from '../../engine/durable.ts';
import type { Bus } from '../../realtime/bus.ts';
import type { Logger } from '../../shared/logger.ts';
import { isReplica, type ReleaseInHand } from './bring-up.ts';
import { watchCancellation } from './cancellation.ts';
import { abandon, commit, takeDown } from './conclusion.ts';
import { isStartFailure } from './health.ts';
import { presentInstances } from './instances.ts';
import { type PreparationDependencies, prepare } from './preparation.ts';
import type { ReleaseStore } from './release-store.ts';
import { applyService, verify } from './roll-out.ts';
import type { StackWorker } from './stack-worker.ts';
import { isFinal } from './state.ts';
import { StepHosts } from './step-hosts.ts';
import { type DeploymentTask, STEP_OK, type StepOutcome } from './task.ts';

/** What a step works with; read anew in each, since another process may run the next. */
export type StepContext = { task: DeploymentTask; worker: StackWorker };

/** `ends`: what it does is the last that is done for the deployment. */
export type StepInHand = { deploymentId: string; workflowId: string; ends: boolean };

/** Where the steps of this process's workflows get their hands from: the holder of a host's lease. */
export type StepHost = PreparationDependencies & {
  pool: Pool;
  bus: Bus;
  log: Logger;
  releases: ReleaseStore;
  /**
   * Runs a step's work with its task and its stack's worker. What a lost lease or an ending process interrupts never settles: the step
   * stays unrecorded, and whoever holds the lease next runs it again. `fallback` is the result of an unforeseen fault.
   */
  inStep<T>(step: StepInHand, work: (context: StepContext) => Promise<T>, fallback: (reason: string) => T): Promise<T>;
  finished(deploymentId: string): void;
  /** A workflow ended before its work did: it is begun anew. */
  broke(broken: BrokenWorkflow): void;
};

/** The workflows are code of the process, registered once; the hosts that they work for come and go with their leases. */
export const stepHosts = new StepHosts<StepHost>();

type Work<T> = (context: StepContext, host: StepHost) => Promise<T>;

const onBroken = (broken: BrokenWorkflow) => {
  for (const host of stepHosts.present()) host.broke(broken);
};

const ENDING_STEPS = ['abandon', 'stop'];

const failure = (reason: string): StepOutcome => ({ result: 'failed', reason, started: false });

function step<T>(name: string, deploymentId: string, work: Work<T>, fallback: (reason: string) => T): Promise<T> {
  return runStep(name, async () => {
    const host = await stepHosts.of(deploymentId);
    if (!host) return fallback('it was deleted');
    const here = { deploymentId, workflowId: currentWorkflow(), ends: ENDING_STEPS.includes(name) };
    return host.inStep(here, (context) => work(context, host), fallback);
  });
}

async function releaseOf(task: DeploymentTask, { releases }: StepHost): Promise<ReleaseInHand> {
  if (!task.releaseId) throw new Error(`deployment ${task.id} has no release`);
  const { specs } = await releases.read(task.releaseId);
  return { deploymentId: task.id, releaseId: task.releaseId, specs };
}

/** Its steps are recorded by their order: another order is another version of the workflow. */
export const deployWorkflow: DurableWorkflow = registerWorkflow(
  'deploy.v1',
  async (deploymentId) => {
    let outcome = await step(
      'prepare',
      deploymentId,
      async ({ task, worker }, host): Promise<StepOutcome> => {
        if (isFinal(task.status)) return { result: 'over' };
        return task.status === 'CANCELLING' ? { result: 'cancelled' } : prepare(host, worker, task);
      },
      failure,
    );
    if (outcome.result === 'ok') {
      const services = await step(
        'plan',
        deploymentId,
        async ({ task }, host) => (await releaseOf(task, host)).specs.services.map(({ name }) => name),
        () => null,
      );
      outcome = services ? STEP_OK : failure('its release could not be read');
      for (const service of services ?? []) {
        outcome = await step(
          `apply ${service}`,
          deploymentId,
          ({ task, worker }, host) =>
            rolling(task, host, (release, cancelled) => applyService(host, worker, task, release, service, cancelled)),
          failure,
        );
        if (outcome.result !== 'ok') break;
      }
    }
    if (outcome.result === 'ok')
      outcome = await step(
        'verify',
        deploymentId,
        ({ task, worker }, host) =>
          rolling(task, host, (release, cancelled) => verify(host, worker, task, release, cancelled)),
        failure,
      );
    if (outcome.result === 'over') return finish(deploymentId);
    const trouble = outcome.result === 'failed' && outcome.started ? outcome.reason : null;
    const committed = await step(
      'commit',
      deploymentId,
      async ({ task, worker }, host): Promise<StepOutcome> => {
        if (task.liveDeploymentId === task.id) return STEP_OK;
        const goesLive =
          outcome.result === 'ok' ||
          (trouble !== null && !task.autoRollback && (await allServicesStarted(task, worker, host)));
        return goesLive ? commit(host, worker, task, await releaseOf(task, host), trouble) : outcome;
      },
      failure,
    );
    if (committed.result === 'failed' || committed.result === 'cancelled')
      await step(
        'abandon',
        deploymentId,
        async ({ task, worker }, host) => {
          const failed = committed.result === 'failed';
          const reason = failed ? committed.reason : null;
          await abandon(host, worker, task, { reason, restore: !failed || task.autoRollback });
          return null;
        },
        () => null,
      );
    finish(deploymentId);
  },
  onBroken,
);

export const stopWorkflow: DurableWorkflow = registerWorkflow(
  'stop.v1',
  async (deploymentId) => {
    await step(
      'stop',
      deploymentId,
      async ({ task, worker }, host) => {
        if (!isFinal(task.status)) await takeDown(host, worker, task);
        return null;
      },
      () => null,
    );
    finish(deploymentId);
  },
  onBroken,
);

function finish(deploymentId: string): void {
  for (const host of stepHosts.present()) host.finished(deploymentId);
}

/** Work that a cancel interrupts. */
async function rolling(
  task: DeploymentTask,
  host: StepHost,
  work: (release: ReleaseInHand, cancelled: AbortSignal) => Promise<StepOutcome>,
): Promise<StepOutcome> {
  if (isFinal(task.status)) return { result: 'over' };
  using cancellation = await watchCancellation(host, task.id);
  if (cancellation.signal.aborted) return cancellation.outcome();
  const outcome = await work(await releaseOf(task, host), cancellation.signal);
  return outcome.result === 'cancelled' ? cancellation.outcome() : outcome;
}

/** Not becoming healthy is one thing, not starting another: only the first may go live on request. */
async function allServicesStarted(task: DeploymentTask, worker: StackWorker, host: StepHost): Promise<boolean> {
  const { specs } = await releaseOf(task, host);
  const present = await presentInstances(host.pool, task.stackEnvironmentId);
  return specs.services.every((service) =>
    service.replicas.every((spec) => {
      const row = present.find((candidate) => isReplica(candidate, spec) && candidate.configHash === spec.configHash);
      const status = row && worker.status(row.id);
      return status !== undefined && !isStartFailure(status);
    }),
  );
}
