import { describe, expect, it } from 'vitest';
import { executionRow, READ_AT, stepRow } from '../../../test/support/execution-rows.ts';
import { Board, type Ended } from '../executions/advance.ts';
import { StepFailure, type StepRow } from '../executions/procedure.ts';
import { checkDefinition } from './check.ts';
import { createWorkflowProcedure, type RunDefinition } from './procedure.ts';

const unused = async () => {
  throw new Error('not carried out here');
};
const procedure = createWorkflowProcedure({
  ...{ agent: unused, workflow: unused, deploy: unused, rollback: unused, http: unused, notify: unused },
});

/** A run whose steps end as a test says. */
class Run {
  readonly #definition: RunDefinition;
  readonly #input: object;
  steps: StepRow[] = [];
  move: ReturnType<Board['settle']>['move'] = { to: 'RUNNING' };

  constructor(steps: object, { input = {}, ...rest }: { input?: object; [field: string]: unknown } = {}) {
    const { definition, faults } = checkDefinition({ steps, ...rest });
    expect(faults).toEqual([]);
    this.#definition = { ...definition!, name: 'tested', makerId: null };
    this.#input = input;
    this.go();
  }

  go(...ended: Ended[]): this {
    const execution = executionRow({ kind: 'WORKFLOW', definition: this.#definition, input: this.#input });
    const board = new Board({ execution, steps: this.steps }, procedure);
    for (const each of ended) board.end(each);
    const running = this.steps.filter(({ state }) => state === 'RUNNING').map(({ key }) => key);
    const over = ended.map(({ key }) => key);
    this.move = board.settle(new Set(running.filter((key) => !over.includes(key)))).move;
    this.steps = board.steps;
    return this;
  }

  succeed(key: string, output: unknown = null): this {
    return this.go({ key, attempt: this.of(key).attempt, result: 'succeeded', output });
  }

  fail(key: string, isTransient = false): this {
    const failure = new StepFailure('no', { isTransient });
    return this.go({ key, attempt: this.of(key).attempt, result: 'failed', failure });
  }

  of(key: string): StepRow {
    return this.steps.find((step) => step.key === key)!;
  }

  get states(): Record<string, string> {
    return Object.fromEntries(this.steps.map(({ key, state }) => [key, state]));
  }
}

const http = (more: object = {}) => ({ kind: 'http', url: 'https://example.org', ...more });

describe('the order of steps', () => {
  it('should be that of their needs, side by side where they have none', () => {
    const run = new Run({ a: http(), b: http(), c: http({ needs: ['a', 'b'] }) });
    expect(run.states).toEqual({ a: 'RUNNING', b: 'RUNNING', c: 'PENDING' });
    expect(run.succeed('a').states.c).toBe('PENDING');
    expect(run.succeed('b').states.c).toBe('RUNNING');
    expect(run.succeed('c').move).toEqual({ to: 'COMPLETED', output: null });
  });

  it('should leave out what needs what failed, and go on beside it', () => {
    const run = new Run({ a: http(), b: http({ needs: ['a'] }), c: http({ needs: ['b'] }), d: http() });
    expect(run.fail('a').states).toEqual({ a: 'FAILED', b: 'SKIPPED', c: 'SKIPPED', d: 'RUNNING' });
    expect(run.succeed('d').move).toEqual({ to: 'FAILED', reason: 'a: no' });
  });

  it('should take a failure that may be for an end like any other', () => {
    const run = new Run({ a: http({ continueOnError: true }), b: http({ needs: ['a'] }) });
    expect(run.fail('a').states).toEqual({ a: 'FAILED', b: 'RUNNING' });
    expect(run.succeed('b').move.to).toBe('COMPLETED');
  });
});

describe('a step', () => {
  it('should work with what came of those before it', () => {
    const run = new Run({ a: http(), b: http({ needs: ['a'], body: { got: '${{ steps.a.output.body }}' } }) });
    run.succeed('a', { body: [1, 2.5, 'three'] });
    expect(run.of('b').input).toEqual({ url: 'https://example.org', method: 'GET', body: { got: [1, 2.5, 'three'] } });
  });

  it('should fail where an expression of it has no value', () => {
    const run = new Run({ a: http(), b: http({ needs: ['a'], url: '${{ steps.a.output.nothing.at.all }}' }) });
    expect(run.succeed('a', {}).states.b).toBe('FAILED');
    expect(run.move.to).toBe('FAILED');
  });

  it('should take whole numbers for floating-point ones where its input is declared so', () => {
    const inputs = { factor: { type: 'number' } };
    const run = new Run(
      { a: http({ url: 'https://example.org/${{ inputs.factor + 0.5 }}' }) },
      { inputs, input: { factor: 3 } },
    );
    expect(run.of('a').input).toMatchObject({ url: 'https://example.org/3.5' });
  });

  it('should be tried again after what may pass, as often as its policy says', () => {
    const run = new Run({ a: http({ retry: { attempts: 2, delaySeconds: 60 } }) });
    expect(run.fail('a', true).states).toEqual({ a: 'RETRYING' });
    expect(run.of('a')).toMatchObject({ failures: 1, wakeAt: READ_AT + 60_000 });
    expect(run.move.to).toBe('WAITING');
    run.steps = run.steps.map((step) => ({ ...step, isDue: true }));
    expect(run.go().of('a')).toMatchObject({ state: 'RUNNING', attempt: 2 });
    expect(run.fail('a', true).states).toEqual({ a: 'FAILED' });
  });
});

describe('a step for each entry of a list', () => {
  it('should begin so many at once, and end with the last', () => {
    const run = new Run({
      each: http({ forEach: '["a", "b", "c"]', maxParallel: 2, url: 'https://example.org/${{ item }}' }),
    });
    expect(run.states).toEqual({ each: 'WAITING', 'each[0]': 'RUNNING', 'each[1]': 'RUNNING' });
    expect(run.succeed('each[1]', 'B').states['each[2]']).toBe('RUNNING');
    run.succeed('each[0]', 'A').succeed('each[2]', 'C');
    expect(run.of('each')).toMatchObject({ state: 'SUCCEEDED', output: ['A', 'B', 'C'] });
  });

  it('should begin no more once one failed', () => {
    const run = new Run({ each: http({ forEach: '[1, 2, 3]', maxParallel: 1 }) });
    expect(run.fail('each[0]').states).toEqual({ each: 'FAILED', 'each[0]': 'FAILED' });
    expect(run.move).toEqual({ to: 'FAILED', reason: 'each: each[0]: no' });
  });

  it('should be done at once where there is none', () => {
    const run = new Run({ each: http({ forEach: '[]' }) });
    expect(run.of('each')).toMatchObject({ state: 'SUCCEEDED', output: [] });
  });
});

describe('what is done anew in a retry', () => {
  const definition = checkDefinition({
    steps: { a: http(), b: http({ needs: ['a'] }), c: http({ needs: ['b'] }), other: http({ continueOnError: true }) },
  }).definition;
  const row = (key: string, state: StepRow['state']) => stepRow({ key, state });
  const steps = [row('a', 'SUCCEEDED'), row('b', 'FAILED'), row('c', 'SKIPPED'), row('other', 'FAILED')];

  it('should be what failed, and all that comes after it', () => {
    expect([...procedure.repeatedFrom(definition, steps, null)]).toEqual(['b', 'c']);
  });

  it('should be the named step, and all that comes after it', () => {
    expect([...procedure.repeatedFrom(definition, steps, 'a')]).toEqual(['a', 'b', 'c']);
    expect([...procedure.repeatedFrom(definition, steps, 'other')]).toEqual(['other']);
  });
});
