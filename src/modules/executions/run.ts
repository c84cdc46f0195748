import { isOutage } from '../../db/outage.ts';
import { LeaseLostError } from '../../engine/host-lease.ts';
import { delay, HOUR_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { type AdvanceDependencies, type Advanced, advance, type Ended } from './advance.ts';
import { ExecutionLostError, isNestedTooDeep, type Loaded, storableJson } from './ledger.ts';
import { OutputWriter } from './output-writer.ts';
import { type ExecutionRow, MAX_NESTING, StepFailure, type StepRow, type StepWork } from './procedure.ts';

/** Timers take no more than some weeks. */
const MAX_LOOK_MS = HOUR_MS;
const INTERNAL_FAULT = 'an internal fault (the server log says which)';

export type RunDependencies = AdvanceDependencies & { log: Logger };

/** The work on one execution, as long as this process has it in hand. */
export class ExecutionRun {
  readonly #deps: RunDependencies;
  readonly #id: string;
  readonly #output: OutputWriter;
  /** Steps under way, and what stops them. */
  readonly #inHand = new Map<string, AbortController>();
  readonly #over: AbortSignal;
  /** What is stored, as of when, where nobody else has changed it as far as is known. */
  #known: { loaded: Loaded; at: number } | null = null;
  #isOutdated = false;
  #ended: Ended[] = [];
  #heldBackFor: string | null = null;
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
        const known = this.#known && atPresent(this.#known.loaded, performance.now() - this.#known.at);
        // Whoever asks for another look meanwhile has it read anew.
        this.#known = null;
        this.#isOutdated = false;
        const inHand = new Set(this.#inHand.keys());
        const at = performance.now();
        const advanced = await advance(this.#deps, { executionId: this.#id, known, ended, inHand });
        if (!this.#isOutdated) this.#known = { loaded: advanced.loaded, at };
        this.#begin(advanced);
        if (advanced.isLetGo) return;
        this.#heldBackFor = advanced.isMore ? advanced.loaded.execution.organizationId : null;
        await this.#somethingHappens(advanced.lookInMs);
      }
    } catch (error) {
      const isElsewhere = error instanceof ExecutionLostError || error instanceof LeaseLostError;
      if (!isElsewhere && !this.#over.aborted) throw error;
    } finally {
      for (const controller of this.#inHand.values()) controller.abort();
    }
  }

  /** The organization whose turn it is not, where the run waits for nothing else; see FairShare. */
  get heldBackFor(): string | null {
    return this.#heldBackFor;
  }

  /** Looks again at what is stored: something was decided elsewhere. */
  look(): void {
    this.#known = null;
    this.#isOutdated = true;
    this.#happened.resolve();
  }

  #begin({ loaded: { execution, steps }, begun }: Advanced): void {
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
    this.#happened.resolve();
  }

  async #outcomeOf(work: Omit<StepWork, 'write'>): Promise<DistributiveOmit<Ended, 'key' | 'attempt'>> {
    const { execution, step, signal } = work;
    const written = this.#output.of(step);
    try {
      const procedure = this.#deps.procedureOf(execution);
      const result = await procedure.perform({ ...work, write: written.write });
      await written.flush();
      return 'isWaiting' in result
        ? { result: 'waiting', wakeAt: result.wakeAt }
        : { result: 'succeeded', ...result, output: asStored(result.output) };
    } catch (error) {
      // What it wrote before stays; where that cannot be stored, neither can how it ended.
      await written.flush().catch(() => undefined);
      if (signal.aborted) return { result: 'stopped' };
      return { result: 'failed', failure: this.#failureOf(error, step) };
    }
  }

  #failureOf(error: unknown, { key }: StepRow): StepFailure {
    if (error instanceof StepFailure)
      return isNestedTooDeep(error.output) ? new StepFailure(error.message, { ...error, output: null }) : error;
    if (isOutage(error)) return new StepFailure('the database could not be reached', { isTransient: true });
    this.#deps.log.error({ err: error, executionId: this.#id, step: key }, 'a step of an execution failed');
    return new StepFailure(INTERNAL_FAULT);
  }
}

/** What was read so many milliseconds ago, with the times that have come since. */
function atPresent({ execution, steps }: Loaded, passedMs: number): Loaded {
  const now = execution.now + passedMs;
  const isDue = ({ wakeAt }: StepRow) => wakeAt !== null && wakeAt <= now;
  return { execution: { ...execution, now }, steps: steps.map((step) => ({ ...step, isDue: isDue(step) })) };
}

/** As it will be read again. @throws {StepFailure} */
function asStored(output: unknown): unknown {
  if (isNestedTooDeep(output))
    throw new StepFailure(`what came of it cannot be stored: it is nested more than ${MAX_NESTING} deep`);
  return JSON.parse(storableJson(output ?? null));
}

type DistributiveOmit<Type, Keys extends PropertyKey> = Type extends unknown ? Omit<Type, Keys> : never;
