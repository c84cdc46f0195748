import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { executionRow, READ_AT, stepRow } from '../../../test/support/execution-rows.ts';
import { Board, type Ended, MAX_INTERRUPTIONS, MAX_OUTPUT_LENGTH } from './advance.ts';
import {
  type ExecutionRow,
  type Next,
  type Procedure,
  StepFailure,
  type StepOrder,
  type StepRow,
} from './procedure.ts';
import { isFinal, isOver, TRANSITIONS } from './state.ts';

const RETRY = { attempts: 3, delaySeconds: 60, factor: 1 };

/** What a test has a procedure say, all else aside. */
function procedureOf(next: Procedure['next'], retry = RETRY): Procedure {
  const unused = () => {
    throw new Error('not asked for here');
  };
  return { next, retryOf: () => retry, timeoutSecondsOf: unused, repeatedFrom: unused, perform: unused };
}
const saying = (...orders: StepOrder[][]) => procedureOf(() => ({ orders: orders.shift() ?? [] }));
const order = (key: string, state: 'RUNNING' | 'PENDING' = 'RUNNING'): StepOrder => ({ key, kind: 'task', state });
const boardOf = (steps: StepRow[], procedure: Procedure, execution: Partial<ExecutionRow> = {}) =>
  new Board({ execution: executionRow(execution), steps }, procedure);
const nothingInHand = new Set<string>();
const running = (key: string, attempt = 1) => stepRow({ key, state: 'RUNNING', attempt });
const stateOf = ({ steps }: Board) => Object.fromEntries(steps.map(({ key, state }) => [key, state]));

