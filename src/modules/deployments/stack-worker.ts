import { stripVTControlCharacters } from 'node:util';
import type { Pool, PoolClient } from 'pg';
import { isOutage } from '../../db/outage.ts';
import type { Lease } from '../../engine/host-lease.ts';
import { type InstanceStatus, type Runtime, RuntimeUnavailableError, type StackRef } from '../../runtimes/runtime.ts';
import { delay } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { fenced, type Recorder, untilStored } from '../lease-transaction.ts';
import { route } from './ingress-routes.ts';
import { type StackHandle, storeStatuses } from './instances.ts';
import { reassess } from './live-state.ts';
import { lockStack } from './records.ts';
import type { ReleaseStore } from './release-store.ts';
import { reviveLost } from './revival.ts';
import { StackLogs } from './stack-logs.ts';

/** Changes that come together are stored together. */
const COALESCE_MS = 20;
const RESTART_MS = 500;
/** A task without news looks around so often. */
const LOOK_MS = 5_000;

export type StackWorkerDependencies = {
  pool: Pool;
  runtime: Runtime;
  releases: ReleaseStore;
  log: Logger;
  logLinesPerSecond: number;
};

/**
 * Under the host's lease: knows what the instances of one stack do, stores it, and stores every line that they write. Lives as long
 * as anything of the stack does.
 */
export class StackWorker implements StackHandle {
  readonly stack: StackRef;
  readonly lease: Lease;
  readonly runtime: Runtime;
  readonly #deps: StackWorkerDependencies;
  readonly #stop = new AbortController();
  readonly #statuses = new Map<string, InstanceStatus>();
  readonly #unstored = new Set<string>();
  /** Statuses are taken in the order in which they came. */
  #noting: Promise<unknown> = Promise.resolve();
  readonly #logs: StackLogs;
  #changed = Promise.withResolvers<void>();
  /** Set where something may have been lost: at first, when an end was seen that nobody explains, and after a roll-out. */
  #mayHaveLost = true;
  #reviving: Promise<unknown> = Promise.resolve();
  #tasks: Promise<void>[] = [];

  constructor(deps: StackWorkerDependencies, stack: StackRef, lease: Lease) {
    this.#deps = deps;
    this.stack = stack;
    this.lease = lease;
    this.runtime = deps.runtime;
    const { pool, runtime, releases, log, logLinesPerSecond } = deps;
    const logs = { pool, runtime, log, logLinesPerSecond, stack, lease };
    this.#logs = new StackLogs({ ...logs, maskerOf: (id) => maskerOf(pool, releases, id) }, this.#over);
  }

