import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import type { Lease } from '../../engine/host-lease.ts';
import type { Bus } from '../../realtime/bus.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { fenced } from '../lease-transaction.ts';
import { Announcer } from './announcer.ts';
import { cancelNeedless } from './cancellation.ts';
import { claimExecutions, executionsToLookAt } from './claim.ts';
import { FairShare } from './fair-share.ts';
import { cancelled, EXECUTIONS_TOPIC, readExecution, storeMove, storeSteps } from './ledger.ts';
import type { ExecutionRow, Procedure } from './procedure.ts';
import { ExecutionRun } from './run.ts';
import { isFinal } from './state.ts';

/** A wake-up that got lost, or a time that has come, is found so often. */
export const LOOK_MS = SECOND_MS;
/** What this process works on at once: most of it waits for others. */
export const MAX_IN_HAND = 200;
/** Of an organization whose turn it is not, so many more are taken in hand beside. */
const MAX_HELD_BACK = 20;
const RETRY_MS = 250;

export type ExecutionWorkerDependencies = {
  pool: Pool;
  bus: Bus;
  log: Logger;
  procedureOf(execution: ExecutionRow): Procedure;
};

/** What the holder of a host's lease does beside its deployments: carries out executions, whoever asked for them. */
export class ExecutionWorker {
  readonly #deps: ExecutionWorkerDependencies;
  readonly #lease: Lease;
  readonly #stop = new AbortController();
  readonly #runs = new Map<string, { run: ExecutionRun; working: Promise<void> }>();
  /** Ends the pause between two looks. */
  #pause = new AbortController();
  readonly #announcer: Announcer;
  readonly #share = new FairShare();
  #running: Promise<void> = Promise.resolve();

  constructor(deps: ExecutionWorkerDependencies, lease: Lease) {
    this.#deps = deps;
    this.#lease = lease;
    this.#announcer = new Announcer(deps);
  }

  start(): void {
    this.#running = this.#work(AbortSignal.any([this.#stop.signal, this.#lease.signal]));
  }

  /** Lets go of everything; whoever works next goes on from what is stored. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all([...this.#runs.values()].map(({ working }) => working));
    await this.#announcer.close();
  }

  async #work(over: AbortSignal): Promise<void> {
    const { pool, bus, log } = this.#deps;
    using watch = bus.watch([EXECUTIONS_TOPIC]);
    while (!over.aborted) {
      let wait = LOOK_MS;
      try {
        for (const id of await executionsToLookAt(pool, this.#lease, [...this.#runs.keys()]))
          this.#runs.get(id)?.run.look();
        await cancelNeedless(pool, this.#lease);
        const claimed = await this.#claim();
        for (const id of claimed) this.#take(id, over);
      } catch (error) {
        if (over.aborted) return;
        log[isOutage(error) ? 'warn' : 'error']({ err: error }, 'executions are looked at again soon');
        wait = RETRY_MS;
      }
      if (!this.#pause.signal.aborted) await watch.wait(wait, AbortSignal.any([over, this.#pause.signal]));
      this.#pause = new AbortController();
    }
  }

  /** Those that are held back take nobody's place. */
  #claim(): Promise<string[]> {
    const heldBack = [...this.#runs.values()].flatMap(({ run }) => run.heldBackFor ?? []);
    const counts = Map.groupBy(heldBack, (organizationId) => organizationId);
    const full = [...counts].flatMap(([id, { length }]) => (length >= MAX_HELD_BACK ? [id] : []));
    return claimExecutions(this.#deps.pool, this.#lease, MAX_IN_HAND - (this.#runs.size - heldBack.length), full);
  }

  #take(id: string, over: AbortSignal): void {
    const former = this.#runs.get(id)?.working;
    const announce = (topic: string) => this.#announcer.announce(topic);
    const run = new ExecutionRun({ ...this.#deps, lease: this.#lease, share: this.#share, announce }, id, over);
    const working = Promise.resolve(former)
      .then(() => run.work())
      .catch((error: unknown) => this.#fail(id, error, over))
      .finally(() => {
        const wasFull = this.#runs.size >= MAX_IN_HAND;
        if (this.#runs.get(id)?.run === run) this.#runs.delete(id);
        // There may be one that waits for its turn.
        if (wasFull) this.#pause.abort();
      });
    this.#runs.set(id, { run, working });
  }

  /** A fault of ours ends the execution: it would meet it again and again. */
  async #fail(id: string, error: unknown, over: AbortSignal): Promise<void> {
    const { pool, log } = this.#deps;
    log.error({ err: error, executionId: id }, 'the work on an execution broke');
    try {
      await fenced(pool, this.#lease, async (client, record) => {
        const loaded = await readExecution(client, id);
        if (!loaded || isFinal(loaded.execution.status)) return;
        await storeSteps(client, id, cancelled(loaded.steps));
        await storeMove(client, record, loaded.execution, {
          to: 'FAILED',
          reason: 'an internal fault (the server log says which)',
        });
      });
    } catch (cause) {
      if (!over.aborted) log.error({ err: cause, executionId: id }, 'a broken execution could not be ended yet');
    }
  }
}
