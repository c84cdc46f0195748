import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import { type BrokenWorkflow, cancelWorkflow, pruneWorkflows, workflowOutcome } from '../../engine/durable.ts';
import { type Lease, LeaseLostError } from '../../engine/host-lease.ts';
import type { Bus } from '../../realtime/bus.ts';
import { type Runtime, RuntimeError, RuntimeUnavailableError, StaleLeaseError } from '../../runtimes/runtime.ts';
import { DAY_MS, delay, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Environments } from '../environments/service.ts';
import { untilStored } from '../lease-transaction.ts';
import { tellWaiting } from './engine-waits.ts';
import { type GivenUp, giveUp } from './giving-up.ts';
import { HostRemovals } from './host-removals.ts';
import { freeIdlePorts } from './idle-ports.ts';
import { retire } from './instances.ts';
import { hostTopic } from './records.ts';
import type { ReleaseStore } from './release-store.ts';
import { StackWorkers } from './stack-workers.ts';
import { type DeploymentTask, readTask } from './task.ts';
import { type Failing, failingWithinWatch } from './watch-window.ts';
import { claimWork, leftBehind, type Work } from './work-queue.ts';
import {
  deployWorkflow,
  type StepContext,
  type StepHost,
  type StepInHand,
  stepHosts,
  stopWorkflow,
} from './workflow.ts';

/** What a crash left between a commit and its work is found so often, at the latest. */
export const RECONCILE_MS = 5 * SECOND_MS;
/** A workflow that broke is begun anew so often; then its deployment ends as FAILED. */
const MAX_ATTEMPTS = 20;
/** Workflows are kept so long after their end, to be looked into. */
const KEEP_WORKFLOWS_MS = 7 * DAY_MS;
const FREE_PORTS_EVERY_MS = MINUTE_MS;
const RETRY_MS = 250;
/** A runtime that cannot be reached is asked again so often. */
const UNREACHED_RETRY_MS = SECOND_MS;
const WAITING = 'it could not be said yet that deployments wait for their engine';

export type HostWorkerDependencies = {
  pool: Pool;
  bus: Bus;
  runtime: Runtime;
  releases: ReleaseStore;
  environments: Environments;
  /** Asks for what ran before a deployment that fails while it is watched. */
  revert: (failing: Failing) => Promise<void>;
  log: Logger;
  /** How many lines of a stack are stored in the long run; 0: all. */
  logLinesPerSecond: number;
  /**
   * Whether the durable engine of this process bears the host's name, and so takes up itself what an earlier holder left. Otherwise
   * that is begun anew, and what still runs of it is not heard any more.
   */
  recovers: boolean;
};

/** What the holder of a host's lease does: takes up deployments in the order of their numbers and looks after every stack of its host. */
export class HostWorker {
  readonly #deps: HostWorkerDependencies;
  readonly #lease: Lease;
  readonly #stop = new AbortController();
  readonly #stacks: StackWorkers;
  /** Deployments whose workflow runs in this process, and its id. */
  readonly #inHand = new Map<string, string>();
  /** Workflows that ended with an error in this process, whatever the engine's tables say. */
  readonly #broken = new Set<string>();
  #running: Promise<void> = Promise.resolve();
  readonly #removals: HostRemovals;
  #pruneAt = 0;
  #freePortsAt = 0;

  constructor(deps: HostWorkerDependencies, lease: Lease) {
    this.#deps = deps;
    this.#lease = lease;
    this.#stacks = new StackWorkers(deps, lease);
    this.#removals = new HostRemovals(deps, lease);
  }

