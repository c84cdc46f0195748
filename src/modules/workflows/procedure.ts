import { DAY_MS, SECOND_MS } from '../../shared/clock.ts';
import type { ChildEnd } from '../executions/ledger.ts';
import type {
  Conclusion,
  ExecutionRow,
  Next,
  Procedure,
  RetryPolicy,
  StepOrder,
  StepResult,
  StepRow,
  StepWork,
  StoredStep,
} from '../executions/procedure.ts';
import { isOver } from '../executions/state.ts';
import type { TimeBudget } from '../executions/time-budget.ts';
import {
  MAX_ITEMS,
  MAX_TIMEOUT_SECONDS,
  type StepKind,
  type WorkflowDefinition,
  type WorkflowStep,
} from './definition.ts';
import { ExpressionError, OutOfTimeError } from './expression.ts';
import { ancestorsOf, type Needs } from './graph.ts';
import { type Local, RunValues } from './values.ts';

/** Whoever may decide has so long, where a step says nothing else. */
export const APPROVAL_PATIENCE_DAYS = 30;
const APPROVAL_PATIENCE_SECONDS = (APPROVAL_PATIENCE_DAYS * DAY_MS) / SECOND_MS;
const ONCE: RetryPolicy = { attempts: 1, delaySeconds: 0, factor: 1 };

/** A workflow as it was when its execution began. */
export type RunDefinition = WorkflowDefinition & {
  name: string;
  /** Who made that version; null: they were gone. */
  makerId: string | null;
};

/** Does the steps of one kind. */
export type Performer = (work: StepWork, input: Record<string, unknown>) => Promise<StepResult>;
/** What steps of all kinds have decides about them, and is no matter of whoever does them. */
const COMMON_FIELDS = new Set('kind needs if forEach maxParallel retry timeoutSeconds continueOnError'.split(' '));

/** Steps of these kinds are only waited for: nobody performs them. */
const WAITED_KINDS = ['approval', 'delay', 'waitForEvent'] as const satisfies StepKind[];
export type PerformedKind = Exclude<StepKind, (typeof WAITED_KINDS)[number]>;

/** Steps are done as soon as all that they need has ended; see docs/workflows.md. */
export function createWorkflowProcedure(performers: Record<PerformedKind, Performer>): Procedure {
  return {
    timeoutSecondsOf: (definition) => (definition as RunDefinition).timeoutSeconds,
    next: (execution, steps, budget) => new Scheduler(execution, steps, budget).next(),
    retryOf: ({ definition }, { key }) => (definition as RunDefinition).steps[nameOf(key)]?.retry ?? ONCE,
    repeatedFrom(definition, steps, from) {
      const named = Object.entries((definition as RunDefinition).steps);
      const needs: Needs = new Map(named.map(([name, step]) => [name, step.needs]));
      const states = new Map(steps.map(({ key, state }) => [key, state]));
      const isFailed = ([name, { continueOnError }]: (typeof named)[number]) => {
        const state = states.get(name);
        return state === 'FAILED' ? !continueOnError : state !== 'SUCCEEDED' && state !== 'SKIPPED';
      };
      const first = from === null ? named.filter(isFailed).map(([name]) => name) : [nameOf(from)];
      const after = named
        .map(([name]) => name)
        .filter((name) => first.some((each) => ancestorsOf(needs, name).has(each)));
      const isRepeated = ({ key, state }: StoredStep): boolean => {
        const name = nameOf(key);
        if (after.includes(name) || name === from || key === from) return true;
        // Of a list, those of its entries that succeeded are done.
        return first.includes(name) && (key === name || state !== 'SUCCEEDED');
      };
      return new Set(steps.filter(isRepeated).map(({ key }) => key));
    },
    perform(work) {
      const { kind, input } = work.step;
      return performers[kind as PerformedKind](work, input as Record<string, unknown>);
    },
  };
}

/** Who made what an execution carries out. */
export const makerOf = ({ definition }: ExecutionRow): string | null => (definition as RunDefinition).makerId;

/** Of the step in the definition: one for each entry of a list is "name[0]", "name[1]" … */
export const nameOf = (key: string): string => key.replace(/\[\d+\]$/, '');

class Scheduler {
  readonly #execution: ExecutionRow;
  readonly #definition: RunDefinition;
  readonly #steps: ReadonlyMap<string, StepRow>;
  readonly #values: RunValues;
  readonly #budget: TimeBudget;
  #isMore = false;

  constructor(execution: ExecutionRow, steps: readonly StepRow[], budget: TimeBudget) {
    this.#execution = execution;
    this.#definition = execution.definition as RunDefinition;
    this.#steps = new Map(steps.map((step) => [step.key, step]));
    this.#values = new RunValues(this.#definition, execution, steps);
    this.#budget = budget;
  }

