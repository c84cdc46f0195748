import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EnvFileError, parseEnvFile } from './env-file.ts';
import { EnvFilesBudget, MAX_ENV_FILES_LENGTH, MAX_ENV_FILES_VALUES } from './env-files-budget.ts';

const VARIABLES = { OUTSIDE: 'from the environment', BOTH: 'environment' };
const read = (text: string, raw = false) =>
  Object.fromEntries(parseEnvFile(text, { variables: VARIABLES, raw, budget: new EnvFilesBudget() }).values);

describe('parseEnvFile', () => {
  it.each([
    // The examples of the Compose documentation's page on the syntax of env files.
    ['VAR=VAL', 'VAL'],
    ['VAR="VAL"', 'VAL'],
    ["VAR='VAL'", 'VAL'],
    ['VAR=VAL # comment', 'VAL'],
    ['VAR=VAL# not a comment', 'VAL# not a comment'],
    ['VAR="VAL # not a comment"', 'VAL # not a comment'],
    ['VAR="VAL" # comment', 'VAL'],
    ["VAR='$OUTSIDE'", '$OUTSIDE'],
    ["VAR='${OUTSIDE}'", '${OUTSIDE}'],
    ["VAR='Let\\'s go!'", "Let's go!"],
    ['VAR="{\\"hello\\": \\"json\\"}"', '{"hello": "json"}'],
    ['VAR="some\\tvalue"', 'some\tvalue'],
    ["VAR='some\\tvalue'", 'some\\tvalue'],
    ['VAR=some\\tvalue', 'some\\tvalue'],
    ["VAR='SOME\nVALUE'", 'SOME\nVALUE'],
    // And what they leave open.
    ['VAR=', ''],
    ['VAR=""', ''],
    ['VAR= # only a comment', ''],
    ['  VAR = VAL  ', 'VAL'],
    ['export VAR=VAL', 'VAL'],
    ['VAR: VAL', 'VAL'],
    ['VAR=a=b=c', 'a=b=c'],
    ['VAR="a\nb"', 'a\nb'],
    ['VAR=$OUTSIDE!', 'from the environment!'],
    ['VAR="${UNSET:-${OUTSIDE}}"', 'from the environment'],
    ['VAR=$$OUTSIDE', '$OUTSIDE'],
    ['VAR="\\$OUTSIDE"', '$OUTSIDE'],
    ['VAR="\\\\n"', '\\n'],
    ['VAR="\\0101\\q"', 'A\\q'],
    ['A=1\nVAR=$A', '1'],
    ['BOTH=file\nVAR=$BOTH', 'environment'],
    ['VAR=1\nVAR=2', '2'],
    ['\uFEFFVAR=1\r\nB=2\r\n', '1'],
    ['# comment\n\n \t# another\nVAR=1', '1'],
  ])('should read %j', (text, expected) => {
    expect(read(text).VAR).toBe(expected);
  });

  it('should take a name without a value from the environment, and leave it out where that has none', () => {
    expect(read('OUTSIDE\nUNSET\nB=1')).toEqual({ OUTSIDE: 'from the environment', B: '1' });
  });

  it('should know what earlier files hold', () => {
    const earlier = new Map([['A', 'earlier']]);
    const file = parseEnvFile('B=$A', { variables: {}, earlier, budget: new EnvFilesBudget() });
    expect(file.values.get('B')).toBe('earlier');
  });

  it('should name the variables that it lacks, and use defaults and its own values while variables are not known', () => {
    const budget = new EnvFilesBudget();
    expect(parseEnvFile('A=$X', { variables: {}, budget })).toEqual({ values: new Map([['A', '']]), unset: ['X'] });
    const unknown = parseEnvFile('A=$X\nB=${Y:-b}\nC=$B\nD', { variables: null, budget });
    expect(Object.fromEntries(unknown.values)).toEqual({ A: null, B: 'b', C: 'b', D: null });
    expect(unknown.unset).toEqual(['X']);
  });

  it('should read the format raw as it stands', () => {
    const text = '# comment\nA="quoted" # kept\nB=$OUTSIDE\nOUTSIDE\n\nC= x ';
    const expected = { A: '"quoted" # kept', B: '$OUTSIDE', OUTSIDE: 'from the environment', C: ' x ' };
    expect(read(text, true)).toEqual(expected);
  });

  it.each([
    ['A=1\n=2', 'line 2: a value has no name before it'],
    ['A B=1', 'line 1: a name has characters other than letters, digits, "_", "." and "-"'],
    ['A=1\n\nB="open', 'line 3: a " is not closed'],
    ["B='open", "line 1: a ' is not closed"],
    ['A="1"2', 'line 1: something stands behind the closing quote'],
    ['A=${B', 'line 1: a "${" is not closed by "}"'],
    ['A=${B:?set it}', 'line 1: the variable B must be set: set it'],
  ])('should refuse %j', (text, message) => {
    expect(() => read(text)).toThrow(
      new EnvFileError(Number(/\d+/.exec(message)![0]), message.replace(/^line \d+: /, '')),
    );
  });

  it('should count what variables make of all files that share a budget', () => {
    const doubling = Array.from({ length: 30 }, (_, index) => `B${index + 1}=$B${index}$B${index}`);
    const bomb = `B0=xx\n${doubling.join('\n')}`;
    const budget = new EnvFilesBudget();
    const again = () => parseEnvFile('A=$B0', { variables: { B0: 'x'.repeat(1000) }, budget });
    for (let index = 0; index < MAX_ENV_FILES_LENGTH / 2010; index++) again();
    expect(() => parseEnvFile(bomb, { variables: {}, budget })).toThrow(/^line \d+: .* more than 8,388,608 characters/);
    expect(again).toThrow(EnvFileError);
    expect(() => read(bomb)).toThrow(/^line 22: /);
  });

  it('should count the values of all files that share a budget', () => {
    const budget = new EnvFilesBudget();
    const text = 'A=1\n'.repeat(MAX_ENV_FILES_VALUES / 2);
    const parse = (raw: boolean) => parseEnvFile(text, { variables: {}, raw, budget });
    parse(false);
    parse(true);
    expect(() => parse(false)).toThrow('line 1: the env files give services more than 100,000 values together');
  });

  it('should give back any text in single quotes, and fail with nothing but EnvFileError', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const value = text.replaceAll(/['\\\r]/g, '');
        expect(read(`A='${value}'`).A).toBe(value);
      }),
    );
    const pieces = fc.array(fc.constantFrom('A', '=', '"', "'", '\\', '$', '{', '}', '\n', ' ', '#', ':', 'export '));
    fc.assert(
      fc.property(pieces, fc.boolean(), (parts, raw) => {
        try {
          read(parts.join(''), raw);
        } catch (error) {
          expect(error).toBeInstanceOf(EnvFileError);
        }
      }),
    );
  });
});
