import fc from 'fast-check';
import { expect, it } from 'vitest';
import { check } from './testing.ts';

/** `NAME` stands where a file gives a value or a key of its own. */
const VALUES = [
  'a: { image: x, deploy: { restart_policy: { condition: NAME } } }',
  'a: { image: x, restart: NAME }',
  'a: { image: x, stop_signal: NAME, tty: "NAME", read_only: "NAME" }',
  'a: { image: x, mem_limit: 1NAME, stop_grace_period: 1NAME }',
  'a: { image: x, healthcheck: { test: x, disable: "NAME" } }',
  'a: { image: x, depends_on: { a: { required: "${X-NAME}", condition: NAME } } }',
  'a: { image: x, depends_on: [NAME], links: [NAME], networks: [NAME] }',
  'a: { image: x, extends: NAME }',
  'a: { image: x, configs: [NAME], secrets: [NAME], volumes: ["NAME:/a"] }',
  'a: { image: x, build: { context: x, secrets: [NAME] }, models: [NAME] }',
  'a: { image: x, volumes: [{ type: NAME, target: /a }], ports: [{ target: 1, protocol: NAME }] }',
  'a: { image: x, env_file: NAME }',
  'a: { image: x, env_file: [{ path: e, format: NAME }] }',
  'a: { image: x, env_file: f, environment: [NAME, "B=${NAME}", "C=${NAME:-c}"], command: "${NAME:?}" }',
  'a: { image: x, develop: { watch: [{ action: NAME, path: x }] }, network_mode: NAME, pid: "service:NAME" }',
  'a: { image: x, security_opt: [NAME], devices: [NAME], sysctls: [NAME], labels: [NAME], runtime: NAME }',
  'a: { image: x, build: { context: NAME, args: [NAME], labels: [NAME] }, pull_policy: NAME, ulimits: { nofile: NAME } }',
  'a: { image: x, volumes: ["./NAME:/a"], tmpfs: "/a:NAME", logging: { driver: NAME }, networks: { n: { driver_opts: { a: NAME } } } }',
  'a: { command: "x http://NAME:80", deploy: { mode: NAME }, profiles: [NAME] }',
];
const KEYS = [
  'a: { image: x, NAME: x }',
  'a: { image: x, environment: { NAME: x }, labels: { NAME: x }, networks: { NAME: } }',
  'a: { image: x, depends_on: { NAME: { condition: service_started, required: false } } }',
  'a: { image: x, deploy: { NAME: x }, healthcheck: { NAME: x }, ulimits: { NAME: x } }',
  'NAME: { image: x, depends_on: [a] }\n  a: { image: x }',
  'NAME: { image: x, labels: [NAME=x], NAME: [x] }\n  a: { extends: NAME, labels: { NAME: x }, NAME: [y] }',
];
const INHERITED = Object.getOwnPropertyNames(Object.prototype);

/** A name of the same form that nothing inherits. */
const unlike = (name: string) => name.replaceAll(/[a-z]/g, 'q').replaceAll(/[A-Z]/g, 'Q');

it('should be names like any others that objects inherit', () => {
  const files = fc.oneof(
    fc.tuple(fc.constantFrom(...VALUES), fc.constantFrom(...INHERITED)),
    fc.tuple(fc.constantFrom(...KEYS), fc.constantFrom(...INHERITED.filter((name) => name !== '__proto__'))),
  );
  const options = fc.record({
    runtime: fc.constantFrom('PROCESS' as const, 'DOCKER' as const, null),
    variables: fc.constantFrom({}, null),
  });
  const read = (service: string, name: string, chosen: Parameters<typeof check>[1]) => {
    const text = `x-windflow: { files: { e: A, f: "NAME\\nA=$NAME" } }\nservices:\n  ${service}`;
    const { said, model } = check(text.replaceAll('NAME', name), chosen);
    return { said, model: JSON.stringify(model).replaceAll(name, unlike(name)) };
  };
  fc.assert(
    fc.property(files, options, ([service, name], chosen) => {
      expect(read(service, name, chosen)).toEqual(read(service, unlike(name), chosen));
    }),
    { numRuns: 250 },
  );
});