describe('what becomes of an execution', () => {
  it('should begin what is ordered, in the order in which it came to be', () => {
    const board = boardOf([], saying([order('a'), order('b', 'PENDING')], [order('c')]));
    const { begun, move } = board.settle(nothingInHand);
    expect(begun.map(({ key, attempt }) => [key, attempt])).toEqual([
      ['a', 1],
      ['c', 1],
    ]);
    expect(board.steps.map(({ key, position, state }) => [key, position, state])).toEqual([
      ['a', 1, 'RUNNING'],
      ['b', 2, 'PENDING'],
      ['c', 3, 'RUNNING'],
    ]);
    expect(move).toEqual({ to: 'RUNNING' });
  });

  it('should begin again what was interrupted, and leave what is in hand', () => {
    const board = boardOf([running('a', 2), running('b')], saying());
    expect(board.settle(new Set(['b'])).begun).toMatchObject([{ key: 'a', attempt: 3 }]);
    expect(board.changed.map(({ key }) => key)).toEqual(['a']);
  });

  it('should give up what is broken off again and again, the attempts that failed aside', () => {
    const step = { ...running('a', MAX_INTERRUPTIONS + 2), failures: 2 };
    const conclusion = { status: 'FAILED', reason: 'a broke off' } as const;
    const procedure = procedureOf((_execution, [a]) => ({ orders: [], ...(a?.state === 'FAILED' && { conclusion }) }));
    const spared = boardOf([{ ...step, attempt: step.attempt - 1 }], procedure);
    expect(spared.settle(nothingInHand).begun).toMatchObject([{ attempt: step.attempt }]);
    const inHand = boardOf([step], procedure);
    expect(inHand.settle(new Set(['a'])).move).toEqual({ to: 'RUNNING' });
    const board = boardOf([step], procedure);
    expect(board.settle(nothingInHand)).toMatchObject({ begun: [], move: { to: 'FAILED', reason: 'a broke off' } });
    expect(board.steps).toMatchObject([{ state: 'FAILED', error: expect.stringContaining('broken off 20 times') }]);
  });

  it('should fail what makes the outputs of an execution too long to be read again and again', () => {
    const half = 'x'.repeat(MAX_OUTPUT_LENGTH / 2);
    const done = stepRow({ key: 'a', state: 'SUCCEEDED', attempt: 1, output: { half } });
    const board = boardOf([done, running('b'), running('c')], saying());
    board.end({ key: 'b', attempt: 1, result: 'succeeded', output: { half: half.slice(100) } });
    board.end({ key: 'c', attempt: 1, result: 'succeeded', output: half });
    expect(stateOf(board)).toEqual({ a: 'SUCCEEDED', b: 'SUCCEEDED', c: 'FAILED' });
    expect(board.steps[2]).toMatchObject({ error: expect.stringContaining('more than 16,777,216 characters') });
  });

  it('should not take the end of an attempt for the end of another one', () => {
    const board = boardOf([running('a', 2)], saying());
    board.end({ key: 'a', attempt: 1, result: 'succeeded', output: 1, usage: { inputTokens: 1, outputTokens: 1 } });
    board.end({ key: 'none', attempt: 1, result: 'stopped' });
    expect(board.changed).toEqual([]);
    expect(board.usage).toEqual({ inputTokens: 0, outputTokens: 0 });
  });

  it('should try again what may pass, after its pause, and count what it used', () => {
    const usage = { inputTokens: 5, outputTokens: 2 };
    const failure = new StepFailure('busy', { isTransient: true, usage });
    const board = boardOf([running('a')], saying());
    board.end({ key: 'a', attempt: 1, result: 'failed', failure });
    const { move, lookInMs } = board.settle(nothingInHand);
    const wakeAt = READ_AT + 60_000;
    expect(board.steps).toMatchObject([{ state: 'RETRYING', error: 'busy', wakeAt }]);
    expect({ move, lookInMs }).toMatchObject({ move: { to: 'WAITING', wakeAt }, lookInMs: 60_000 });
    expect(board.usage).toEqual(usage);
    const due = boardOf([{ ...board.steps[0]!, isDue: true }], saying());
    expect(due.settle(nothingInHand).begun).toMatchObject([{ state: 'RUNNING', attempt: 2, wakeAt: null }]);
  });

  it('should not count an attempt that was interrupted as one that failed', () => {
    const failure = new StepFailure('busy', { isTransient: true });
    const board = boardOf([running('a', RETRY.attempts)], saying());
    board.end({ key: 'a', attempt: RETRY.attempts, result: 'failed', failure });
    expect(board.steps).toMatchObject([{ state: 'RETRYING', failures: 1 }]);
  });

  it('should keep in hand what is tried again soon', () => {
    const soon = stepRow({ state: 'RETRYING', attempt: 1, wakeAt: READ_AT + 1_000 });
    expect(boardOf([soon], saying()).settle(nothingInHand)).toMatchObject({ move: { to: 'RUNNING' }, lookInMs: 1_000 });
  });

  it('should say whom it waits for', () => {
    const approval = { message: 'May I?', role: 'DEVELOPER' } as const;
    const board = boardOf([], saying([{ key: 'a', kind: 'task', state: 'WAITING', approval }]));
    expect(board.settle(nothingInHand).move).toEqual({
      to: 'WAITING',
      reason: 'it waits for an approval: a',
      wakeAt: null,
    });
  });

  it('should end once what is under way has stopped, where it is cancelled or late', () => {
    for (const [change, end] of [
      [{ status: 'CANCELLING' }, 'CANCELLED'],
      [{ isLate: true }, 'FAILED'],
    ] as const) {
      const board = boardOf([running('a'), stepRow({ key: 'b' }), running('c')], saying([order('d')]), change);
      expect(board.settle(new Set(['a'])).move.to).toBe(change.status ?? 'RUNNING');
      expect(stateOf(board)).toEqual({ a: 'RUNNING', b: 'CANCELLED', c: 'CANCELLED' });
      board.end({ key: 'a', attempt: 1, result: 'stopped' });
      expect(board.settle(nothingInHand).move.to).toBe(end);
    }
  });

  it('should leave nothing open, and begin nothing, where it ends', () => {
    const conclusion = { status: 'FAILED', reason: 'a failed' } as const;
    const steps = [
      running('a'),
      running('b'),
      stepRow({ key: 'c' }),
      stepRow({ key: 'd', state: 'RETRYING', isDue: true }),
    ];
    const board = boardOf(
      steps,
      procedureOf(() => ({ orders: [], conclusion })),
    );
    board.end({ key: 'a', attempt: 1, result: 'failed', failure: new StepFailure('no') });
    const { move, begun } = board.settle(nothingInHand);
    expect({ move, begun }).toEqual({ move: { to: 'FAILED', reason: 'a failed' }, begun: [] });
    expect(stateOf(board)).toEqual({ a: 'FAILED', b: 'CANCELLED', c: 'CANCELLED', d: 'CANCELLED' });
  });

  it('should refuse orders for what is over', () => {
    const board = boardOf([stepRow({ key: 'a', state: 'FAILED' })], saying([order('a')]));
    expect(() => board.settle(nothingInHand)).toThrow('a is FAILED');
  });
});

/** Steps that come after earlier ones, and may wait for a time first; some procedures end at the first failure. */
const plans = fc.record({
  steps: fc.array(fc.record({ after: fc.array(fc.nat(7), { maxLength: 3 }), waits: fc.boolean() }), {
    minLength: 1,
    maxLength: 8,
  }),
  endsEarly: fc.boolean(),
});
type Plan = typeof plans extends fc.Arbitrary<infer Value> ? Value : never;

const happenings = fc.array(
  fc.oneof(
    fc.record({ what: fc.constantFrom('succeeds', 'fails', 'may pass', 'is interrupted'), step: fc.nat(7) }),
    fc.record({ what: fc.constantFrom('time passes', 'crash', 'cancel', 'late'), step: fc.constant(0) }),
  ),
  { maxLength: 40 },
);
type Happening = typeof happenings extends fc.Arbitrary<(infer Value)[]> ? Value : never;

