import { describe, expect, it } from 'vitest';
import { checkStack } from './check.ts';

/**
 * The page "Interpolation" of the Compose Specification, sentence by sentence. Each case stands in a file as it is:
 * [what it says, variables, the value as YAML, the text that comes out, or the rule of the ERROR].
 */
type Case = [sentence: string, variables: Record<string, string>, yaml: string, expected: string | { error: string }];

const REFUSED = { error: 'interpolation-syntax' };
const MISSING = { error: 'variable-missing' };

const CASES: Case[] = [
  ['both syntaxes are supported', { VARIABLE: 'x' }, '$VARIABLE', 'x'],
  ['both syntaxes are supported', { VARIABLE: 'x' }, '${VARIABLE}', 'x'],
  ['a name ends where its characters end', { V: 'x', VA: 'y' }, '"$V-$VA/${V}A"', 'x-y/xA'],
  ['names keep their case', { VARIABLE: 'upper', variable: 'lower' }, '$VARIABLE $variable', 'upper lower'],
  ['default if unset or empty', {}, '${VARIABLE:-default}', 'default'],
  ['default if unset or empty', { VARIABLE: '' }, '${VARIABLE:-default}', 'default'],
  ['default if unset or empty', { VARIABLE: 'x' }, '${VARIABLE:-default}', 'x'],
  ['default only if unset', {}, '${VARIABLE-default}', 'default'],
  ['default only if unset', { VARIABLE: '' }, '"${VARIABLE-default}"', ''],
  ['default only if unset', { VARIABLE: 'x' }, '${VARIABLE-default}', 'x'],
  ['an error if unset or empty', {}, '${VARIABLE:?err}', MISSING],
  ['an error if unset or empty', { VARIABLE: '' }, '${VARIABLE:?err}', MISSING],
  ['an error if unset or empty', { VARIABLE: 'x' }, '${VARIABLE:?err}', 'x'],
  ['an error only if unset', {}, '${VARIABLE?err}', MISSING],
  ['an error only if unset', { VARIABLE: '' }, '"${VARIABLE?err}"', ''],
  ['an error only if unset', { VARIABLE: 'x' }, '${VARIABLE?err}', 'x'],
  ['a replacement if set and not empty', {}, '"${VARIABLE:+replacement}"', ''],
  ['a replacement if set and not empty', { VARIABLE: '' }, '"${VARIABLE:+replacement}"', ''],
  ['a replacement if set and not empty', { VARIABLE: 'x' }, '${VARIABLE:+replacement}', 'replacement'],
  ['a replacement if set', {}, '"${VARIABLE+replacement}"', ''],
  ['a replacement if set', { VARIABLE: '' }, '${VARIABLE+replacement}', 'replacement'],
  ['a replacement if set', { VARIABLE: 'x' }, '${VARIABLE+replacement}', 'replacement'],
  ['interpolation can be nested', { FOO: 'foo' }, '${VARIABLE:-${FOO}}', 'foo'],
  ['interpolation can be nested', { FOO: 'foo' }, '${VARIABLE?$FOO}', MISSING],
  ['interpolation can be nested', {}, '${VARIABLE:-${FOO:-default}}', 'default'],
  ['interpolation can be nested', { FOO: 'foo' }, '${VARIABLE:-${FOO:-default}}', 'foo'],
  ['interpolation can be nested', { VARIABLE: 'x', FOO: 'foo' }, '"${VARIABLE:+-${FOO}-}"', '-foo-'],
  ['interpolation can be nested', {}, '${A:-${B-${C:-${D-deep}}}}', 'deep'],
  ['what is not used is not needed', { VARIABLE: 'x' }, '${VARIABLE:-${FOO:?never}}', 'x'],
  ['an operand may hold any sign', {}, '"${VARIABLE:-http://h:80/?a=b&c={d}#e+f}"', 'http://h:80/?a=b&c={d}#e+f'],
  ['an operand may be empty', {}, '"${VARIABLE:-}"', ''],
  ['an operand keeps its quotes and blanks', {}, `'\${VARIABLE:-"a"  b }'`, '"a"  b '],
  ['other features of shells are not supported', { VARIABLE: 'x' }, '${VARIABLE/foo/bar}', REFUSED],
  ['other features of shells are not supported', { VARIABLE: 'x' }, '${VARIABLE^^}', REFUSED],
  ['other features of shells are not supported', { VARIABLE: 'x' }, '${#VARIABLE}', REFUSED],
  ['a variable is closed', { VARIABLE: 'x' }, '"${VARIABLE"', REFUSED],
  ['a variable has a name', {}, '"${}"', REFUSED],
  ['a double dollar sign is a literal one', { VARIABLE: 'x' }, '$$VARIABLE', '$VARIABLE'],
  ['a double dollar sign is a literal one', { VARIABLE: 'x' }, '$${VARIABLE}', '${VARIABLE}'],
  ['a double dollar sign is a literal one', { VARIABLE: 'x' }, '$$$VARIABLE', '$x'],
  ['a double dollar sign is a literal one', { VARIABLE: 'x' }, '$$$$VARIABLE', '$$VARIABLE'],
  ['a double dollar sign is a literal one', {}, '${VARIABLE:-$$5}', '$5'],
  ['a dollar sign before no name is a literal one', {}, '"^a$|$5 $"', '^a$|$5 $'],
  ['what is unset becomes an empty text', {}, '"<$VARIABLE>"', '<>'],
  ['a value is not interpolated again', { VARIABLE: '$FOO', FOO: 'x' }, '$VARIABLE', '$FOO'],
  ['quotes of YAML make no difference', { VARIABLE: 'x' }, `'\${VARIABLE}'`, 'x'],
  ['quotes of YAML make no difference', { VARIABLE: 'x' }, '"${VARIABLE}"', 'x'],
  ['quotes of YAML make no difference', { VARIABLE: 'x' }, '|-\n        ${VARIABLE}', 'x'],
  ['what looks like a number stays a text', { VARIABLE: '0123' }, '${VARIABLE}', '0123'],
  ['a value cannot bring YAML along', { VARIABLE: '[a, b]' }, '${VARIABLE}', '[a, b]'],
];

