import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SUPPORT, SUPPORTED_RUNTIMES } from './support.ts';
import { DOCKER } from './support-docker.ts';
import { PROCESS } from './support-process.ts';
import { check } from './testing.ts';

type Schema = {
  properties: Record<string, unknown>;
  definitions: Record<string, { properties: Record<string, unknown> }>;
};
const schema: Schema = JSON.parse(readFileSync(new URL('./compose-spec.json', import.meta.url), 'utf8'));
const KEYS = new Set(SUPPORT.map(({ key }) => key));

function answered(key: string): boolean {
  return KEYS.has(key) || [...KEYS].some((known) => known.startsWith(`${key}.`) || known.startsWith(`${key}[`));
}

/** The keys of the one mapping that a schema allows, however deep it stands there. */
function longForm(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { properties, ...others } = schema as { properties?: object };
  return properties ? Object.keys(properties) : Object.values(others).flatMap(longForm);
}

describe('SUPPORT', () => {
  it.each([
    ['service', 'services.*.'],
    ['volume', 'volumes.*.'],
    ['network', 'networks.*.'],
    ['config', 'configs.*.'],
    ['secret', 'secrets.*.'],
    ['deployment', 'services.*.deploy.'],
  ])('should have a row for every key of a %s in the schema', (definition, prefix) => {
    const keys = Object.keys(schema.definitions[definition]!.properties);
    expect(keys.filter((key) => !answered(prefix + key))).toEqual([]);
  });

  it('should have a row for every key at the top', () => {
    expect(Object.keys(schema.properties).filter((key) => !answered(key))).toEqual([]);
  });

  it.each([
    ['a build', 'services.*.build.', ['service', 'build']],
    ['an attachment', 'services.*.networks.*.', ['service', 'networks']],
    ['a mount', 'services.*.volumes[].', ['service', 'volumes']],
    ['logging', 'services.*.logging.', ['service', 'logging']],
    ['an update', 'services.*.deploy.update_config.', ['deployment', 'update_config']],
  ])('should have a row for every key of %s', (_what, prefix, [definition, key]) => {
    const keys = longForm(schema.definitions[definition!]!.properties[key!]);
    expect(keys.length).toBeGreaterThan(1);
    expect(keys.filter((name) => !answered(prefix + name))).toEqual([]);
  });

  it('should have what each runtime makes of every key that another one tells apart', () => {
    const lacks = (cells: Record<string, unknown>) =>
      SUPPORT.filter(
        ({ key, always }) => !always && !Object.keys(cells).some((known) => key === known || key.startsWith(known)),
      );
    expect(lacks(PROCESS)).toEqual([]);
    expect(SUPPORT.filter(({ key, always }) => !always && !Object.hasOwn(DOCKER, key))).toEqual([]);
  });

  it('should have each key once, and say what happens to what is not simply honoured', () => {
    expect(KEYS.size).toBe(SUPPORT.length);
    for (const { key, support } of SUPPORT) {
      for (const runtime of SUPPORTED_RUNTIMES) {
        const { level, note } = support[runtime];
        expect(note === '', key).toBe(level === 'yes');
        if (note) expect(note, key).toMatch(/^[A-Z"].*\.$/);
      }
    }
  });
});

describe('checkSupport', () => {
  const on = (lines: string, rest = '') =>
    check(`services:\n  a:\n    command: x\n    ${lines}\n${rest}`, { runtime: 'PROCESS' }).said;

  it.each([
    ['cap_add: [SYS_ADMIN]', '4:5 ERROR key-unsupported'],
    ['privileged: true', '4:5 ERROR key-unsupported'],
    ['post_start: [{ command: x }]', '4:5 ERROR key-unsupported'],
    ['extra_hosts: ["a:1.2.3.4"]', '4:5 ERROR key-unsupported'],
    ['network_mode: none', '4:5 ERROR key-unsupported'],
    ['deploy: { mode: global-job }', '4:15 ERROR key-unsupported'],
    ['user: "1000"', '4:5 WARNING key-ignored'],
    ['read_only: true', '4:5 WARNING key-ignored'],
    ['mem_limit: 1g', '4:5 WARNING key-ignored'],
    ['deploy: { resources: { limits: { cpus: "1" } } }', '4:15 WARNING key-ignored'],
    ['labels: [a=b]', '4:5 WARNING key-ignored'],
    ['networks: [default]', '4:5 WARNING key-ignored'],
    ['network_mode: bridge', '4:5 WARNING key-ignored'],
    ['expose: [80]', '4:5 INFO key-ignored'],
    ['init: true', '4:5 INFO key-ignored'],
    ['ports: [{ target: 80, published: 8080, name: web }]', '4:44 INFO key-ignored'],
  ])('should say of %s: %s', (lines, expected) => {
    expect(on(lines)).toContain(expected);
  });

  it.each([
    'privileged: false',
    'read_only: "no"',
    'network_mode: host',
    'pid: host',
    'labels: []',
    'x-anything: 1',
    'deploy: { mode: replicated, replicas: 2, x-a: 1 }',
    'links: []',
  ])('should have nothing to say of %s', (lines) => {
    expect(on(lines)).toEqual([]);
  });

  it('should have nothing to say of extensions, at whatever level they stand', () => {
    const service =
      'command: x, build: { context: ., x-b: 1 }, ports: [{ target: 1, published: 8080, x-p: 1 }], x-s: [1]';
    const more =
      'depends_on: { b: { condition: service_started, x-d: 1 } }, deploy: { x-d: 1, resources: { x-r: 1, limits: { x-l: 1 } } }, healthcheck: { test: x, x-h: 1 }, configs: [{ source: c, target: c, x-c: 1 }], volumes: [{ type: volume, source: v, target: v, x-v: 1, volume: { x-w: 1 } }], ulimits: { x-u: 1 }, logging: { x-l: 1 }';
    const text = `x-t: { any: [1] }\nservices: { a: { ${service}, ${more} }, b: { command: x, x-b: } }\nvolumes: { v: { x-v: 1 } }\nnetworks: { default: { x-n: 1 } }\nconfigs: { c: { content: x, x-c: 1 } }`;
    expect(check(text).findings).toEqual([]);
    const about = check(text, { runtime: 'PROCESS' }).findings.filter(({ message }) => message.includes('x-'));
    expect(about).toEqual([]);
  });

  it.each([
    ['post_start: [{ command: x }]', '4:5 ERROR key-unsupported'],
    ['gpus: all', '4:5 ERROR key-unsupported'],
    ['use_api_socket: true', '4:5 ERROR key-unsupported'],
    ['provider: { type: x }', '4:5 ERROR key-unsupported'],
    ['external_links: [x]', '4:5 ERROR key-unsupported'],
    ['build: { dockerfile_inline: FROM x, ssh: [default] }', '4:41 ERROR key-unsupported'],
    ['blkio_config: { weight: 10 }', '4:5 WARNING key-ignored'],
    ['deploy: { placement: { constraints: [a] } }', '4:15 WARNING key-ignored'],
    ['deploy: { update_config: { delay: 1s } }', '4:32 WARNING key-ignored'],
    ['networks: { default: { gw_priority: 1 } }', '4:28 WARNING key-ignored'],
    ['label_file: x', '4:5 WARNING key-ignored'],
    ['attach: false', '4:5 INFO key-ignored'],
  ])('should say of %s on DOCKER: %s', (lines, expected) => {
    const { said } = check(`services:\n  a:\n    image: x:1\n    ${lines}`, { runtime: 'DOCKER' });
    expect(said).toEqual([expected]);
  });

  it.each([
    'labels: [a=b]',
    'mem_limit: 64m',
    'deploy: { resources: { limits: { cpus: "1" } }, update_config: { parallelism: 2, order: start-first } }',
    'networks: { default: { aliases: [z] } }',
    'logging: { driver: json-file, options: { max-size: 1m } }',
    'cap_add: [SYS_ADMIN]',
    'init: true',
  ])('should have nothing to say of %s on DOCKER', (lines) => {
    expect(check(`services:\n  a:\n    image: x:1\n    ${lines}`, { runtime: 'DOCKER' }).said).toEqual([]);
  });

  it('should look into the other sections of the file', () => {
    const rest = [
      'volumes: { v: { driver: nfs }, w: { driver: local } }',
      'networks: { n: { internal: true }, m: { internal: false } }',
      'configs: { c: { external: true } }',
      'version: "3"',
    ];
    const said = on('tty: false', rest.join('\n')).filter((line) => line.includes('key-'));
    expect(said).toEqual([
      '5:17 ERROR key-unsupported',
      '6:18 ERROR key-unsupported',
      '7:17 ERROR key-unsupported',
      '8:1 INFO key-ignored',
    ]);
  });

  it('should look at what a service inherits, and not at services that are left out', () => {
    const text =
      'services:\n  base: { command: x, profiles: [p], cap_add: [A] }\n  a: { extends: base }\n  b: { command: x }';
    const said = check(text, { runtime: 'PROCESS' }).findings.filter(({ rule }) => rule === 'key-unsupported');
    expect(said).toEqual([]);
    const active = check(text, { runtime: 'PROCESS', profiles: ['p'] }).findings;
    expect(active.filter(({ rule }) => rule === 'key-unsupported').map(({ path }) => path)).toEqual([
      'services.base.cap_add',
      'services.a.cap_add',
    ]);
  });

  it('should only say what holds everywhere when no runtime is named', () => {
    const text = 'version: "3"\nservices: { a: { image: x, cap_add: [A], label_file: x } }';
    expect(check(text).said).toEqual(['1:1 INFO key-ignored', '2:42 WARNING key-ignored']);
  });

  it('should refuse a runtime that is not there yet', () => {
    const { findings, model } = check('services: { a: { image: x } }', { runtime: 'SWARM' });
    expect(findings).toMatchObject([
      { rule: 'runtime-unsupported', message: expect.stringContaining('supported: PROCESS, DOCKER') },
    ]);
    expect(model).toBeNull();
  });
});
