import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimeBudget } from '../executions/time-budget.ts';
import { ExpressionError, Expressions, MAX_EXPRESSION_LENGTH, OutOfTimeError } from './expression.ts';
import { fillIn, parseTemplate } from './template.ts';

const expressions = new Expressions({
  inputs: { count: 'int', name: 'string', many: 'list' },
  steps: { build: { output: 'dyn', state: 'string' } },
});
const VALUES = {
  inputs: { count: 5, name: `${'a'.repeat(40)}b`, many: Array.from({ length: 3_000 }, (_, index) => index) },
  steps: { build: { state: 'SUCCEEDED', output: { number: 7, ratio: 1.5, tags: ['x'], nothing: null } } },
};
const value = (source: string, budget = new TimeBudget()) => expressions.evaluate(source, VALUES, budget);

describe('an expression', () => {
  it.each<[string, unknown]>([
    ['inputs.count + steps.build.output.number', 12],
    ['steps.build.output.ratio * 2.0', 3],
    ['steps.build.output.tags.exists(tag, tag == "x")', true],
    ['steps["build"].state', 'SUCCEEDED'],
    ['{"tags": steps.build.output.tags, "n": [1, 2.5, "x", null]}', { tags: ['x'], n: [1, 2.5, 'x', null] }],
    ['steps.build.output.?missing.orValue("none")', 'none'],
    ['steps.build.output.nothing == null', true],
    ['timestamp("2026-01-01T00:00:00Z")', '2026-01-01T00:00:00.000Z'],
    ['inputs', VALUES.inputs],
    ['steps.build.state == "SUCCEEDED" && (inputs.count > 4 || steps["build"].output.missing)', true],
    ['!(inputs.count != 5)', true],
  ])('should have a value of JSON: %s', (source, expected) => {
    expect(value(source)).toEqual(expected);
  });

  it.each([
    ['steps.build.output.missing', 'No such key: missing'],
    ['1 / 0', 'division by zero'],
    ['9007199254740993', 'beyond what JSON numbers hold'],
    ['0.0 / 0.0', 'JSON has no NaN'],
    ['duration("60s")', 'none of JSON'],
    ['this.constructor', 'Unknown variable: this'],
    ['inputs.constructor', 'No such key'],
    ['inputs.name.matches("^(a+)+$")', 'take longer than 250 ms'],
    ['inputs.many.map(a, inputs.many.map(b, a * b))', 'take longer than 250 ms'],
    [`"${'x'.repeat(MAX_EXPRESSION_LENGTH)}"`, 'longer than 4,000 characters'],
  ])('should say why it has none: %s', (source, message) => {
    expect(() => value(source)).toThrow(ExpressionError);
    expect(() => value(source)).toThrow(message);
  });

  it('should not be evaluated where no time is left', () => {
    expect(() => value('1 + 1', new TimeBudget({ limitMs: 0 }))).toThrow(OutOfTimeError);
  });

  it('should share the time with those beside it', () => {
    let at = 0;
    const budget = new TimeBudget({ now: () => (at += 20) });
    const evaluate = () => value('inputs.count', budget);
    expect(evaluate()).toBe(5);
    expect(() => Array.from({ length: 20 }, evaluate)).toThrow('take longer than 250 ms together');
  });

  it('should not fill the memory with what is small as long as it is not written out', () => {
    const list = (of: string, times: number) =>
      Array.from({ length: times }).reduce<string>((x) => `[${x}].map(x, [x, x, x, x, x, x, x, x, x, x])`, of);
    expect(() => value(list('inputs.many', 9))).toThrow(OutOfTimeError);
  });

  it('should tell the steps that it reads', () => {
    expect(expressions.stepsOf('steps.build.output == steps["test"].state || has(steps.?x.y)')).toEqual([
      'build',
      'test',
      'x',
    ]);
  });

  it('should be evaluated, or refused with a reason, whatever it is', () => {
    const piece = fc.constantFrom(
      'inputs',
      '.',
      'count',
      '+',
      '(',
      ')',
      '[',
      ']',
      '"',
      "'",
      '1',
      ' ',
      '?',
      ':',
      'map',
      ',',
      '{',
      '}',
      '!',
      '-',
      '\\',
      'steps',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece).map((pieces) => pieces.join('')),
          fc.string(),
        ),
        (source) => {
          try {
            JSON.stringify(value(source));
          } catch (error) {
            expect(error).toBeInstanceOf(ExpressionError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a text with expressions', () => {
  const fill = (text: string) => fillIn(text, value);

  it.each<[string, unknown]>([
    ['plain', 'plain'],
    ['${{ inputs.count }}', 5],
    ['n: ${{ inputs.count }}!', 'n: 5!'],
    ['${{ inputs.count }}${{ steps.build.output.tags }}', '5["x"]'],
    ['${{ {"a": {"b": 1}} }}', { a: { b: 1 } }],
    ['${{ "}}" }} and $${{ this }}', '}} and ${{ this }}'],
  ])('should be filled in: %s', (text, expected) => {
    expect(fill(text)).toEqual(expected);
  });

  it('should be filled in however deep it lies', () => {
    expect(fillIn({ a: ['${{ inputs.count }}', { b: 'x' }], c: null, d: 1 }, value)).toEqual({
      a: [5, { b: 'x' }],
      c: null,
      d: 1,
    });
  });

  it('should be cut into what it is made of, with nothing lost', () => {
    const literal = fc.string().filter((text) => !text.includes('${{') && !text.endsWith('$') && !text.endsWith('$$'));
    const source = fc.constantFrom('1', 'a.b', '"}}"', '{"a": {}}', "'{'");
    fc.assert(
      fc.property(fc.array(fc.tuple(literal, source)), literal, (pairs, rest) => {
        const text = `${pairs.map(([before, inner]) => `${before}\${{ ${inner} }}`).join('')}${rest}`;
        const parts = parseTemplate(text);
        const joined = parts.map((part) => ('text' in part ? part.text : `\${{ ${part.source} }}`)).join('');
        expect(joined).toBe(text);
        expect(parts.filter((part) => 'source' in part)).toEqual(pairs.map(([, inner]) => ({ source: inner })));
      }),
    );
  });
});