describe('interpolation, as the Compose Specification has it', () => {
  it.each(CASES)('should hold that %s: %j, %s', (_, variables, yaml, expected) => {
    const text = `services:\n  a:\n    image: x\n    environment:\n      OUT: ${yaml}\n`;
    const { model, findings } = checkStack(text, { variables });
    if (typeof expected === 'string') expect(model?.services.a?.environment.OUT).toBe(expected);
    else expect(findings.map(({ rule }) => rule)).toContain(expected.error);
  });

  it('should apply to values, not to keys, and to both sides of a list of "key=value"', () => {
    const check = (labels: string) =>
      checkStack(`services: { a: { image: x, environment: ${labels} } }`, { variables: { KEY: 'k', VALUE: 'v' } })
        .model;
    expect(check('{ $KEY: $VALUE }')?.services.a?.environment).toEqual({ $KEY: 'v' });
    expect(check('["$KEY=$VALUE"]')?.services.a?.environment).toEqual({ k: 'v' });
  });

  it('should apply to short forms, numbers and truth values before they are read', () => {
    const text = `services: { a: { image: "x:$TAG", ports: ["$FROM:80"], scale: $MANY, read_only: $YES, privileged: "\${NO:-false}" } }`;
    const { model } = checkStack(text, { variables: { TAG: '1', FROM: '8080-8089', MANY: '3', YES: 'true' } });
    expect(model?.services.a).toMatchObject({
      image: 'x:1',
      replicas: 3,
      ports: [{ published: 8080, publishedEnd: 8089 }],
    });
  });

  it('should apply before services extend each other, and before profiles are looked at', () => {
    const text =
      'services:\n  a: { image: x, command: "$C", profiles: ["$P"] }\n  b: { extends: "$E", command: z }\n  c: { extends: a }';
    const { model } = checkStack(text, { variables: { C: 'y', P: 'on', E: 'a', COMPOSE_PROFILES: 'on' } });
    expect(Object.entries(model?.services ?? {}).map(([name, { command }]) => [name, command])).toEqual([
      ['a', ['y']],
      ['b', ['z']],
      ['c', ['y']],
    ]);
  });
});
