import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { checkStack } from './check.ts';
import { renderStack } from './render.ts';

/** Values as they stand in a file, "$" and all. */
const text = fc
  .string({ unit: 'grapheme', maxLength: 12 })
  .map((value) => value.replaceAll('$', '$$$$').replaceAll('\0', ''));
const key = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/).filter((name) => name !== '__proto__');
const port = fc.oneof(
  fc.integer({ min: 1, max: 65_535 }),
  fc.integer({ min: 1, max: 65_535 }).map((target) => `[::1]::${target}/udp`),
  fc.record(
    { target: fc.integer({ min: 1, max: 65_535 }), host_ip: fc.constant('10.0.0.1') },
    { requiredKeys: ['target'] },
  ),
);
const duration = fc.constantFrom('1s', '250ms', '1m1s', '2h');
const healthcheck = fc.record(
  {
    test: fc.oneof(text, fc.constant(['CMD', 'a', 'b'])),
    interval: duration,
    retries: fc.integer({ min: 1, max: 9 }),
    disable: fc.boolean(),
  },
  { requiredKeys: [] },
);
const service = fc.record(
  {
    image: fc.constant('registry.example/app:1'),
    extends: fc.constantFrom('last', { service: 'last' }),
    build: fc.constantFrom('.', { context: 'x', args: ['A=$$1'] }),
    extra_hosts: fc.constant(['h=1.2.3.4']),
    command: fc.oneof(fc.array(text, { maxLength: 3 }), fc.constantFrom('a "b c" d', '', "x 'y $$z'")),
    entrypoint: fc.array(text, { maxLength: 2 }),
    env_file: fc.constantFrom(
      'one.env',
      ['one.env', { path: './two.env', required: false }],
      [{ path: 'two.env', format: 'raw' }],
    ),
    environment: fc.dictionary(key, fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null)), { maxKeys: 4 }),
    working_dir: fc.constantFrom('/srv', 'app'),
    ports: fc.uniqueArray(port, { maxLength: 4 }),
    volumes: fc.constantFrom(['v:/a', '/b'], [{ type: 'volume', source: 'v', target: 'c', read_only: true }]),
    tmpfs: fc.constantFrom('/tmp', ['/tmp', '/run']),
    configs: fc.constantFrom(['c'], ['f'], [{ source: 'c', target: '/x', mode: 0o440, uid: '5' }]),
    secrets: fc.constant(['s']),
    healthcheck,
    restart: fc.constantFrom('no', 'always', 'on-failure:3', 'unless-stopped'),
    stop_signal: fc.constantFrom('INT', '15'),
    stop_grace_period: duration,
    deploy: fc.record(
      { replicas: fc.integer({ min: 0, max: 9 }), labels: fc.dictionary(key, text) },
      { requiredKeys: [] },
    ),
    labels: fc.dictionary(key, text, { maxKeys: 3 }),
    'x-note': text,
    networks: fc.constantFrom(['n'], { n: { aliases: ['z'] } }),
    links: fc.constant(['last:alias']),
    depends_on: fc.constantFrom(['last'], { last: { condition: 'service_started', required: false, restart: true } }),
  },
  { requiredKeys: ['image'] },
);
const stack = fc.dictionary(fc.stringMatching(/^[a-k]{1,5}$/), service, { minKeys: 1, maxKeys: 3 }).map((services) => ({
  name: 'shop',
  services: { ...services, last: { image: 'x', depends_on: [], tmpfs: '/base', labels: ['base=1'] } },
  volumes: { v: null },
  networks: { n: { driver: 'bridge', internal: true } },
  configs: { c: { content: 'a $$b' }, f: { file: './f.txt' } },
  secrets: { s: { environment: 'SECRET' } },
  'x-top': [1, 'two', '$$'],
  'x-windflow': { files: { 'f.txt': '$PLAIN', 'one.env': 'ONE="$$1"\nTWO=${ONE}', 'two.env': 'TWO=$2\nSECRET' } },
}));

describe('renderStack', () => {
  it('should be read back as the same model, from any file and in any notation', () => {
    fc.assert(
      fc.property(stack, fc.constantFrom({ SECRET: 'geheim' }, null), (file, variables) => {
        const { model, findings } = checkStack(stringify(file), { variables });
        expect(findings.filter(({ severity }) => severity === 'ERROR')).toEqual([]);
        const rendered = renderStack(model!);
        const again = checkStack(stringify(rendered), { variables });
        expect(again.findings.filter(({ severity }) => severity === 'ERROR')).toEqual([]);
        expect(again.model).toEqual(model);
        expect(JSON.stringify(renderStack(again.model!))).toBe(JSON.stringify(rendered));
        expect(checkStack(JSON.stringify(rendered), { variables }).model).toEqual(model);
      }),
      { numRuns: 30 },
    );
  });

  it('should not depend on the order of keys or on short forms', () => {
    const short = 'services: { a: { image: x, ports: ["8080:80"], environment: [B=2, A=1], command: a b } }';
    const long =
      'services: { a: { command: [a, b], environment: { A: 1, B: 2 }, ports: [{ published: 8080, target: 80 }], image: x } }';
    const render = (file: string) => JSON.stringify(renderStack(checkStack(file).model!));
    expect(render(short)).toBe(render(long));
  });

  it('should keep the content of a variable out of the file', () => {
    const file = 'services: { a: { image: x, secrets: [s] } }\nsecrets: { s: { environment: KEY } }';
    const { model } = checkStack(file, { variables: { KEY: 'geheim' } });
    expect(JSON.stringify(renderStack(model!))).not.toContain('geheim');
    expect(parse(stringify(renderStack(model!)))).toMatchObject({ secrets: { s: { environment: 'KEY' } } });
  });
});