function nextOfPlan({ steps: plan, endsEarly }: Plan, { now }: ExecutionRow, steps: readonly StepRow[]): Next {
  const byKey = new Map(steps.map((step) => [step.key, step]));
  const failed = steps.find(({ state }) => state === 'FAILED');
  const isDone = steps.length === plan.length && steps.every(({ state }) => isOver(state));
  if (failed && (endsEarly || isDone)) return { orders: [], conclusion: { status: 'FAILED', reason: failed.key } };
  if (isDone) return { orders: [], conclusion: { status: 'COMPLETED', output: null } };
  const orders = plan.flatMap(({ after, waits }, index): StepOrder[] => {
    const [key, kind] = [`s${index}`, 'task'];
    const step = byKey.get(key);
    const before = after.filter((other) => other < index).map((other) => byKey.get(`s${other}`));
    if (step?.state === 'WAITING') return step.isDue ? [{ key, kind, state: 'RUNNING' }] : [];
    if (step || !before.every((each) => each && isOver(each.state))) return [];
    if (before.some((each) => each!.state !== 'SUCCEEDED'))
      return [{ key, kind, state: 'SKIPPED', reason: 'it failed' }];
    return [waits ? { key, kind, state: 'WAITING', wakeAt: new Date(now + 60_000) } : { key, kind, state: 'RUNNING' }];
  });
  return { orders };
}

/** An execution that somebody works on, with all that may happen to it. */
class World {
  readonly procedure: Procedure;
  execution = executionRow();
  steps: StepRow[] = [];
  readonly inHand = new Map<string, number>();

  constructor(plan: Plan) {
    this.procedure = procedureOf((execution, steps) => nextOfPlan(plan, execution, steps));
    this.advance();
  }

  advance(...ended: Ended[]): void {
    const former = new Map(this.steps.map((step) => [step.key, step]));
    const { status } = this.execution;
    const board = new Board({ execution: this.execution, steps: this.steps }, this.procedure);
    for (const each of ended) board.end(each);
    const { move, begun } = board.settle(new Set(this.inHand.keys()));
    expect([status, ...TRANSITIONS[status]]).toContain(move.to);
    for (const { key, attempt } of begun) {
      expect(this.inHand.has(key)).toBe(false);
      this.inHand.set(key, attempt);
    }
    this.steps = board.steps;
    this.execution = { ...this.execution, status: move.to };
    for (const step of this.steps) {
      const before = former.get(step.key);
      if (before && isOver(before.state)) expect(step).toEqual(before);
      expect(step.attempt).toBeGreaterThanOrEqual(before?.attempt ?? 0);
    }
    if (isFinal(move.to)) expect(this.steps.filter(({ state }) => !isOver(state))).toEqual([]);
    if (move.to === 'WAITING') expect(this.inHand.size).toBe(0);
  }

  happen({ what, step }: Happening): void {
    if (isFinal(this.execution.status)) return;
    if (what === 'time passes') this.pass();
    else if (what === 'crash') this.inHand.clear();
    else if (what === 'late') this.execution = { ...this.execution, isLate: true, status: this.worked() };
    else if (what === 'cancel') this.execution = { ...this.execution, status: 'CANCELLING' };
    else {
      this.end(`s${step}`, what);
      return;
    }
    this.advance();
  }

  /** A step under way ends; its hand is the last to know of a crash. */
  end(key: string, what: string): void {
    const attempt = this.inHand.get(key);
    if (attempt === undefined) return;
    this.inHand.delete(key);
    const failure = new StepFailure('no', { isTransient: what === 'may pass' });
    if (what === 'is interrupted') this.advance({ key, attempt, result: 'stopped' });
    else if (what === 'succeeds') this.advance({ key, attempt, result: 'succeeded', output: key });
    else this.advance({ key, attempt, result: 'failed', failure });
  }

  /** Whoever takes up what waits has it running. */
  worked(): ExecutionRow['status'] {
    return this.execution.status === 'WAITING' ? 'RUNNING' : this.execution.status;
  }

  pass(): void {
    const now = this.execution.now + 120_000;
    this.execution = { ...this.execution, now, status: this.worked() };
    this.steps = this.steps.map((step) => ({ ...step, isDue: step.wakeAt !== null && step.wakeAt <= now }));
  }
}

it('should come to an end, whatever happens, and never change a step that is over', () => {
  fc.assert(
    fc.property(plans, happenings, (plan, all) => {
      const world = new World(plan);
      for (const each of all) world.happen(each);
      for (let rounds = 0; !isFinal(world.execution.status); rounds++) {
        expect(rounds).toBeLessThan(50);
        for (const key of [...world.inHand.keys()]) world.end(key, 'succeeds');
        if (!isFinal(world.execution.status)) world.happen({ what: 'time passes', step: 0 });
      }
    }),
    { numRuns: 500 },
  );
});
