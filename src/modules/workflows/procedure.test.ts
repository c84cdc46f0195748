import { describe, expect, it } from 'vitest';
import { executionRow, READ_AT, stepRow } from '../../../test/support/execution-rows.ts';
import { http, procedure, Run } from '../../../test/support/workflow-board.ts';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { Board } from '../executions/advance.ts';
import type { StepRow } from '../executions/procedure.ts';
import { TimeBudget } from '../executions/time-budget.ts';
import { checkDefinition } from './check.ts';
import type { RunDefinition } from './procedure.ts';

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

  it('should say why a step is left out', () => {
    const run = new Run({
      a: http(),
      b: http({ if: 'false' }),
      c: http({ needs: ['a', 'b'] }),
      d: http({ needs: ['a'], if: 'steps.a.state == "SUCCEEDED"' }),
    });
    run.fail('a');
    expect(run.of('b').error).toBe('its condition (if) is false');
    expect(run.of('c').error).toBe('needs: a FAILED, b SKIPPED');
    expect(run.of('d').error).toBe('its condition (if) is false');
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
    expect(run.later(60).of('a')).toMatchObject({ state: 'RUNNING', attempt: 2 });
    expect(run.fail('a', true).states).toEqual({ a: 'FAILED' });
  });
});

describe('what expressions read of the run', () => {
  it('should be its global ID', () => {
    const run = new Run({ a: http({ body: '${{ execution.id }}' }) });
    expect(run.of('a').input).toMatchObject({ body: encodeGlobalId('Execution', 'an-execution') });
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

  it('should come to the outputs of all in their order, those that a retry took over among them', () => {
    const kept = [
      stepRow({ key: 'each[0]', kind: 'http', state: 'SUCCEEDED', output: 'X', position: 2 }),
      stepRow({ key: 'each[2]', kind: 'http', state: 'SUCCEEDED', output: 'Z', position: 4 }),
    ];
    const run = new Run({ each: http({ forEach: '["x", "y", "z"]', maxParallel: 1 }) }, { kept });
    expect(run.states).toMatchObject({ each: 'WAITING', 'each[1]': 'RUNNING' });
    expect(run.succeed('each[1]', 'Y').of('each')).toMatchObject({ state: 'SUCCEEDED', output: ['X', 'Y', 'Z'] });
  });
});

describe('the time for expressions', () => {
  const look = (more: object = {}) => http({ if: 'inputs.n.all(a, a > 0)', body: '${{ inputs.n }}', ...more });
  const steps = {
    ...{ a: look(), b: look(), c: look({ if: 'size(inputs.n) > 9' }), d: look({ needs: ['c'], if: 'true' }) },
    each: look({ forEach: 'inputs.n', maxParallel: 50, body: '${{ item * 2 }}' }),
  };
  const given = { inputs: { n: { type: 'list' } }, input: { n: [1, 2, 3] } };

  /** Decides in rounds, in each of which time passes whenever it is asked for; returns what each round began. */
  function inRounds(definition: RunDefinition, tickMs: number): { begun: string[][]; states: Record<string, string> } {
    const execution = executionRow({ kind: 'WORKFLOW', definition, input: given.input });
    const begun: string[][] = [];
    let steps: StepRow[] = [];
    for (let isMore = true; isMore; ) {
      let at = 0;
      const now = () => {
        at += tickMs;
        return at;
      };
      const board = new Board({ execution, steps }, procedure);
      const inHand = new Set(steps.filter(({ state }) => state === 'RUNNING').map(({ key }) => key));
      const settled = board.settle(inHand, new TimeBudget({ now }));
      begun.push(settled.begun.map(({ key }) => key));
      ({ isMore } = settled);
      expect(settled.move).toEqual({ to: 'RUNNING' });
      steps = board.steps;
    }
    return { begun, states: Object.fromEntries(steps.map(({ key, state }) => [key, state])) };
  }
  const definitionOf = (steps: object): RunDefinition => {
    const { definition } = checkDefinition({ steps, inputs: given.inputs });
    return { ...definition!, name: 'tested', makerId: null };
  };

  it('should come to the same in however many rounds', () => {
    const atOnce = inRounds(definitionOf(steps), 0);
    const spread = inRounds(definitionOf(steps), 5);
    expect(atOnce.begun).toHaveLength(1);
    expect(spread.begun.length).toBeGreaterThan(2);
    expect(spread.begun.flat().sort()).toEqual(atOnce.begun.flat().sort());
    expect(spread.states).toEqual(atOnce.states);
    expect(spread.states).toEqual({
      ...{ a: 'RUNNING', b: 'RUNNING', c: 'SKIPPED', d: 'RUNNING' },
      ...{ each: 'WAITING', 'each[0]': 'RUNNING', 'each[1]': 'RUNNING', 'each[2]': 'RUNNING' },
    });
  });

  it('should fail the step for which a whole round does not do, and no other', () => {
    const body = '${{ inputs.n }} '.repeat(300);
    const { begun, states } = inRounds(definitionOf({ a: look(), much: look({ body }), b: look() }), 2);
    expect(begun.flat().sort()).toEqual(['a', 'b']);
    expect(states).toEqual({ a: 'RUNNING', much: 'FAILED', b: 'RUNNING' });
  });

  it('should not matter to steps that have none', () => {
    const execution = executionRow({ kind: 'WORKFLOW', definition: definitionOf({ a: http(), b: look() }), ...given });
    const board = new Board({ execution, steps: [] }, procedure);
    const { begun, isMore } = board.settle(new Set(), new TimeBudget({ limitMs: 0 }));
    expect([begun.map(({ key }) => key), isMore]).toEqual([['a'], true]);
  });

  it('should leave the output of a run to the next round, too', () => {
    const { definition } = checkDefinition({
      steps: { a: { kind: 'delay', seconds: 0 } },
      output: '${{ steps.a.state }}',
    });
    const named = { ...definition!, name: 'tested', makerId: null };
    const execution = executionRow({ kind: 'WORKFLOW', definition: named, input: {} });
    const steps = [stepRow({ key: 'a', kind: 'delay', state: 'SUCCEEDED' })];
    const settle = (limitMs: number) =>
      new Board({ execution, steps }, procedure).settle(new Set(), new TimeBudget({ limitMs }));
    expect(settle(0)).toMatchObject({ move: { to: 'RUNNING' }, isMore: true });
    expect(settle(250)).toMatchObject({ move: { to: 'COMPLETED', output: 'SUCCEEDED' }, isMore: false });
  });
});