  next(): Next {
    const named = Object.entries(this.#definition.steps);
    const absent = named.filter(([name]) => !this.#steps.has(name));
    if (absent.length > 0) return { orders: inOrder(absent).map(([name, step]) => pending(name, step)) };
    const orders = named.flatMap(([name, step]) => this.#ordersOf(name, step));
    const isOpen = orders.length > 0 || named.some(([name]) => !isOver(this.#steps.get(name)!.state));
    const conclusion = isOpen ? undefined : this.#conclusion();
    return { orders, conclusion, isMore: this.#isMore };
  }

  /** Makes what needs expressions, or null: the time of this round does not do, and it is made in the next. */
  #inTime<Made>(make: (budget: TimeBudget) => Made, otherwise: (error: ExpressionError) => Made): Made | null {
    const budget = this.#budget.nextOfRound();
    try {
      return make(budget);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      if (!(error instanceof OutOfTimeError) || budget.isWhole) return otherwise(error);
      this.#isMore = true;
      return null;
    }
  }

  #ordersOf(name: string, step: WorkflowStep): StepOrder[] {
    const row = this.#steps.get(name)!;
    if (isOver(row.state)) return [];
    const common = { key: name, kind: step.kind };
    try {
      if (row.state === 'PENDING') {
        if (!step.needs.every((needed) => isOver(this.#steps.get(needed)!.state))) return [];
        const order = this.#inTime<StepOrder>(
          (budget) => this.#first(name, step, budget),
          ({ message }) => ({ ...common, state: 'FAILED', error: message }),
        );
        return order ? [order] : [];
      }
      if (step.forEach !== undefined) return this.#ordersOfEach(name, step, row);
      return this.#ordersOfWaiting(row, step);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return [{ ...common, state: 'FAILED', error: error.message }];
    }
  }

  #first(name: string, step: WorkflowStep, budget: TimeBudget): StepOrder {
    const common = { key: name, kind: step.kind };
    const reason = this.#whyNot(step, budget);
    if (reason !== null) return { ...common, state: 'SKIPPED', reason };
    if (step.forEach === undefined) return this.#begin(name, step, budget);
    return { ...common, state: 'WAITING', input: this.#values.evaluate(step.forEach, budget) };
  }

  /** Why it is left out; null: it runs. Without a condition it does where all that it needs went well. */
  #whyNot({ if: condition, needs }: WorkflowStep, budget: TimeBudget): string | null {
    if (condition !== undefined)
      return this.#values.evaluate(condition, budget) === true ? null : 'its condition (if) is false';
    const missing = needs.flatMap((needed) => {
      const { state } = this.#steps.get(needed)!;
      const isWell = state === 'SUCCEEDED' || (state === 'FAILED' && this.#definition.steps[needed]!.continueOnError);
      return isWell ? [] : [`${needed} ${state}`];
    });
    return missing.length > 0 ? `needs: ${missing.join(', ')}` : null;
  }

  #begin(key: string, step: WorkflowStep, budget: TimeBudget, local: Local = {}): StepOrder {
    const own = Object.entries(step).filter(([field]) => !COMMON_FIELDS.has(field));
    const { where, event, ...templates } = Object.fromEntries(own) as { where?: string; event?: string };
    const filled = this.#values.fill(templates, budget, local) as Record<string, unknown>;
    const input = { ...filled, ...(event !== undefined && { event }), ...(where !== undefined && { where, ...local }) };
    return this.#attempt(key, step, input);
  }

  /** The first one, or another after a failure. */
  #attempt(key: string, step: WorkflowStep, input: Record<string, unknown>): StepOrder {
    const common = { key, kind: step.kind, input };
    const { timeoutSeconds } = step;
    const until = (seconds: number) => new Date(this.#execution.now + seconds * SECOND_MS);
    if (step.kind === 'delay') {
      const seconds = secondsOf(input.seconds);
      return { ...common, state: 'WAITING', wakeAt: until(Math.min(seconds, timeoutSeconds ?? seconds)) };
    }
    if (step.kind === 'approval') {
      const approval = { message: String(input.message), role: step.role };
      return { ...common, state: 'WAITING', approval, wakeAt: until(timeoutSeconds ?? APPROVAL_PATIENCE_SECONDS) };
    }
    if (step.kind === 'waitForEvent') {
      const wakeAt = timeoutSeconds === undefined ? undefined : until(timeoutSeconds);
      return { ...common, state: 'WAITING', waitsFor: step.event, wakeAt };
    }
    return { ...common, state: 'RUNNING' };
  }

  #ordersOfWaiting(row: StepRow, step: WorkflowStep): StepOrder[] {
    const { key, kind, state, approval, isDue, output } = row;
    const isTriedAgain = state === 'RETRYING' && isDue && WAITED_KINDS.some((waited) => waited === kind);
    if (isTriedAgain) return [this.#attempt(key, step, row.input as Record<string, unknown>)];
    if (state !== 'WAITING') return [];
    const common = { key, kind };
    if (kind === 'delay') return isDue ? [this.#endOfDelay(row, step)] : [];
    if (approval?.decision) {
      const { approved, comment } = approval.decision;
      const decided = { approved, comment };
      if (approved) return [{ ...common, state: 'SUCCEEDED', output: decided }];
      return [
        { ...common, state: 'FAILED', error: `it was not approved${comment ? `: ${comment}` : ''}`, output: decided },
      ];
    }
    const end = kind === 'agent' || kind === 'workflow' ? (output as ChildEnd | null) : null;
    if (end?.status === 'COMPLETED') return [{ ...common, state: 'SUCCEEDED', output: end.output }];
    if (end) {
      const error = `its execution is ${end.status.toLowerCase()}${end.reason ? `: ${end.reason}` : ''}`;
      return [{ ...common, state: 'FAILED', error, isTransient: end.status === 'FAILED' }];
    }
    if (!isDue) return [];
    const seconds = step.timeoutSeconds ?? APPROVAL_PATIENCE_SECONDS;
    return [{ ...common, state: 'FAILED', error: `nothing came of it within ${seconds} s`, isTransient: true }];
  }

  #endOfDelay({ key, kind, input }: StepRow, { timeoutSeconds }: WorkflowStep): StepOrder {
    const { seconds } = input as { seconds: unknown };
    if (timeoutSeconds === undefined || Number(seconds) <= timeoutSeconds)
      return { key, kind, state: 'SUCCEEDED', output: null };
    return { key, kind, state: 'FAILED', error: `it took longer than ${timeoutSeconds} s`, isTransient: true };
  }

  /** The entries of a list, so many at once; the step itself ends with the last of them. */
  #ordersOfEach(name: string, step: WorkflowStep, row: StepRow): StepOrder[] {
    const items = row.input;
    if (!Array.isArray(items)) throw new ExpressionError('forEach must be a list');
    if (items.length > MAX_ITEMS) throw new ExpressionError(`forEach has ${items.length} entries: up to ${MAX_ITEMS}`);
    const keys = items.map((_, index) => `${name}[${index}]`);
    const rows = keys.map((key) => this.#steps.get(key));
    const waiting = rows.flatMap((each) => (each ? this.#ordersOfWaiting(each, step) : []));
    if (waiting.length > 0) return waiting;
    const open = rows.filter((each) => each !== undefined && !isOver(each.state)).length;
    const failed = rows.find((each) => each?.state === 'FAILED');
    const next = failed ? [] : keys.flatMap((key, index) => (rows[index] ? [] : [{ key, index }]));
    if (next.length > 0 && open < step.maxParallel)
      return next
        .slice(0, step.maxParallel - open)
        .flatMap(({ key, index }) => this.#beginEntry(key, step, items[index], index) ?? []);
    if (open > 0) return [];
    const common = { key: name, kind: step.kind };
    const output = rows.map((each) => each?.output ?? null);
    if (failed) return [{ ...common, state: 'FAILED', error: `${failed.key}: ${failed.error}`, output }];
    return [{ ...common, state: 'SUCCEEDED', output }];
  }

  #beginEntry(key: string, step: WorkflowStep, item: unknown, index: number): StepOrder | null {
    const dependsOn = [nameOf(key)];
    return this.#inTime<StepOrder>(
      (budget) => ({ ...this.#begin(key, step, budget, { item, index }), dependsOn }),
      ({ message }) => ({ key, kind: step.kind, dependsOn, state: 'FAILED', error: message }),
    );
  }

  #conclusion(): Conclusion | undefined {
    const { steps, output } = this.#definition;
    const failed = Object.entries(steps).filter(
      ([name, { continueOnError }]) => this.#steps.get(name)!.state === 'FAILED' && !continueOnError,
    );
    if (failed.length > 0) {
      const reasons = failed.map(([name]) => `${name}: ${this.#steps.get(name)!.error}`);
      return { status: 'FAILED', reason: reasons.join('; ') };
    }
    if (output === undefined) return { status: 'COMPLETED', output: null };
    const conclusion = this.#inTime<Conclusion>(
      (budget) => ({ status: 'COMPLETED', output: this.#values.fill(output, budget) }),
      ({ message }) => ({ status: 'FAILED', reason: `its output: ${message}` }),
    );
    return conclusion ?? undefined;
  }
}

/** What is needed stands before what needs it: stored as JSON, a definition has no order of its own. */
function inOrder(named: [string, WorkflowStep][]): [string, WorkflowStep][] {
  const needs: Needs = new Map(named.map(([name, step]) => [name, step.needs]));
  const depths = new Map(named.map(([name]) => [name, ancestorsOf(needs, name).size]));
  return named.toSorted(([one], [other]) => depths.get(one)! - depths.get(other)!);
}

function pending(name: string, { kind, needs }: WorkflowStep): StepOrder {
  return { key: name, kind, dependsOn: needs, state: 'PENDING' };
}

function secondsOf(value: unknown): number {
  const seconds = Number(value);
  if (!(seconds >= 0 && seconds <= MAX_TIMEOUT_SECONDS))
    throw new ExpressionError(`"seconds" must be 0 to ${MAX_TIMEOUT_SECONDS} seconds, is ${JSON.stringify(value)}`);
  return seconds;
}
