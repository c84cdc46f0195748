import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkStack } from './check.ts';
import { MAX_FINDINGS } from './finding.ts';
import { anyCharacter } from './testing.ts';

const PIECES = [
  'services:',
  '\n',
  '\n  ',
  '\n    ',
  '\n      ',
  'web:',
  'image: x',
  'ports:',
  '- "80:80"',
  '- ',
  '"8000-9000:80"',
  '${A',
  '${A:-x}',
  '}',
  '$',
  'depends_on:',
  'web',
  'extends: web',
  'volumes:',
  'v:/x',
  'environment:',
  'A=b',
  'A: 1',
  '&a',
  '*a',
  '<<: *a',
  '[',
  ']',
  '{',
  ', ',
  'command: a "b',
  'healthcheck:',
  'test: [CMD]',
  'configs:',
  'content: x',
  'deploy: {replicas: 2}',
  'null',
  '~',
  'true',
  '0x10',
  ': ',
  '? ',
  '!!binary x',
  '__proto__:',
  'constructor: 1',
  'build: .',
  'tmpfs: /run:size=1m',
  'networks: {n: {priority: 1}}',
  'x-windflow: {ingress: true, files: {Dockerfile: FROM x, a/b: c}}',
  'privileged: true',
  'ulimits: {nofile: 1}',
  'network_mode: "service:web"',
];

