import { describe, expect, it } from 'vitest';
import { said, service } from './testing.ts';

describe('command and entrypoint', () => {
  it.each([
    ['command: nginx -g "daemon off;"', ['nginx', '-g', 'daemon off;']],
    ['command: [a, "b c"]', ['a', 'b c']],
    ['command: ""', []],
    ['command: []', []],
    ['command:', null],
    ['tty: false', null],
  ])('should read %s', (line, expected) => {
    expect(service(line).command).toEqual(expected);
  });

  it.each([
    'command: a && b',
    "command: a 'b",
    'entrypoint: a | b',
    'command: ["a\\0"]',
    'command: "a\\0"',
  ])('should refuse %s', (line) => {
    expect(said(line).map((text) => text.split(' ')[2])).toEqual(['command-invalid']);
  });
});

describe('environment', () => {
  it('should read the mapping and the list alike', () => {
    const expected = { A: '1', B: '', C: 'x=y', D: 'true', E: '022' };
    expect(service('environment: { A: 1, B: "", C: x=y, D: true, E: 022 }').environment).toEqual(expected);
    expect(service('environment: [A=1, B=, C=x=y, D=true, E=022]').environment).toEqual(expected);
  });

  it('should take values that are not given from the variables, and leave out what those lack', () => {
    const lines = 'environment: { A: , B: }';
    expect(service(lines, { variables: { A: 'x\ny' } }).environment).toEqual({ A: 'x\ny' });
    expect(service('environment: [A, B]', { variables: { A: '=' } }).environment).toEqual({ A: '=' });
    expect(service(lines).environment).toEqual({ A: null, B: null });
    expect(said(lines, { variables: { A: '' } })).toEqual(['4:25 WARNING variable-unset']);
  });

  it('should refuse NUL, empty names and "=" in names', () => {
    expect(said('environment: { A: "\\0" }')).toEqual(['4:20 ERROR environment-invalid']);
    expect(said('environment: [A]', { variables: { A: '\0' } })).toEqual(['4:19 ERROR environment-invalid']);
    expect(said('environment: ["=x"]')).toEqual(['4:19 ERROR environment-invalid']);
    expect(said('environment: { "A=B": x }')).toEqual(['4:20 ERROR environment-invalid']);
  });

  it('should tell where a number may lose its form', () => {
    expect(said('environment: { A: 1.10, B: 5, C: "1.10" }')).toEqual(['4:20 INFO environment-number']);
  });
});

describe('healthcheck', () => {
  const defaults = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5_000 };

  it.each([
    ['test: curl -f x', ['/bin/sh', '-c', 'curl -f x']],
    ['test: [CMD, curl, -f]', ['curl', '-f']],
    ['test: [CMD-SHELL, "a || b"]', ['/bin/sh', '-c', 'a || b']],
  ])('should read %s', (test, argv) => {
    expect(service(`healthcheck: { ${test} }`).healthcheck).toEqual({ argv, ...defaults });
  });

  it('should read its times', () => {
    const lines =
      'healthcheck: { test: x, interval: 1s, timeout: 500ms, retries: 5, start_period: 1m, start_interval: 2s }';
    expect(service(lines).healthcheck).toMatchObject({
      intervalMs: 1000,
      timeoutMs: 500,
      retries: 5,
      startPeriodMs: 60_000,
      startIntervalMs: 2000,
    });
  });

  it.each(['disable: true', 'test: [NONE]', 'test: x, disable: "yes"'])('should be off with %s', (lines) => {
    expect(service(`healthcheck: { ${lines} }`).healthcheck).toBeNull();
  });

  it.each([
    ['test: [curl, x]', 'healthcheck-invalid'],
    ['test: [CMD]', 'healthcheck-invalid'],
    ['test: [CMD-SHELL, a, b]', 'healthcheck-invalid'],
    ['test: x, interval: soon', 'duration-invalid'],
    ['test: x, retries: many', 'number-invalid'],
    ['test: x, disable: perhaps', 'boolean-invalid'],
  ])('should refuse %s', (lines, rule) => {
    expect(said(`healthcheck: { ${lines} }`).map((text) => text.split(' ')[2])).toEqual([rule]);
  });
});

describe('restart, stop, replicas', () => {
  it.each([
    ['restart: no', { name: 'no', maxRetries: null }],
    ['restart: always', { name: 'always', maxRetries: null }],
    ['restart: on-failure', { name: 'on-failure', maxRetries: null }],
    ['restart: on-failure:3', { name: 'on-failure', maxRetries: 3 }],
    ['restart: unless-stopped', { name: 'unless-stopped', maxRetries: null }],
    ['deploy: { restart_policy: {} }', { name: 'always', maxRetries: null }],
    ['deploy: { restart_policy: { condition: none } }', { name: 'no', maxRetries: null }],
    ['deploy: { restart_policy: { condition: on-failure, max_attempts: 2 } }', { name: 'on-failure', maxRetries: 2 }],
    ['restart: always\ndeploy: { restart_policy: { condition: none } }', { name: 'no', maxRetries: null }],
  ])('should read %s', (lines, expected) => {
    expect(service(lines).restart).toEqual(expected);
  });

  it('should read signals, grace periods and replicas', () => {
    expect(service('tty: false')).toMatchObject({ stopSignal: 'SIGTERM', stopGracePeriodMs: 10_000, replicas: 1 });
    expect(service('stop_signal: INT\nstop_grace_period: 1m30s\nscale: "3"')).toMatchObject({
      stopSignal: 'SIGINT',
      stopGracePeriodMs: 90_000,
      replicas: 3,
    });
    expect(service('deploy: { replicas: 0 }').replicas).toBe(0);
  });

  it.each([
    ['restart: sometimes', 'restart-invalid'],
    ['restart: always:3', 'restart-invalid'],
    ['deploy: { restart_policy: { condition: maybe } }', 'restart-invalid'],
    ['stop_signal: SIGNOPE', 'signal-invalid'],
    ['stop_grace_period: 10', 'schema-type'],
    ['scale: -1', 'number-invalid'],
    ['scale: 101', 'number-invalid'],
    ['scale: 2\ndeploy: { replicas: 3 }', 'replicas-conflict'],
  ])('should refuse %s', (lines, rule) => {
    expect(said(lines).map((text) => text.split(' ')[2])).toEqual([rule]);
  });
});

describe('a service', () => {
  it('should keep what has no field of its own', () => {
    const model = service(
      'labels: { a: b }\nx-team: core\ndeploy: { replicas: 2, resources: { limits: { cpus: "1" } } }',
    );
    expect(model.other).toEqual({ labels: { a: 'b' }, deploy: { resources: { limits: { cpus: '1' } } } });
    expect(model.extensions).toEqual({ 'x-team': 'core' });
  });

  it('should have a bounded number of mounts', () => {
    const targets = Array.from({ length: 1001 }, (_, index) => `v:/d${index}`);
    expect(said(`volumes: [${targets}]`)).toContain('2:3 ERROR too-many-mounts');
  });
});
