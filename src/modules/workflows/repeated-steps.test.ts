import { describe, expect, it } from 'vitest';
import { stepRow } from '../../../test/support/execution-rows.ts';
import { http, procedure } from '../../../test/support/workflow-board.ts';
import type { StepRow } from '../executions/procedure.ts';
import { checkDefinition } from './check.ts';

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

  describe('of a list', () => {
    const each = http({ forEach: '["x", "y", "z"]', maxParallel: 1 });
    const list = { first: http(), each: { ...each, needs: ['first'] }, after: { ...each, needs: ['each'] } };
    const checked = checkDefinition({ steps: list }).definition;
    const rows = [
      ...[row('first', 'SUCCEEDED'), row('each', 'FAILED'), row('each[0]', 'SUCCEEDED'), row('each[1]', 'FAILED')],
      ...[row('each[2]', 'SUCCEEDED'), row('after', 'SUCCEEDED'), row('after[0]', 'SUCCEEDED')],
    ];
    const repeated = (from: string | null) => [...procedure.repeatedFrom(checked, rows, from)];
    const after = ['after', 'after[0]'];

    it('should be the entries that did not succeed', () => {
      expect(repeated(null)).toEqual(['each', 'each[1]', ...after]);
    });

    it('should be the named entry beside those', () => {
      expect(repeated('each[0]')).toEqual(['each', 'each[0]', 'each[1]', ...after]);
    });

    it('should be all entries of the named step, and of what comes after a repeated one', () => {
      const all = ['each', 'each[0]', 'each[1]', 'each[2]', ...after];
      expect(repeated('each')).toEqual(all);
      expect(repeated('first')).toEqual(['first', ...all]);
    });
  });
});
