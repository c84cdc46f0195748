import type { Pool } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import type { TokenUsage } from '../../models/model.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import { jsonLength } from '../../shared/json-length.ts';
import { recorded, untilStored } from '../lease-transaction.ts';
import type { FairShare } from './fair-share.ts';
import { executionTopic, isLetGo, type Loaded, loadExecution, type Move, storeAdvance, tellMove } from './ledger.ts';
import {
  type Conclusion,
  type ExecutionRow,
  type Procedure,
  pauseAfter,
  StepFailure,
  type StepOrder,
  type StepRow,
} from './procedure.ts';
import { isOver } from './state.ts';
import { MAX_EVALUATION_MS, TimeBudget } from './time-budget.ts';

/** What goes on so soon is kept in hand; whatever waits longer is let go of. */
const KEEP_IN_HAND_MS = 5 * SECOND_MS;

/** A step that is under way so often when its server ends is not begun again: it may be why. */
export const MAX_INTERRUPTIONS = 20;

/** In characters of JSON: the outputs of all steps of an execution together. */
export const MAX_OUTPUT_LENGTH = 16 * 1024 * 1024;

/** How a step that was under way has ended. */
export type Ended = { key: string; attempt: number } & (
  | { result: 'succeeded'; output: unknown; usage?: TokenUsage }
  | { result: 'waiting'; wakeAt?: Date }
  | { result: 'failed'; failure: StepFailure }
  /** It was told to stop, and did. */
  | { result: 'stopped' }
);

export type Advanced = {
  /** As it is stored now. */
  loaded: Loaded;
  /** What has to be carried out now, and was not under way. */
  begun: StepRow[];
  /** When to look again, milliseconds from now; null: once something has happened. */
  lookInMs: number | null;
  /** There is more to decide, once others had their turn. */
  isMore: boolean;
  /** Nothing is left to do for whoever has it in hand. */
  isLetGo: boolean;
};

export type AdvanceDependencies = {
  pool: Pool;
  lease: Lease;
  procedureOf(execution: ExecutionRow): Procedure;
  share: FairShare;
  /** Wakes followers, soon. */
  announce(topic: string): void;
};

/** What is to be taken down, and decided upon. */
export type Step = {
  executionId: string;
  /** As it was stored last; null: it is to be read. Where somebody has changed it since, it is read again. */
  known: Loaded | null;
  ended: readonly Ended[];
  /** The steps that are under way; what the row says is RUNNING beside them was interrupted, and begins again. */
  inHand: ReadonlySet<string>;
};

/** Records how steps have ended and what comes next, at once: no step is ever lost, or begun twice, between the two. */
export async function advance(
  deps: AdvanceDependencies,
  { executionId, known, ended, inHand }: Step,
): Promise<Advanced> {
  const { pool, lease, procedureOf, share } = deps;
  for (let loaded = known; ; loaded = null) {
    loaded ??= await untilStored(lease.signal, () => loadExecution(pool, lease, executionId));
    const { execution } = loaded;
    const { organizationId } = execution;
    const board = new Board(loaded, procedureOf(execution));
    for (const each of ended) board.end(each);
    const budget = new TimeBudget({ limitMs: share.waitMs(organizationId) > 0 ? 0 : MAX_EVALUATION_MS });
    const { move, begun, isMore, ...settled } = board.settle(inHand, budget);
    share.used(organizationId, budget.usedMs);
    const lookInMs = isMore
      ? Math.min(share.waitMs(organizationId), settled.lookInMs ?? Number.POSITIVE_INFINITY)
      : settled.lookInMs;
    // Where it is not its organization's turn, often nothing has changed.
    if (isMore && move.to === execution.status && board.changed.length === 0)
      return { loaded, begun, lookInMs, isMore, isLetGo: false };
    const complete = { ...move, usage: board.usage };
    if (!(await untilStored(lease.signal, () => store(deps, execution, board.changed, complete)))) continue;
    const changed = { ...execution, status: move.to, revision: execution.revision + 1 };
    return { loaded: { execution: changed, steps: board.steps }, begun, lookInMs, isMore, isLetGo: isLetGo(move.to) };
  }
}

/** One statement where nothing but steps has changed; else also what is told of it, in a transaction. */
async function store(
  { pool, lease, announce }: AdvanceDependencies,
  execution: ExecutionRow,
  steps: readonly StepRow[],
  move: Move,
): Promise<boolean> {
  if (move.to === execution.status) {
    const isStored = await storeAdvance(pool, lease, execution, steps, move);
    if (isStored) announce(executionTopic(execution.id));
    return isStored;
  }
  return recorded(pool, async (client, record) => {
    const isStored = await storeAdvance(client, lease, execution, steps, move);
    if (isStored) await tellMove(client, record, execution, move);
    return isStored;
  });
}

