import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import { type Lease, LeaseLostError } from '../../engine/host-lease.ts';
import { delay, HOUR_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { type Advanced, advance, type Ended } from './advance.ts';
import { ExecutionLostError } from './ledger.ts';
import { OutputWriter } from './output-writer.ts';
import { type ExecutionRow, type Procedure, StepFailure, type StepRow, type StepWork } from './procedure.ts';

/** Timers take no more than some weeks. */
const MAX_LOOK_MS = HOUR_MS;
const INTERNAL_FAULT = 'an internal fault (the server log says which)';

export type RunDependencies = {
  pool: Pool;
  log: Logger;
  lease: Lease;
  procedureOf(execution: ExecutionRow): Procedure;
};

/** The work on one execution, as long as this process has it in hand. */
export class ExecutionRun {
  readonly #deps: RunDependencies;
  readonly #id: string;
  readonly #output: OutputWriter;
  /** Steps under way, and what stops them. */
  readonly #inHand = new Map<string, AbortController>();
  readonly #over: AbortSignal;
  #ended: Ended[] = [];
  #happened = Promise.withResolvers<void>();

  /** `over` aborts when the process has to let go of it: nothing more is recorded, and whoever takes it next goes on. */
  constructor(deps: RunDependencies, executionId: string, over: AbortSignal) {
    this.#deps = deps;
    this.#id = executionId;
    this.#over = over;
    this.#output = new OutputWriter(deps.pool, deps.lease, executionId);
  }

  /** Resolves when it has ended, waits, or is somebody else's. */
  async work(): Promise<void> {
    try {
      while (!this.#over.aborted) {
        const ended = this.#ended;
        this.#ended = [];
        const advanced = await advance(this.#deps, this.#id, ended, new Set(this.#inHand.keys()));
        this.#begin(advanced);
        if (advanced.isLetGo) return;
        await this.#somethingHappens(advanced.lookInMs);
      }
    } catch (error) {
      const isElsewhere = error instanceof ExecutionLostError || error instanceof LeaseLostError;
      if (!isElsewhere && !this.#over.aborted) throw error;
    } finally {
      for (const controller of this.#inHand.values()) controller.abort();
    }
  }

  /** Looks again at what is stored: something was decided elsewhere. */
  look(): void {
    this.#happened.resolve();
  }

  #begin({ execution, steps, begun }: Advanced): void {
    if (execution.status === 'CANCELLING' || execution.isLate)
      for (const controller of this.#inHand.values()) controller.abort();
    for (const step of begun) void this.#perform(execution, steps, step);
  }

  async #somethingHappens(lookInMs: number | null): Promise<void> {
    if (this.#ended.length === 0 && !this.#over.aborted) {
      const timer = new AbortController();
      const signal = AbortSignal.any([this.#over, timer.signal]);
      const time =
        lookInMs === null ? new Promise<void>(() => undefined) : delay(Math.min(lookInMs, MAX_LOOK_MS), signal);
      const over = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      await Promise.race([this.#happened.promise, time, over]);
      timer.abort();
    }
    this.#happened = Promise.withResolvers<void>();
  }

  async #perform(execution: ExecutionRow, steps: readonly StepRow[], step: StepRow): Promise<void> {
    const { key, attempt } = step;
    const stop = new AbortController();
    this.#inHand.set(key, stop);
    const signal = AbortSignal.any([stop.signal, this.#over]);
    const ended = await this.#outcomeOf({ execution, steps, step, signal, cancelled: stop.signal });
    this.#inHand.delete(key);
    this.#ended.push({ key, attempt, ...ended });
    this.look();
  }

  async #outcomeOf(work: Omit<StepWork, 'write'>): Promise<DistributiveOmit<Ended, 'key' | 'attempt'>> {
    const { execution, step, signal } = work;
    const write = (text: string) => this.#output.write(step.key, step.attempt, text);
    try {
      const procedure = this.#deps.procedureOf(execution);
      const result = await procedure.perform({ ...work, write });
      await this.#output.flush();
      return 'isWaiting' in result ? { result: 'waiting', wakeAt: result.wakeAt } : { result: 'succeeded', ...result };
    } catch (error) {
      if (signal.aborted) return { result: 'stopped' };
      return { result: 'failed', failure: this.#failureOf(error, step) };
    }
  }

  #failureOf(error: unknown, { key }: StepRow): StepFailure {
    if (error instanceof StepFailure) return error;
    if (isOutage(error)) return new StepFailure('the database could not be reached', { isTransient: true });
    this.#deps.log.error({ err: error, executionId: this.#id, step: key }, 'a step of an execution failed');
    return new StepFailure(INTERNAL_FAULT);
  }
}

type DistributiveOmit<Type, Keys extends PropertyKey> = Type extends unknown ? Omit<Type, Keys> : never;
