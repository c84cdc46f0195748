import { describe, expect, it } from 'vitest';
import { checkStack } from './check.ts';
import { renderStack } from './render.ts';
import { FILES_EXAMPLE } from './support-example.ts';
import { check } from './testing.ts';

const stack = (files: string, service: string, rest = '') =>
  `x-windflow: { files: { ${files} } }\nservices:\n  a: { image: x, ${service} }\n${rest}`;

describe('files that a stack brings along', () => {
  it('should be read by the example of the documentation', () => {
    const { model, said } = check(FILES_EXAMPLE, { runtime: 'PROCESS', variables: {} });
    expect(said).toEqual([]);
    expect(model?.services.web?.environment).toEqual({
      GREETING: 'Hello, world',
      FORMULA: 'costs $5',
      LEVEL: 'info',
    });
    expect(model?.configs.settings).toMatchObject({ content: '{ "listen": "$PORT" }\n', file: null });
    expect(model?.extensions).toEqual({});
  });

  it.each([
    ['env_file: a.env', { A: '1', B: '1' }],
    ['env_file: ./a.env', { A: '1', B: '1' }],
    ['env_file: [a.env, dir/../b.env]', { A: '1', B: '2', C: '12' }],
    ['env_file: [b.env, a.env]', { A: '1', B: '1', C: '$' }],
    ['env_file: [{ path: b.env, format: raw }]', { B: '2', C: '${A-$$}${A+$B}' }],
    ['env_file: [{ path: a.env, required: true }, { path: none, required: false }]', { A: '1', B: '1' }],
    ['env_file: a.env, environment: { B: over, D: }', { A: '1', B: 'over', D: 'outside' }],
    ['env_file: a.env, environment: [A, B=over]', { A: '1', B: 'over' }],
  ])('should be env files: %s', (service, expected) => {
    const files = 'a.env: "A=1\\nB=1", b.env: "B=2\\nC=${A-$$}${A+$B}"';
    const { model, findings } = check(stack(files, service), { variables: { D: 'outside' } });
    expect(findings.filter(({ severity }) => severity !== 'INFO')).toEqual([]);
    expect(model?.services.a?.environment).toEqual(expected);
  });

  it('should be configs and secrets, the latter with a warning, without interpolation', () => {
    const rest = 'configs: { c: { file: ./c.txt } }\nsecrets: { s: { file: s.txt } }';
    const { model, said } = check(stack('c.txt: "$A", s.txt: "${A}"', 'configs: [c], secrets: [s]', rest), {
      variables: {},
    });
    expect(said).toEqual(['5:17 WARNING secret-inline']);
    expect(model?.configs.c?.content).toBe('$A');
    expect(model?.secrets.s?.content).toBe('${A}');
  });

  it('should be part of the services once a stack is written out', () => {
    const text = stack('a.env: "A=$$5", c: "a $b"', 'env_file: a.env, configs: [c]', 'configs: { c: { file: c } }');
    const { model } = check(text, { variables: {} });
    const rendered = renderStack(model!);
    expect(rendered).toMatchObject({ configs: { c: { content: 'a $$b' } } });
    expect(JSON.stringify(rendered)).not.toMatch(/x-windflow|env_file/);
    expect(checkStack(JSON.stringify(rendered), { variables: {} }).model).toEqual(model);
  });

  it.each([
    ['env_file: b.env', '3:18 ERROR file-missing'],
    ['env_file: [{ path: b.env }]', '3:31 ERROR file-missing'],
    ['env_file: [{ path: a.env, format: ini }]', '3:44 ERROR env-file-invalid'],
    ['env_file: bad.env', '3:18 ERROR env-file-invalid'],
    ['env_file: needs.env', '3:18 WARNING variable-unset'],
    ['configs: [{ source: a }]', '3:28 ERROR config-undeclared'],
  ])('should be found: %s', (service, expected) => {
    const files = 'a.env: A=1, bad.env: "=1", needs.env: "A=$NONE"';
    const said = check(stack(files, service), { variables: {} }).said.filter((line) => !line.endsWith('unused'));
    expect(said).toEqual([expected]);
  });

  it('should be proposed where a path is mistyped, and named where none is like it', () => {
    const suggestion = (path: string) =>
      check(stack('web.env: A=1', `env_file: ${path}`)).findings.find(({ rule }) => rule === 'file-missing')
        ?.suggestion;
    expect(suggestion('wb.env')).toBe('Did you mean "web.env"?');
    expect(suggestion('production-settings')).toContain('x-windflow');
  });

  it('should be texts, each once, under the one key, and used', () => {
    expect(check(stack('a: { b: c }', 'tty: false')).said).toContain('1:24 ERROR inline-file-invalid');
    expect(check(stack('a: x, ./a: y', 'tty: false')).said).toContain('1:30 ERROR inline-file-invalid');
    expect(check(stack('a: x', 'tty: false')).said).toEqual(['1:24 INFO unused']);
    expect(check('x-windflow: [a]\nservices: { a: { image: x } }').said).toEqual(['1:1 ERROR inline-file-invalid']);
    expect(check('x-windflow: { file: }\nservices: { a: { image: x } }').said).toEqual(['1:15 WARNING key-ignored']);
    expect(check('x-windflow: { files: [a] }\nservices: { a: { image: x } }').said).toEqual([
      '1:15 ERROR inline-file-invalid',
    ]);
  });

  it('should not be read without bound', () => {
    const services = Array.from({ length: 90 }, (_, index) => `s${index}: { image: x, env_file: big }`);
    const text = `x-windflow: { files: { big: "A=${'x'.repeat(100_000)}" } }\nservices: { ${services} }`;
    expect(check(text).findings.map(({ rule }) => rule)).toContain('file-too-large');
  });

  it('should not grow without bound by what variables make of them', () => {
    const lines = (length: number, line: (index: number) => string) =>
      Array.from({ length }, (_, index) => line(index));
    const doubling = lines(20, (index) => `B${index + 1}=$B${index}$B${index}`);
    const bomb = ['B0=x', ...doubling, ...lines(3000, (index) => `C${index}=$B20$B20`)].join('\\n');
    const { model, findings } = check(stack(`bomb: "${bomb}"`, 'env_file: bomb'), { variables: {} });
    expect(model).toBeNull();
    expect(findings.map(({ rule }) => rule)).toEqual(['file-too-large']);
  });
});
