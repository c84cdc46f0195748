import { describe, expect, it } from 'vitest';
import { check } from './testing.ts';

/** "line:column message → suggestion" of each finding. */
function explained(text: string): string[] {
  return check(text).findings.map(
    ({ line, column, message, suggestion }) => `${line}:${column} ${message}${suggestion ? ` → ${suggestion}` : ''}`,
  );
}

const web = (entry: string) => `services:\n  web:\n    image: x\n    ${entry}`;

describe('checkSchema', () => {
  it.each([
    ['prots: ["80:80"]', '4:5 There is no key "prots" in "services.web". → Did you mean "ports"?'],
    ['replicas: 2', '4:5 There is no key "replicas" in "services.web". → It belongs under "deploy.replicas".'],
    [
      'wibble: 2',
      '4:5 There is no key "wibble" in "services.web". → Remove it, or begin its name with "x-" if it is meant for another tool.',
    ],
    ['command: [sleep, 10]', '4:22 This item must be a text, not a number. → Put it in quotes: "10".'],
    ['restart: false', '4:5 "restart" must be a text, not true or false. → Put it in quotes: "false".'],
    ['stop_grace_period: 10', '4:5 "stop_grace_period" must be a text, not a number. → Write it with its unit: "10s".'],
    ['depends_on: 5', '4:5 "depends_on" must be a list or a mapping, not a number.'],
    ['ports: "80:80"', '4:5 "ports" must be a list, not a text.'],
    ['environment: { A: [1] }', '4:20 "A" must be a text, a number, true or false or empty, not a list.'],
    ['cgroup: hots', '4:5 "cgroup" must be host or private. → Did you mean "host"?'],
    ['cap_add: [A, B, A]', '4:5 "cap_add" has the same item twice.'],
    ['healthcheck: { test: { a: b } }', '4:20 "test" must be a text or a list, not a mapping.'],
    [
      'volumes: [{ type: bindd, target: /x }]',
      '4:17 "type" must be bind, volume, tmpfs, cluster, npipe or image. → Did you mean "bind"?',
    ],
    ['oom_score_adj: 5000', '4:5 "oom_score_adj" must be at most 1000.'],
  ])('should explain %s', (entry, expected) => {
    expect(explained(web(entry))).toEqual([expected]);
  });

  it('should explain a service in the wrong place, and of the wrong kind', () => {
    expect(explained('services: { a: { image: x } }\nb: { image: x }')).toEqual([
      '2:1 There is no key "b" at the top of a compose file. → Indent "b" under "services:".',
    ]);
    expect(explained('services: { a: { image: x }, b: nginx }')[0]).toBe('1:30 "b" must be a mapping, not a text.');
    expect(explained('servces: { a: { image: x } }')[0]).toMatch(/Did you mean "services"\?$/);
  });

  it('should find all errors at once', () => {
    const text = 'services:\n  a: { image: 5, prots: [] }\n  b: { image: x, tty: [] }\nvolumes: []';
    expect(check(text).said).toEqual([
      '2:8 ERROR schema-type',
      '2:18 ERROR key-unknown',
      '3:18 ERROR schema-type',
      '4:1 ERROR schema-type',
    ]);
  });

  it('should accept extensions everywhere', () => {
    const text = 'x-a: 1\nservices: { a: { image: x, x-b: 1, deploy: { x-c: 1 }, healthcheck: { test: x, x-d: 1 } } }';
    expect(check(text).said).toEqual([]);
  });

  it('should not judge what a variable decides', () => {
    const text = web('cgroup: "${CGROUP}"\n    ports: ["${PORT}:80"]\n    scale: ${SCALE}');
    expect(check(text).findings.every(({ severity }) => severity === 'INFO')).toBe(true);
    expect(check(text).services).toMatchObject([{ ports: ['${PORT}:80'], replicas: 1 }]);
    expect(check(text, { variables: { CGROUP: 'x', PORT: 'y', SCALE: 'z' } }).said).toEqual([
      '4:5 ERROR schema-value',
      '5:13 ERROR port-invalid',
      '6:5 ERROR number-invalid',
    ]);
  });
});
