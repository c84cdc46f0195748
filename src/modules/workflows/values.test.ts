import { expect, it } from 'vitest';
import { TimeBudget } from '../executions/time-budget.ts';
import { ExpressionError } from './expression.ts';
import { evaluateWith, fillWith, MAX_VALUE_LENGTH } from './values.ts';

const values = { inputs: { long: 'x'.repeat(MAX_VALUE_LENGTH / 4) } };
const fill = (value: unknown) => fillWith(value, values, new TimeBudget({ limitMs: 60_000 }));

it('should not take more of what it reads than can be kept', () => {
  const [text, whole] = ['${{ inputs.long }}', { a: '${{ inputs.long }}', b: ['${{ inputs.long }}'] }];
  expect((fill(text.repeat(3)) as string).length).toBe((MAX_VALUE_LENGTH / 4) * 3);
  expect(fill(whole)).toEqual({ a: values.inputs.long, b: [values.inputs.long] });
  for (const wide of [text.repeat(5), [whole, whole, whole]])
    expect(() => fill(wide)).toThrow('more than 1,048,576 characters');
  const list = '[inputs.long, inputs.long, inputs.long, inputs.long]';
  expect(() => evaluateWith(list, values, new TimeBudget({ limitMs: 60_000 }))).toThrow(ExpressionError);
});