  get #over(): AbortSignal {
    return AbortSignal.any([this.#stop.signal, this.lease.signal]);
  }

  /** Resolves once it knows every instance that there is: before that, nothing may be judged. */
  async start(): Promise<void> {
    const over = this.#over;
    await Promise.all((await this.runtime.list(this.stack)).map((status) => this.note(status)));
    await this.#logs.start();
    // The watch ends with the lease, and so does what it still wanted to tell.
    const ended = () => undefined;
    const again = (what: string, work: () => Promise<void>) => this.#again(what, work, over);
    this.#tasks = [
      again('watch', () => this.runtime.watch(this.stack, (status) => void this.note(status).catch(ended), over)),
      again('store', () => this.#store(over)),
      again('revive', () => this.#revive(over)),
    ];
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#tasks, this.#logs.close()]);
  }

  status(instanceId: string): InstanceStatus | undefined {
    return this.#statuses.get(instanceId);
  }

  note(status: InstanceStatus): Promise<InstanceStatus> {
    return this.#take(status, false);
  }

  noteStart(status: InstanceStatus): Promise<InstanceStatus> {
    return this.#take(status, true);
  }

  #take(status: InstanceStatus, unlessKnown: boolean): Promise<InstanceStatus> {
    const noted = this.#noting.then(async () => {
      const known = this.#statuses.get(status.instanceId);
      if (unlessKnown && known) return known;
      const masked = await this.#masked(status);
      this.#statuses.set(status.instanceId, masked);
      this.#unstored.add(status.instanceId);
      if (status.state !== 'STOPPED') this.#logs.follow(status.instanceId);
      this.#wake();
      return masked;
    });
    this.#noting = noted.catch(() => undefined);
    return noted;
  }

  /** A reason may quote a command, or what a health check printed. */
  async #masked(status: InstanceStatus): Promise<InstanceStatus> {
    const { instanceId, reason } = status;
    if (reason === null) return status;
    const { pool, releases } = this.#deps;
    const masker = await untilStored(this.#over, () => maskerOf(pool, releases, instanceId));
    return { ...status, reason: masker && stripVTControlCharacters(masker.maskText(reason)) };
  }

  /** In a transaction that holds the stack's row and judges by what is stored: all that is known of the instances now. */
  async storeKnown(client: PoolClient, record: Recorder): Promise<void> {
    await storeStatuses(client, record, [...this.#statuses.values()]);
  }

  /** Looks again at the whole, also without news: a roll-out ended, or begins. */
  recheck(): void {
    for (const id of this.#statuses.keys()) this.#unstored.add(id);
    this.#mayHaveLost = true;
    this.#wake();
  }

  /** Resolves when nothing is being brought back any more. With a deployment under way that does not begin again. */
  async settled(): Promise<void> {
    await this.#reviving.catch(() => undefined);
  }

  /** Resolves with the first result of `look` that is not null; null after the timeout or when the signal aborts. */
  async until<T>(look: () => T | null, timeoutMs: number, signal: AbortSignal, lookEveryMs: number): Promise<T | null> {
    const end = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs), this.#over]);
    for (;;) {
      const found = look();
      if (found !== null || end.aborted) return found;
      await Promise.race([this.#changed.promise, delay(lookEveryMs, end)]);
    }
  }

  drain(instanceId: string): Promise<void> {
    return this.#logs.drain(instanceId);
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async #store(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      if (this.#unstored.size === 0) {
        const { promise } = this.#changed;
        await Promise.race([promise, delay(LOOK_MS, over)]);
        if (this.#unstored.size === 0) continue;
      }
      await delay(COALESCE_MS, over);
      const ids = [...this.#unstored];
      this.#unstored.clear();
      try {
        await fenced(this.#deps.pool, this.lease, async (client, record) => {
          await lockStack(client, this.stack.id);
          await storeStatuses(client, record, ids.map((id) => this.#statuses.get(id)!).filter(Boolean));
          await reassess(client, record, this.stack.id);
        });
      } catch (error) {
        for (const id of ids) this.#unstored.add(id);
        throw error;
      }
      // What was lost is told of before it is brought back.
      if (ids.some((id) => isGone(this.#statuses.get(id)))) {
        this.#mayHaveLost = true;
        this.#wake();
      }
      for (const id of ids) if (this.#statuses.get(id)?.state === 'STOPPED') this.#statuses.delete(id);
    }
  }

  async #revive(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      const { promise } = this.#changed;
      if (!this.#mayHaveLost) await Promise.race([promise, delay(LOOK_MS, over)]);
      if (!this.#mayHaveLost || over.aborted) continue;
      this.#mayHaveLost = false;
      const reviving = reviveLost(this.#deps, this);
      this.#reviving = reviving;
      const changed = await reviving.catch((error: unknown) => {
        this.#mayHaveLost = true;
        throw error;
      });
      // An outage may have hidden what came of it.
      if (changed) this.#mayHaveLost = true;
      await this.#routeLive();
    }
  }

  /** Lets new connections go to what runs of a live deployment, unless one is being worked on: then that says where. */
  async #routeLive(): Promise<void> {
    const { pool, releases, runtime } = this.#deps;
    if (!runtime.ingress) return;
    const { rows } = await pool.query<{ id: string; releaseId: string }>(
      `select d.id, d.release_id as "releaseId" from stack_environments se join deployments d on d.id = se.live_deployment_id
       where se.id = $1 and se.active_deployment_id is null and d.release_id is not null`,
      [this.stack.id],
    );
    if (!rows[0]) return;
    const { specs } = await releases.read(rows[0].releaseId);
    await route({ pool, releases }, this, { deploymentId: rows[0].id, specs }, 'own');
  }

  /** Keeps a task going until the end: what failed is tried again a little later. */
  async #again(what: string, work: () => Promise<void>, over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      try {
        await work();
      } catch (error) {
        if (!over.aborted) this.#report(error, what);
      }
      await delay(RESTART_MS, over);
    }
  }

  #report(error: unknown, what: string): void {
    const level = isOutage(error) || error instanceof RuntimeUnavailableError ? 'debug' : 'error';
    this.#deps.log[level](
      { err: error, stack: this.stack.id, task: what },
      'work for a stack failed and is tried again',
    );
  }
}

/** Whether a status says that its instance is gone, and not how it ended. */
function isGone(status: InstanceStatus | undefined): boolean {
  return status?.state === 'STOPPED' || (status?.state === 'EXITED' && status.exitCode === null);
}

async function maskerOf(pool: Pool, releases: ReleaseStore, instanceId: string) {
  const { rows } = await pool.query<{ release_id: string }>('select release_id from instances where id = $1', [
    instanceId,
  ]);
  return rows[0] ? releases.masker(rows[0].release_id) : null;
}
