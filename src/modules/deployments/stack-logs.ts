import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import { holdsLease, type Lease, LeaseLostError } from '../../engine/host-lease.ts';
import { LogCollector } from '../../realtime/log-collector.ts';
import type { Masker } from '../../realtime/masking.ts';
import { type LogRef, type Runtime, RuntimeUnavailableError, type StackRef } from '../../runtimes/runtime.ts';
import { delay } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';

const RESTART_MS = 500;
/** How long a stop waits for the last lines to be stored before it goes on without them. */
const DRAIN_TIMEOUT_MS = 60_000;

export type StackLogOptions = {
  pool: Pool;
  runtime: Runtime;
  log: Logger;
  logLinesPerSecond: number;
  stack: StackRef;
  lease: Lease;
  /** Of an instance; null: it is not known any more, and its lines are left out. */
  maskerOf(instanceId: string): Promise<Masker | null>;
};

type Follower = { collector: LogCollector; ended: Promise<void> };

/** Stores every line that the instances of a stack write: from one log, or from one of each instance. */
export class StackLogs {
  readonly #options: StackLogOptions;
  readonly #over: AbortSignal;
  /** By instance; the stack's own log under the empty id. */
  readonly #followers = new Map<string, Follower>();

  constructor(options: StackLogOptions, over: AbortSignal) {
    this.#options = options;
    this.#over = over;
  }

  async start(): Promise<void> {
    const { runtime, stack } = this.#options;
    if (runtime.logsBy === 'stack') this.#follow(null);
    else for (const instanceId of await runtime.unreadLogs(stack)) this.#follow(instanceId);
  }

  /** There is such an instance: its lines are stored from now on. */
  follow(instanceId: string): void {
    if (this.#options.runtime.logsBy === 'instance') this.#follow(instanceId);
  }

  /** Resolves when every line that a stopped instance has written is stored, or that takes too long. */
  async drain(instanceId: string): Promise<void> {
    const { runtime, stack } = this.#options;
    const isShared = runtime.logsBy === 'stack';
    const { collector, ended } = this.#follow(isShared ? null : instanceId);
    const end = isShared ? await runtime.logEnd({ stack, instanceId: null }) : null;
    const timeout = AbortSignal.any([AbortSignal.timeout(DRAIN_TIMEOUT_MS), this.#over]);
    if (end !== null) await collector.waitFor(end, timeout);
    else await Promise.race([ended, aborted(timeout)]);
    if (this.#over.aborted) throw new LeaseLostError('the lease ended while lines were being stored');
  }

  /** Resolves when nothing is being stored any more, once its signal has aborted. */
  async close(): Promise<void> {
    await Promise.all([...this.#followers.values()].map(({ ended }) => ended));
  }

  #follow(instanceId: string | null): Follower {
    const key = instanceId ?? '';
    const known = this.#followers.get(key);
    if (known) return known;
    const collector = this.#collect({ stack: this.#options.stack, instanceId });
    const ended = this.#run(collector, instanceId).finally(() => this.#followers.delete(key));
    const follower = { collector, ended };
    this.#followers.set(key, follower);
    return follower;
  }

  #collect(ref: LogRef): LogCollector {
    const { pool, runtime, log, logLinesPerSecond, stack, lease, maskerOf } = this.#options;
    return new LogCollector({
      pool,
      log,
      owner: { stackEnvironmentId: stack.id, instanceId: ref.instanceId },
      read: (from, signal) => runtime.logs(ref, from, signal),
      maskerOf,
      fence: (client) => holdsLease(client, lease),
      linesPerSecond: logLinesPerSecond,
      onStored: (position) => void runtime.trimLogs(ref, position).catch((error) => this.#report(error, 'trim')),
    });
  }

  /** A stack's log has no end; an instance's has, once it was stopped. What failed is tried again a little later. */
  async #run(collector: LogCollector, instanceId: string | null): Promise<void> {
    while (!this.#over.aborted) {
      try {
        await collector.run(this.#over);
        if (instanceId !== null) return;
      } catch (error) {
        if (!this.#over.aborted) this.#report(error, 'log');
      }
      await delay(RESTART_MS, this.#over);
    }
  }

  #report(error: unknown, task: string): void {
    const { log, stack } = this.#options;
    const level = isOutage(error) || error instanceof RuntimeUnavailableError ? 'debug' : 'error';
    log[level]({ err: error, stack: stack.id, task }, 'work for a stack failed and is tried again');
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