  /** Must come before the durable engine is launched: recovered workflows find their hands here. */
  begin(): void {
    const { pool, bus, releases, environments, log } = this.#deps;
    const host: StepHost = {
      pool,
      bus,
      log,
      releases,
      environments,
      inStep: (step, work, fallback) => this.#inStep(step, work, fallback),
      finished: (id) => this.#finished(id),
      broke: (broken) => this.#broke(broken),
    };
    stepHosts.set(this.#lease.hostId, host);
  }

  /** Takes up the work, once the engine is launched. */
  run(): void {
    this.#running = this.#reconcileForever();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    stepHosts.delete(this.#lease.hostId);
    await this.#running;
    await this.#removals.close();
    await this.#stacks.close();
  }

  get #over(): AbortSignal {
    return AbortSignal.any([this.#stop.signal, this.#lease.signal]);
  }

  async #reconcileForever(): Promise<void> {
    const over = this.#over;
    using watch = this.#deps.bus.watch([hostTopic(this.#lease.hostId)]);
    let hasFailed = false;
    while (!over.aborted) {
      let wait = RECONCILE_MS;
      try {
        await this.#reconcile();
        for (const failing of await failingWithinWatch(this.#deps.pool, this.#lease.hostId))
          await this.#deps.revert(failing);
        await this.#freePorts();
        await this.#prune();
        hasFailed = false;
      } catch (error) {
        if (over.aborted) return;
        const isUnreached = error instanceof RuntimeUnavailableError;
        const level = isUnreached && hasFailed ? 'debug' : isUnreached || isOutage(error) ? 'warn' : 'error';
        this.#deps.log[level]({ err: error }, 'the work of this host is looked at again soon');
        hasFailed = true;
        wait = isUnreached ? UNREACHED_RETRY_MS : RETRY_MS;
      }
      await watch.wait(wait, over);
    }
  }

  async #reconcile(): Promise<void> {
    const { pool } = this.#deps;
    const { hostId } = this.#lease;
    for (const { deploymentId, status } of await claimWork(pool, this.#lease)) {
      if (this.#inHand.has(deploymentId)) continue;
      this.#inHand.set(deploymentId, '');
      try {
        await this.#startWork({ deploymentId, status });
      } catch (error) {
        this.#inHand.delete(deploymentId);
        throw error;
      }
    }
    const { rows } = await pool.query<{ id: string }>(
      `select se.id from stack_environments se join environments e on e.id = se.environment_id
       where e.host_id = $1 and (se.live_deployment_id is not null or se.active_deployment_id is not null
             or exists (select 1 from instances i where i.stack_environment_id = se.id and i.removed_at is null))`,
      [hostId],
    );
    const wanted = new Set(rows.map(({ id }) => id));
    await this.#stacks.keep(wanted);
    for (const { stackEnvironmentId, ...row } of await leftBehind(pool, hostId))
      await retire(pool, await this.#stacks.of(stackEnvironmentId), row);
    await this.#removals.take((id) => this.#stacks.letGo(id));
  }

  async #freePorts(): Promise<void> {
    if (performance.now() < this.#freePortsAt) return;
    await freeIdlePorts(this.#deps.pool, this.#lease);
    this.#freePortsAt = performance.now() + FREE_PORTS_EVERY_MS;
  }

  async #prune(): Promise<void> {
    if (performance.now() < this.#pruneAt) return;
    const pruned = await pruneWorkflows(new Date(Date.now() - KEEP_WORKFLOWS_MS));
    // A full batch: there is more.
    this.#pruneAt = performance.now() + (pruned > 0 ? RECONCILE_MS : HOUR_MS);
  }

  /** Starts the workflow under the deployment's id; one that broke on its way is begun anew, since all of its steps may be repeated. */
  async #startWork({ deploymentId, status }: Work): Promise<void> {
    const isStop = status === 'STOPPING';
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const workflowId = [deploymentId, isStop ? 'stop' : 'deploy', attempt].join(':');
      const outcome = await workflowOutcome(workflowId);
      if (outcome === 'SUCCESS' || outcome === 'ERROR') continue;
      const isOurs = outcome !== 'RUNNING' || this.#deps.recovers;
      if (this.#broken.has(workflowId) || !isOurs) {
        if (outcome === 'RUNNING') await cancelWorkflow(workflowId);
        this.#broken.delete(workflowId);
        continue;
      }
      this.#inHand.set(deploymentId, workflowId);
      await (isStop ? stopWorkflow : deployWorkflow).start(workflowId, deploymentId);
      return;
    }
    this.#deps.log.error({ deploymentId }, 'a workflow broke too often');
    const reason = 'an internal fault: its work broke too often (the server log says why)';
    await this.#giveUp({ deploymentId, isStop, reason }, null);
  }

  async #giveUp(given: GivenUp, task: DeploymentTask | null): Promise<void> {
    await giveUp(this.#deps, this.#lease, given, task);
    this.#finished(given.deploymentId);
  }

  #finished(deploymentId: string): void {
    if (!this.#inHand.delete(deploymentId)) return;
    this.#stacks.recheck();
  }

  #broke({ workflowId, argument: deploymentId, error }: BrokenWorkflow): void {
    if (!this.#mayRun(deploymentId, workflowId)) return;
    const level = isOutage(error) ? 'warn' : 'error';
    this.#deps.log[level]({ err: error, deploymentId }, 'a workflow broke: it is begun anew');
    this.#broken.add(workflowId);
    this.#inHand.delete(deploymentId);
  }

  /** Whether a workflow is the one that this worker wants to be done. */
  #mayRun(deploymentId: string, workflowId: string): boolean {
    return this.#deps.recovers || this.#inHand.get(deploymentId) === workflowId;
  }

  async #inStep<T>(
    { deploymentId, workflowId, ends }: StepInHand,
    work: (context: StepContext) => Promise<T>,
    fallback: (reason: string) => T,
  ): Promise<T> {
    if (!this.#mayRun(deploymentId, workflowId)) return new Promise<never>(() => undefined);
    this.#inHand.set(deploymentId, workflowId);
    const over = this.#over;
    const { pool, runtime } = this.#deps;
    const { hostId } = this.#lease;
    let task: DeploymentTask | null = null;
    let isTold = false;
    while (!over.aborted) {
      try {
        task = await readTask(pool, deploymentId);
        if (!task) return fallback('it was deleted');
        const worker = await this.#stacks.of(task.stackEnvironmentId);
        await worker.settled();
        // What has not begun yet does not begin while nobody answers.
        if (task.status === 'QUEUED') await runtime.list(worker.stack);
        if (isTold) await tellWaiting(pool, hostId, null);
        isTold = false;
        return await work({ task, worker });
      } catch (error) {
        if (over.aborted || error instanceof LeaseLostError || error instanceof StaleLeaseError) break;
        if (isOutage(error)) {
          await delay(RETRY_MS, over);
          continue;
        }
        if (error instanceof RuntimeUnavailableError) {
          const isCancelled = task?.status === 'CANCELLING' && !ends;
          if (!task?.isLate && !isCancelled) {
            await tellWaiting(pool, hostId, error.message).catch((cause) =>
              this.#deps.log.debug({ err: cause }, WAITING),
            );
            isTold = true;
            await delay(UNREACHED_RETRY_MS, over);
            continue;
          }
          const given = { deploymentId, isStop: task?.status === 'STOPPING', reason: unreached(error) };
          if (ends) await this.#giveUp(given, task);
          return fallback(error.message);
        }
        this.#deps.log.error({ err: error, deploymentId }, 'a step of a deployment failed');
        const reason =
          error instanceof RuntimeError
            ? await this.#inWords(error, task?.releaseId ?? null)
            : 'an internal fault (the server log says which)';
        // Nobody goes on after the last one: it is tried until the deployment's time is over.
        if (ends && !task?.isLate) {
          await delay(UNREACHED_RETRY_MS, over);
          continue;
        }
        if (ends) await this.#giveUp({ deploymentId, isStop: task?.status === 'STOPPING', reason }, task);
        return fallback(reason);
      }
    }
    return new Promise<never>(() => undefined);
  }

  /** What a runtime refuses may be quoted from the release, secrets included. */
  async #inWords({ message }: RuntimeError, releaseId: string | null): Promise<string> {
    if (releaseId === null) return message;
    const { releases } = this.#deps;
    return (await untilStored(this.#over, () => releases.masker(releaseId))).maskText(message);
  }
}

const unreached = ({ message }: RuntimeUnavailableError): string =>
  `it could not be brought to an end: ${message}; what it left is taken away once that is possible`;