type Settled = { move: Move; begun: StepRow[]; lookInMs: number | null; isMore: boolean };

/** The steps of an execution while it is decided what becomes of them. */
export class Board {
  readonly #execution: ExecutionRow;
  readonly #procedure: Procedure;
  readonly #steps: Map<string, StepRow>;
  readonly #changed = new Set<string>();
  readonly usage: TokenUsage = { inputTokens: 0, outputTokens: 0 };

  constructor({ execution, steps }: Loaded, procedure: Procedure) {
    this.#execution = execution;
    this.#procedure = procedure;
    this.#steps = new Map(steps.map((step) => [step.key, step]));
  }

  get steps(): StepRow[] {
    return [...this.#steps.values()];
  }

  get changed(): StepRow[] {
    return [...this.#changed].map((key) => this.#steps.get(key)!);
  }

  /** Takes down how a step ended; one that was taken from whoever did it ends as whoever has it now says. */
  end(ended: Ended): void {
    const step = this.#steps.get(ended.key);
    if (step?.state !== 'RUNNING' || step.attempt !== ended.attempt) return;
    const usage =
      ended.result === 'succeeded' ? ended.usage : ended.result === 'failed' ? ended.failure.usage : undefined;
    this.usage.inputTokens += usage?.inputTokens ?? 0;
    this.usage.outputTokens += usage?.outputTokens ?? 0;
    if (ended.result === 'succeeded') this.#succeed(step, ended.output);
    else if (ended.result === 'stopped') this.#set(step, { state: 'CANCELLED' });
    else if (ended.result === 'waiting') this.#set(step, { state: 'WAITING', wakeAt: ended.wakeAt?.getTime() ?? null });
    else this.#fail(step, ended.failure);
  }

  /** `budget`: the time for what has to be evaluated; what it does not do for is decided another time. */
  settle(inHand: ReadonlySet<string>, budget: TimeBudget = new TimeBudget()): Settled {
    const { status, isLate } = this.#execution;
    if (status === 'CANCELLING' || isLate) return this.#stop(inHand);
    for (const step of this.steps)
      if (step.state === 'RUNNING' && !inHand.has(step.key) && interruptionsOf(step) >= MAX_INTERRUPTIONS)
        this.#fail(
          step,
          new StepFailure(`its work was broken off ${MAX_INTERRUPTIONS} times: what it does may end the server`),
        );
    const { conclusion, isMore } = this.#decide(budget);
    if (conclusion) return { move: this.#conclude(conclusion), begun: [], lookInMs: null, isMore: false };
    // Whatever is due again, and its procedure does not just wait for, is carried out.
    const begun = this.steps.filter(
      ({ key, state, isDue }) => (state === 'RUNNING' && !inHand.has(key)) || (state === 'RETRYING' && isDue),
    );
    for (const step of begun)
      this.#set(step, { state: 'RUNNING', attempt: step.attempt + 1, wakeAt: null, isDue: false });
    return { ...this.#wait(isMore), isMore, begun: begun.map(({ key }) => this.#steps.get(key)!) };
  }

  /** Whatever is still open goes no further. */
  #conclude(conclusion: Conclusion): Move {
    for (const step of this.steps) if (!isOver(step.state)) this.#set(step, { state: 'CANCELLED' });
    if (conclusion.status === 'COMPLETED') return { to: 'COMPLETED', output: conclusion.output };
    return { to: 'FAILED', reason: conclusion.reason };
  }

  /** What ends a step at once may bring about the next. */
  #decide(budget: TimeBudget): { conclusion?: Conclusion; isMore: boolean } {
    for (;;) {
      const { orders, conclusion, isMore = false } = this.#procedure.next(this.#execution, this.steps, budget);
      if (orders.length === 0) return { conclusion, isMore };
      for (const order of orders) this.#order(order);
    }
  }

  /** Nothing more is begun, and what waits is over; it ends with what is under way. */
  #stop(inHand: ReadonlySet<string>): Settled {
    for (const step of this.steps)
      if (!isOver(step.state) && !(step.state === 'RUNNING' && inHand.has(step.key)))
        this.#set(step, { state: 'CANCELLED' });
    const isCancelled = this.#execution.status === 'CANCELLING';
    const isDone = this.steps.every(({ state }) => isOver(state));
    const move: Move =
      isDone && !isCancelled
        ? { to: 'FAILED', reason: 'it did not end within its time' }
        : { to: isDone ? 'CANCELLED' : this.#execution.status, reason: this.#execution.statusReason };
    return { move, begun: [], lookInMs: null, isMore: false };
  }

  #wait(isMore: boolean): { move: Move; lookInMs: number | null } {
    const open = this.steps.filter(({ state }) => !isOver(state));
    if (open.length === 0 && !isMore) throw new Error(`execution ${this.#execution.id} has nothing to do, and no end`);
    const times = open.flatMap(({ wakeAt }) => wakeAt ?? []);
    const wakeAt = times.length > 0 ? Math.min(...times) : null;
    const lookInMs = wakeAt === null ? null : Math.max(0, wakeAt - this.#execution.now);
    const isRunning = open.some(({ state }) => state === 'RUNNING');
    const isSoon = lookInMs !== null && lookInMs <= KEEP_IN_HAND_MS;
    return {
      move: isMore || isRunning || isSoon ? { to: 'RUNNING' } : { to: 'WAITING', reason: reasonOf(open), wakeAt },
      lookInMs,
    };
  }

  #order(order: StepOrder): StepRow {
    const known = this.#steps.get(order.key);
    // A procedure that has it wrong would be asked again and again.
    if (known && isOver(known.state)) throw new Error(`${known.key} is ${known.state}: nothing becomes of it any more`);
    const position = Math.max(0, ...this.steps.map((step) => step.position)) + 1;
    const { key, kind, dependsOn = [], input = null, state } = order;
    const fresh: StepRow = {
      ...{ position, key, kind, dependsOn, input, attempt: 0, failures: 0, output: null, error: null },
      ...{ approval: null, waitsFor: null, wakeAt: null, isDue: false, state },
    };
    const step = known ? { ...known, ...(order.input !== undefined && { input }) } : fresh;
    if (order.state === 'WAITING')
      return this.#set(step, {
        ...{ state, approval: order.approval ?? null, waitsFor: order.waitsFor ?? null, error: null },
        ...{ wakeAt: order.wakeAt?.getTime() ?? null, isDue: false },
        attempt: step.state === 'RETRYING' ? step.failures + 1 : step.attempt,
      });
    if (order.state === 'SUCCEEDED') return this.#succeed(step, order.output);
    if (order.state === 'SKIPPED') return this.#set(step, { state, error: order.reason });
    if (order.state === 'FAILED') {
      const { error, isTransient, output } = order;
      return this.#fail(step, new StepFailure(error, { isTransient, output }));
    }
    return this.#set(step, { state });
  }

  /** All of it is read again whenever something is decided about the execution. */
  #succeed(step: StepRow, output: unknown): StepRow {
    const others = this.steps.filter(({ key }) => key !== step.key);
    const length = others.reduce((sum, each) => sum + jsonLength(each.output), jsonLength(output));
    if (length <= MAX_OUTPUT_LENGTH) return this.#set(step, { state: 'SUCCEEDED', output, error: null });
    const most = `${MAX_OUTPUT_LENGTH.toLocaleString('en')} characters`;
    return this.#fail(step, new StepFailure(`what came of the steps so far is more than ${most}: it must be less`));
  }

  #fail(step: StepRow, failure: StepFailure): StepRow {
    const { message: error, output } = failure;
    const failures = step.failures + 1;
    const pause = pauseAfter(this.#procedure.retryOf(this.#execution, step), failures, failure);
    if (pause === null) return this.#set(step, { state: 'FAILED', failures, error, output });
    const wakeAt = this.#execution.now + pause;
    return this.#set(step, { state: 'RETRYING', failures, error, output: null, wakeAt, isDue: pause === 0 });
  }

  #set(step: StepRow, change: Partial<StepRow>): StepRow {
    const changed = { ...step, ...change };
    if (isOver(changed.state)) Object.assign(changed, { wakeAt: null, isDue: false });
    this.#steps.set(step.key, changed);
    this.#changed.add(step.key);
    return changed;
  }
}

/** Attempts that neither succeeded nor failed: whoever was at them was gone. */
function interruptionsOf({ attempt, failures }: StepRow): number {
  return attempt - failures;
}

function reasonOf(open: readonly StepRow[]): string | null {
  const keysOf = (isSo: (step: StepRow) => boolean) => open.filter(isSo).map(({ key }) => key);
  const asked = keysOf(({ state, approval }) => state === 'WAITING' && approval !== null);
  if (asked.length > 0) return `it waits for an approval: ${asked.join(', ')}`;
  const events = open.filter(({ state, waitsFor }) => state === 'WAITING' && waitsFor !== null);
  if (events.length > 0)
    return `it waits for an event: ${[...new Set(events.map(({ waitsFor }) => waitsFor))].join(', ')}`;
  if (open.some(({ state }) => state === 'RETRYING')) return 'it is tried again later';
  const waiting = keysOf(({ state }) => state === 'WAITING');
  return waiting.length > 0 ? `it waits: ${waiting.join(', ')}` : null;
}
