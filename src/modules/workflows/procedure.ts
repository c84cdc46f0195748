import { DAY_MS, SECOND_MS } from '../../shared/clock.ts';
import type { ChildEnd } from '../executions/ledger.ts';
import type {
  ExecutionRow,
  Next,
  Procedure,
  RetryPolicy,
  StepOrder,
  StepResult,
  StepRow,
  StepWork,
} from '../executions/procedure.ts';
import { isOver } from '../executions/state.ts';
import { MAX_ITEMS, type StepKind, type WorkflowDefinition, type WorkflowStep } from './definition.ts';
import { ExpressionError } from './expression.ts';
import { ancestorsOf, type Needs } from './graph.ts';
import { RunValues } from './values.ts';

/** Whoever may decide has so long, where a step says nothing else. */
export const APPROVAL_PATIENCE_DAYS = 30;
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

/** Those of the other kinds are only waited for. */
export type PerformedKind = Exclude<StepKind, 'approval' | 'delay' | 'waitForEvent'>;

/** Steps are done as soon as all that they need has ended; see docs/workflows.md. */
export function createWorkflowProcedure(performers: Record<PerformedKind, Performer>): Procedure {
  return {
    timeoutSecondsOf: (definition) => (definition as RunDefinition).timeoutSeconds,
    next: (execution, steps) => new Scheduler(execution, steps).next(),
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
      const repeated = named.flatMap(([name]) =>
        first.includes(name) || first.some((each) => ancestorsOf(needs, name).has(each)) ? [name] : [],
      );
      return new Set(steps.filter(({ key }) => repeated.includes(nameOf(key))).map(({ key }) => key));
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

  constructor(execution: ExecutionRow, steps: readonly StepRow[]) {
    this.#execution = execution;
    this.#definition = execution.definition as RunDefinition;
    this.#steps = new Map(steps.map((step) => [step.key, step]));
    this.#values = new RunValues(this.#definition, execution, steps);
  }

  next(): Next {
    const named = Object.entries(this.#definition.steps);
    const absent = named.filter(([name]) => !this.#steps.has(name));
    if (absent.length > 0) return { orders: inOrder(absent).map(([name, step]) => pending(name, step)) };
    const orders = named.flatMap(([name, step]) => this.#ordersOf(name, step));
    if (orders.length > 0 || named.some(([name]) => !isOver(this.#steps.get(name)!.state))) return { orders };
    return { orders, conclusion: this.#conclusion() };
  }

  #ordersOf(name: string, step: WorkflowStep): StepOrder[] {
    const row = this.#steps.get(name)!;
    if (isOver(row.state)) return [];
    const common = { key: name, kind: step.kind };
    try {
      if (row.state === 'PENDING') {
        if (!step.needs.every((needed) => isOver(this.#steps.get(needed)!.state))) return [];
        if (!this.#isWanted(step)) return [{ ...common, state: 'SKIPPED' }];
        if (step.forEach === undefined) return [this.#begin(name, step)];
        return [{ ...common, state: 'WAITING', input: this.#values.evaluate(step.forEach) }];
      }
      if (step.forEach !== undefined) return this.#ordersOfEach(name, step, row);
      return this.#ordersOfWaiting(row, step);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return [{ ...common, state: 'FAILED', error: error.message }];
    }
  }

  /** Without a condition it is one that all that it needs went well. */
  #isWanted({ if: condition, needs }: WorkflowStep): boolean {
    if (condition !== undefined) return this.#values.evaluate(condition) === true;
    return needs.every((needed) => {
      const { state } = this.#steps.get(needed)!;
      return state === 'SUCCEEDED' || (state === 'FAILED' && this.#definition.steps[needed]!.continueOnError);
    });
  }

  #begin(key: string, step: WorkflowStep, local: { item?: unknown; index?: number } = {}): StepOrder {
    const own = Object.entries(step).filter(([field]) => !COMMON_FIELDS.has(field));
    const { where, event, ...templates } = Object.fromEntries(own) as { where?: string; event?: string };
    const filled = this.#values.fill(templates, local) as Record<string, unknown>;
    const input = { ...filled, ...(event !== undefined && { event }), ...(where !== undefined && { where, ...local }) };
    const common = { key, kind: step.kind, input };
    const patience = step.timeoutSeconds;
    const until = (seconds: number) => new Date(this.#execution.now + seconds * SECOND_MS);
    if (step.kind === 'delay') return { ...common, state: 'WAITING', wakeAt: until(secondsOf(filled.seconds)) };
    if (step.kind === 'approval') {
      const wakeAt =
        patience === undefined ? new Date(this.#execution.now + APPROVAL_PATIENCE_DAYS * DAY_MS) : until(patience);
      return { ...common, state: 'WAITING', approval: { message: String(filled.message), role: step.role }, wakeAt };
    }
    if (step.kind === 'waitForEvent')
      return {
        ...common,
        state: 'WAITING',
        waitsFor: step.event,
        wakeAt: patience === undefined ? undefined : until(patience),
      };
    return { ...common, state: 'RUNNING' };
  }

  #ordersOfWaiting(row: StepRow, step: WorkflowStep): StepOrder[] {
    const { key, kind, state, approval, isDue, output } = row;
    if (state !== 'WAITING') return [];
    const common = { key, kind };
    if (kind === 'delay') return isDue ? [{ ...common, state: 'SUCCEEDED', output: null }] : [];
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
    const seconds = step.timeoutSeconds ?? (APPROVAL_PATIENCE_DAYS * DAY_MS) / SECOND_MS;
    return [{ ...common, state: 'FAILED', error: `nothing came of it within ${seconds} s` }];
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
        .map(({ key, index }) => this.#beginEntry(key, step, items[index], index));
    if (open > 0) return [];
    const common = { key: name, kind: step.kind };
    const output = rows.map((each) => each?.output ?? null);
    if (failed) return [{ ...common, state: 'FAILED', error: `${failed.key}: ${failed.error}`, output }];
    return [{ ...common, state: 'SUCCEEDED', output }];
  }

  #beginEntry(key: string, step: WorkflowStep, item: unknown, index: number): StepOrder {
    try {
      return { ...this.#begin(key, step, { item, index }), dependsOn: [nameOf(key)] };
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return { key, kind: step.kind, dependsOn: [nameOf(key)], state: 'FAILED', error: error.message };
    }
  }

  #conclusion(): Next['conclusion'] {
    const { steps, output } = this.#definition;
    const failed = Object.entries(steps).filter(
      ([name, { continueOnError }]) => this.#steps.get(name)!.state === 'FAILED' && !continueOnError,
    );
    if (failed.length > 0) {
      const reasons = failed.map(([name]) => `${name}: ${this.#steps.get(name)!.error}`);
      return { status: 'FAILED', reason: reasons.join('; ') };
    }
    try {
      return { status: 'COMPLETED', output: output === undefined ? null : this.#values.fill(output) };
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return { status: 'FAILED', reason: `its output: ${error.message}` };
    }
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
  if (!Number.isFinite(seconds) || seconds < 0)
    throw new ExpressionError(`"seconds" must be a number of seconds, is ${JSON.stringify(value)}`);
  return seconds;
}