describe('checkStack', () => {
  it('should never throw, and have a model exactly when there is no error', () => {
    const pieces = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((parts) => parts.join(''));
    const structured = fc
      .object({
        key: fc.constantFrom(
          'services',
          'web',
          'image',
          'ports',
          'volumes',
          'deploy',
          'healthcheck',
          'test',
          'configs',
          'environment',
          'build',
          'context',
          'networks',
          'logging',
          'driver_opts',
          'x-windflow',
          'files',
        ),
        maxDepth: 5,
      })
      .map((value) => JSON.stringify(value));
    const options = fc.record({
      runtime: fc.constantFrom('PROCESS' as const, 'DOCKER' as const, null),
      variables: fc.constantFrom(null, { A: 'b' }),
      privileges: fc.constantFrom([], undefined),
    });
    fc.assert(
      fc.property(fc.oneof(pieces, structured, fc.string({ unit: anyCharacter })), options, (text, chosen) => {
        const { model, findings } = checkStack(text, chosen);
        expect(model === null).toBe(findings.some(({ severity }) => severity === 'ERROR'));
        const nowhere = findings.filter(
          ({ message, line, column }) => message === '' || (line !== null && Math.min(line, column ?? 0) < 1),
        );
        expect(nowhere).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('should never show the value of a variable', () => {
    const secret = 'S3CRET"$QUOTED value:99999';
    const places = [
      'image: ${X}',
      'command: ${X}',
      'command: ["${X}", "$$A"]',
      'entrypoint: "a ${X} && b"',
      'ports: ["${X}"]',
      'ports: [{ target: "${X}" }]',
      'ports: [{ target: 1, published: "${X}", host_ip: "${X}" }]',
      'volumes: ["${X}"]',
      'volumes: ["${X}:/a"]',
      'volumes: ["v:/${X}"]',
      'volumes: [{ type: volume, source: "${X}", target: "/${X}" }]',
      'environment: ["${X}"]',
      'environment: ["${X}=/a"]',
      'configs: ["${X}"]',
      'configs: [{ source: "${X}" }]',
      'secrets: [{ source: "${X}" }]',
      'depends_on: ["${X}"]',
      'extends: ${X}',
      'networks: ["${X}"]',
      'profiles: ["${X}"]',
      'restart: ${X}',
      'stop_signal: ${X}',
      'stop_grace_period: ${X}',
      'scale: ${X}',
      'working_dir: /${X}',
      'healthcheck: { test: ["${X}"] }',
      'healthcheck: { test: x, interval: "${X}", retries: "${X}" }',
      'network_mode: ${X}',
      'deploy: { mode: "${X}", restart_policy: { condition: "${X}" } }',
      'privileged: ${X}',
      'links: ["${X}"]',
      'cgroup: ${X}',
      'models: ["${X}"]',
      'env_file: ["${X}", e]',
      'env_file: [{ path: e, format: "${X}" }]',
      'mem_limit: ${X}',
      'cpus: ${X}',
      'extra_hosts: ["${X}"]',
      'container_name: ${X}\n    scale: 2',
      'build: { context: x, secrets: ["${X}"], platforms: ["${X}"] }\n    platform: ${X}',
      'develop: { watch: [{ action: "${X}", path: x }] }',
      'volumes_from: ["${X}"]',
      'pid: service:${X}',
      'image: ${X}\n    build: ${X}',
      'build: { context: ., dockerfile: "${X}", args: ["${X}"], network: "${X}", extra_hosts: ["a=${X}"] }',
      'cap_add: ["${X}"]',
      'security_opt: ["${X}", "seccomp=${X}"]',
      'devices: ["${X}"]',
      'device_cgroup_rules: ["${X}"]',
      'sysctls: ["${X}"]',
      'runtime: ${X}\n    cgroup_parent: ${X}\n    platform: ${X}',
      'pid: container:${X}\n    ipc: ${X}\n    uts: ${X}\n    userns_mode: ${X}',
      'network_mode: container:${X}\n    ports: ["80:80"]',
      'volumes_from: ["container:${X}"]',
      'volumes: ["/srv/${X}:/a", "./${X}:/b"]',
      'volumes: [{ type: bind, source: "/${X}", target: /a, bind: { propagation: "${X}" } }]',
      'volumes: ["w:/a", "y:/b"]',
      'networks: [n, m]',
      'tmpfs: "${X}:/a"',
      'tmpfs: "/a:${X}"',
      'logging: { driver: "${X}" }',
      'pull_policy: ${X}',
      'dns: "${X}"',
      'expose: ["${X}"]',
      'ulimits: { nofile: "${X}" }',
      'x-windflow: ${X}',
    ];
    for (const place of places) {
      const volumes = 'v: { external: "${X}" }, w: { name: "${X}" }, y: { driver_opts: { device: "/${X}" } }';
      const networks = 'n: { name: "${X}" }, m: { driver: "${X}" }';
      const text = `name: "\${X}"\nservices:\n  a:\n    ${place}\nvolumes: { ${volumes} }\nnetworks: { ${networks} }\nconfigs: { c: { environment: "\${X}" } }\nx-windflow: { files: { e: "\${X}=1" } }`;
      for (const runtime of ['PROCESS', 'DOCKER'] as const) {
        const { findings } = checkStack(text, { runtime, variables: { X: secret }, privileges: [] });
        expect(JSON.stringify(findings), place).not.toMatch(/S3CRET|QUOTED|99999/i);
      }
    }
  });

  const list = (length: number, entry: (index: number) => string, between = '\n') =>
    Array.from({ length }, (_, index) => entry(index)).join(between);
  const services = (length: number, lines: (index: number) => string) =>
    `services:\n${list(length, (index) => `  k${index}: { command: x, ${lines(index)} }`)}`;
  const service = (lines: string) => `services:\n  a:\n${lines}`;
  /** Rules of DOCKER alone. */
  const CONTAINED = new Set(['too-many-files', 'privilege-refused', 'image-invalid']);
  const volumes = list(900, (index) => `v:/d${index}`, ', ');

  it.each([
    ['ports', services(100, () => 'ports: ["1-1000:1-1000"]'), 'port-duplicate'],
    ['a circle', services(500, (index) => `depends_on: [k${(index + 1) % 500}]`), 'dependency-cycle'],
    [
      'dependencies',
      services(1, () => `depends_on: [${list(10_000, (at) => `d${at}`, ', ')}]`),
      'dependency-undefined',
    ],
    [
      'words and mounts',
      service(`    volumes: [${volumes}]\n    command: ${'a '.repeat(400_000)}`),
      'volume-undeclared',
    ],
    ['keys', service(list(10_000, (index) => `    k${index}: 1`)), 'key-unknown'],
    ['words', service(`    entrypoint: "${'a '.repeat(400_000)}"`), undefined],
    ['a URL', service(`    entrypoint: ["${'://a'.repeat(200_000)}"]`), undefined],
    ['a duration', services(1, () => `stop_grace_period: "${'1s'.repeat(400_000)}!"`), 'duration-invalid'],
    ['a long number', services(1, () => `stop_grace_period: "${'1'.repeat(800_000)}!"`), 'duration-invalid'],
    ['a size', services(1, () => `mem_limit: "${'1'.repeat(800_000)}!"`), 'size-invalid'],
    [
      'quotes in env files',
      `${services(1, () => 'env_file: [b, q]')}\nx-windflow:\n  files:\n    b: 'A=${'""'.repeat(200_000)}'\n    q: 'A="${'\\\\'.repeat(200_000)}'`,
      'env-file-invalid',
    ],
    [
      'a config of many',
      `${services(100, () => 'configs: [c]')}\nconfigs: { c: { content: "${'://ab '.repeat(100_000)}" } }`,
      'process-path',
    ],
    [
      'findings with long paths',
      `services: { a: { command: x } }\n${list(60, (depth) => `${' '.repeat(depth)}${depth ? '' : 'x-'}${'k'.repeat(1000)}:`)}\n${`${' '.repeat(60)}a: 1\n`.repeat(2_000)}`,
      'key-duplicate',
    ],
    [
      'folders that are bound',
      `${services(30, () => `volumes: [${list(500, (index) => `./${'a/'.repeat(index % 20)}:/d${index}`, ', ')}]`)}\nx-windflow:\n  files:\n${list(5_000, (index) => `    ${'a/'.repeat(index % 20)}f${index}: x`)}`,
      'too-many-files',
    ],
    [
      'builds',
      `${services(500, (index) => `build: { context: ${'a/'.repeat(index % 50)}., dockerfile: no }`)}\nx-windflow:\n  files:\n${list(5_000, (index) => `    ${'a/'.repeat(50)}f${index}: x`)}`,
      'too-many-files',
    ],
    [
      'privileges',
      services(20, () => `volumes: [${list(900, (index) => `"/\${X}d${index}:/d${index}"`, ', ')}]`),
      'privilege-refused',
    ],
    ['an image', services(1, () => `image: "${'a.'.repeat(400_000)}"`), 'image-invalid'],
    ['a path', services(1, () => `volumes: ["${'/proc/1/root'.repeat(50_000)}:/a"]`), 'privilege-refused'],
  ])('should end in bounded time, however much a file has of %s', { timeout: 60_000 }, (_what, file, rule) => {
    const variables = { X: 'x' };
    const { findings } = checkStack(file, { runtime: 'PROCESS', variables });
    const contained = checkStack(file, { runtime: 'DOCKER', variables, privileges: [] });
    expect(contained.findings.length).toBeLessThanOrEqual(MAX_FINDINGS + 1);
    expect(findings.length).toBeLessThanOrEqual(MAX_FINDINGS + 1);
    const rules = [...findings, ...(rule && CONTAINED.has(rule) ? contained.findings : [])].map(
      (finding) => finding.rule,
    );
    expect(rules).toEqual(rule ? expect.arrayContaining([rule]) : []);
  });
});
