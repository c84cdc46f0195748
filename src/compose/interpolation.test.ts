import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDocument, toValue } from './document.ts';
import { Report } from './finding.ts';
import { interpolate, interpolateTree, TemplateError } from './interpolation.ts';

const VARIABLES = { SET: 'value', EMPTY: '', DOLLAR: '$SET', LINES: 'a\nb=c' };

describe('interpolate', () => {
  it.each([
    ['plain', 'plain'],
    ['$', '$'],
    ['a$', 'a$'],
    ['^x$|y', '^x$|y'],
    ['$1 $ SET', '$1 $ SET'],
    ['${UNSET:-$}', '$'],
    ['$SET', 'value'],
    ['${SET}', 'value'],
    ['a${SET}b$SET.c', 'avaluebvalue.c'],
    ['$$SET', '$SET'],
    ['$${SET}', '${SET}'],
    ['$$$SET', '$value'],
    ['$DOLLAR', '$SET'],
    ['$LINES', 'a\nb=c'],
    ['${SET:-other}', 'value'],
    ['${EMPTY:-other}', 'other'],
    ['${UNSET:-other}', 'other'],
    ['${SET-other}', 'value'],
    ['${EMPTY-other}', ''],
    ['${UNSET-other}', 'other'],
    ['${UNSET:-}', ''],
    ['${SET:+other}', 'other'],
    ['${EMPTY:+other}', ''],
    ['${UNSET:+other}', ''],
    ['${SET+other}', 'other'],
    ['${EMPTY+other}', 'other'],
    ['${UNSET+other}', ''],
    ['${SET:?needed}', 'value'],
    ['${EMPTY?needed}', ''],
    ['${UNSET:-${SET}}', 'value'],
    ['${UNSET:-$SET}', 'value'],
    ['${UNSET:-${ALSO_UNSET:-deep}}', 'deep'],
    ['${UNSET-${EMPTY:-x}-${SET}}', 'x-value'],
    ['${UNSET:-a$$b}', 'a$b'],
    ['${UNSET:-{"a":{"b":1}}}', '{"a":{"b":1}}'],
    ['${UNSET:-http://host:80/?a=b-c}', 'http://host:80/?a=b-c'],
    ['{"a": "${SET}"}', '{"a": "value"}'],
    ['${SET:-${UNSET:?never}}', 'value'],
  ])('should turn %j into %j', (template, expected) => {
    expect(interpolate(template, VARIABLES)).toEqual({ text: expected, resolved: true, unset: [], missing: [] });
  });

  it.each([
    ['$UNSET', ['UNSET'], []],
    ['${UNSET}${ALSO}', ['UNSET', 'ALSO'], []],
    ['${UNSET:?be set}', [], [{ name: 'UNSET', message: 'be set' }]],
    ['${EMPTY:?}', [], [{ name: 'EMPTY', message: '' }]],
    ['${UNSET?see ${SET}}', [], [{ name: 'UNSET', message: 'see ${SET}' }]],
  ])('should name the variables that %j lacks', (template, unset, missing) => {
    expect(interpolate(template, VARIABLES)).toMatchObject({ text: '', unset, missing });
  });

  it.each([
    '${',
    '${}',
    '${SET',
    '${1}',
    '${SET/a/b}',
    '${SET:}',
    '${UNSET:-${SET}',
    '${A:-'.repeat(40),
  ])('should refuse %j', (template) => {
    expect(() => interpolate(template, VARIABLES)).toThrow(TemplateError);
  });

  it('should not take inherited properties for variables', () => {
    expect(interpolate('$constructor', {}).unset).toEqual(['constructor']);
  });

  it('should use defaults while variables are not known, and leave the rest unresolved', () => {
    expect(interpolate('${A:-x}', null)).toMatchObject({ text: 'x', resolved: true });
    expect(interpolate('${A:?x}', null)).toMatchObject({ resolved: false, missing: [], unset: ['A'] });
  });

  it('should give back any text whose dollars are doubled, whatever stands in it', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(interpolate(text.replaceAll('$', '$$$$'), null).text).toBe(text);
      }),
    );
  });

  it('should throw nothing but TemplateError', () => {
    const pieces = fc.array(fc.constantFrom('$', '{', '}', ':', '-', '?', '+', 'A', '1', ' ', '$$', '${A'));
    fc.assert(
      fc.property(pieces, (parts) => {
        try {
          interpolate(parts.join(''), { A: 'x' });
        } catch (error) {
          expect(error).toBeInstanceOf(TemplateError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('interpolateTree', () => {
  function run(text: string, variables: Record<string, string> | null) {
    const report = new Report();
    const root = readDocument(text, report)!.root;
    const value = toValue(interpolateTree(root, variables, report));
    return { value, findings: report.findings() };
  }

  it('should fill in values, not keys', () => {
    expect(run('$A: { b: [$A, 5, "${A}"] }', { A: 'x' }).value).toEqual({ $A: { b: ['x', 5, 'x'] } });
  });

  it('should make booleans and numbers where the schema has no text', () => {
    const text = 'services: { a: { depends_on: { b: { required: "${R}" } }, networks: { n: { priority: $P } } } }';
    expect(run(text, { R: 'no', P: '7' }).value).toEqual({
      services: { a: { depends_on: { b: { required: false } }, networks: { n: { priority: 7 } } } },
    });
  });

  it('should report an unset variable once, and a missing one wherever it stands', () => {
    const { findings } = run('a: $X\nb: $X\nc: ${Y:?no Y}\nd: ${Y:?}', {});
    expect(findings.map(({ rule, line, severity }) => `${line} ${severity} ${rule}`)).toEqual([
      '1 WARNING variable-unset',
      '3 ERROR variable-missing',
      '4 ERROR variable-missing',
    ]);
    expect(findings[1]?.message).toContain('no Y');
  });

  it('should only inform while variables are not known', () => {
    const { value, findings } = run('a: $X-${Y:?no}', null);
    expect(value).toEqual({ a: '$X-${Y:?no}' });
    expect(findings.map(({ severity, rule }) => `${severity} ${rule}`)).toEqual([
      'INFO variable-needed',
      'INFO variable-needed',
    ]);
  });

  it('should end where values grow without bound', () => {
    const text = `a:\n${'  - $X\n'.repeat(2000)}`;
    expect(run(text, { X: 'x'.repeat(65_536) }).findings.map(({ rule }) => rule)).toEqual(['file-too-large']);
  });
});
