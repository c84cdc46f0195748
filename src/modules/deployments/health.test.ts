import { describe, expect, it } from 'vitest';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import { isAlive, isFine, isStartFailure, judge, STABLE_MS } from './health.ts';
import type { ReplicaSpec } from './release.ts';

const NOW = Date.parse('2026-11-22T12:00:00.000Z');
const ago = (ms: number) => new Date(NOW - ms).toISOString();
const HEALTHCHECK = { argv: ['true'], intervalMs: 1, timeoutMs: 1, retries: 1, startPeriodMs: 0, startIntervalMs: 1 };

const spec = (over: Partial<ReplicaSpec> = {}) =>
  ({ service: 'web', replica: 1, healthcheck: null, ...over }) as ReplicaSpec;
const checked = spec({ healthcheck: HEALTHCHECK });
const status = (over: Partial<InstanceStatus>): InstanceStatus => ({
  instanceId: 'i',
  service: 'web',
  replica: 1,
  configHash: 'h',
  state: 'RUNNING',
  restarts: 0,
  exitCode: null,
  startedAt: ago(10 * STABLE_MS),
  ports: [],
  pid: 1,
  reason: null,
  ...over,
});
const verdictOf = (of: ReplicaSpec, is: InstanceStatus | undefined, goal: Parameters<typeof judge>[2] = 'live') => {
  const verdict = judge(of, is, goal, NOW);
  return verdict.state === 'ok' ? 'ok' : `${verdict.state}: ${verdict.why}`;
};

describe('going live', () => {
  it('should take a service without a health check once it has stayed up', () => {
    expect(verdictOf(spec(), undefined)).toBe('waiting: service web: not started yet');
    expect(verdictOf(spec(), status({ startedAt: ago(STABLE_MS - 1) }))).toBe('waiting: service web: just started');
    expect(verdictOf(spec(), status({ startedAt: ago(STABLE_MS) }))).toBe('ok');
  });

  it('should take a service with a health check only when that passes', () => {
    expect(verdictOf(checked, status({ state: 'STARTING' }))).toBe('waiting: service web: not healthy');
    expect(verdictOf(checked, status({ state: 'HEALTHY' }))).toBe('ok');
    expect(verdictOf(checked, status({ state: 'UNHEALTHY', reason: 'health check: exit 7' }))).toBe(
      'failed: service web: health check: exit 7',
    );
  });

  it('should say why what ended cannot go live', () => {
    const exited = (over: Partial<InstanceStatus>) => status({ state: 'EXITED', exitCode: 1, ...over });
    expect(verdictOf(spec(), exited({}))).toBe('failed: service web: exited with code 1 before it was up');
    expect(verdictOf(checked, exited({}))).toBe('failed: service web: exited with code 1 before it was healthy');
    expect(verdictOf(spec({ replica: 2 }), exited({ exitCode: null }))).toBe(
      'failed: service web (replica 2): exited with code unknown before it was up',
    );
    expect(verdictOf(spec(), exited({ exitCode: 127, reason: 'command not found: x' }))).toBe(
      'failed: service web: command not found: x',
    );
    expect(verdictOf(spec(), exited({ exitCode: 0 }))).toBe('ok');
  });

  it('should give up on what restarts again and again, and name the first error', () => {
    const looping = status({ state: 'RESTARTING', restarts: 3, exitCode: 2, reason: 'exited with code 2' });
    expect(verdictOf(spec(), { ...looping, restarts: 2 })).toMatch(/^waiting: .*restarted 2 times$/);
    expect(verdictOf(spec(), looping)).toBe('failed: service web: exited with code 2, restarted 3 times');
    expect(
      verdictOf(spec(), { ...looping, reason: 'exited with code 9, restarted 3 times, last: killed by SIGSEGV' }),
    ).toBe('failed: service web: exited with code 9, restarted 3 times, last: killed by SIGSEGV');
  });

  it('should not hold restarts from before its last stable run against it', () => {
    const rare = status({ state: 'RESTARTING', restarts: 57, loopRestarts: 0, exitCode: 1 });
    expect(verdictOf(spec(), rare)).toBe('waiting: service web: exited with code 1');
    expect(verdictOf(spec(), { ...rare, loopRestarts: 2 })).toBe(
      'waiting: service web: exited with code 1, restarted 2 times',
    );
    expect(verdictOf(spec(), { ...rare, loopRestarts: 3 })).toBe(
      'failed: service web: exited with code 1, restarted 3 times',
    );
  });

  it('should trust what ended before only after longer, since ends are told late on a busy machine', () => {
    const again = (loopRestarts: number, upMs: number) =>
      verdictOf(spec(), status({ restarts: 9, loopRestarts, startedAt: ago(upMs) }));
    expect(again(0, STABLE_MS)).toBe('ok');
    expect(again(1, 2 * STABLE_MS - 1)).toBe('waiting: service web: just started');
    expect(again(1, 2 * STABLE_MS)).toBe('ok');
    expect(again(2, 4 * STABLE_MS)).toBe('ok');
    expect(again(7, 8 * STABLE_MS)).toBe('ok');
    expect(verdictOf(spec(), status({ restarts: 9, loopRestarts: 2, startedAt: ago(0) }), 'service_started')).toBe(
      'ok',
    );
  });

  it('should not hold restarts against what is up again', () => {
    expect(verdictOf(spec(), status({ restarts: 40 }))).toBe('ok');
    expect(verdictOf(checked, status({ restarts: 40, state: 'HEALTHY' }))).toBe('ok');
  });
});

describe('what dependents wait for', () => {
  it('should be a start', () => {
    expect(verdictOf(checked, status({ state: 'STARTING' }), 'service_started')).toBe('ok');
    expect(verdictOf(checked, status({ state: 'UNHEALTHY' }), 'service_started')).toBe('ok');
    expect(verdictOf(spec(), status({ state: 'EXITED', exitCode: 0 }), 'service_started')).toBe('ok');
  });

  it('should be health, which one that has ended does not reach', () => {
    expect(verdictOf(checked, status({ state: 'STARTING' }), 'service_healthy')).toMatch(/^waiting/);
    expect(verdictOf(checked, status({ state: 'HEALTHY' }), 'service_healthy')).toBe('ok');
    expect(verdictOf(checked, status({ state: 'EXITED', exitCode: 0 }), 'service_healthy')).toBe(
      'failed: service web: exited with code 0 before it was healthy',
    );
  });

  it('should be an end without an error', () => {
    const goal = 'service_completed_successfully';
    expect(verdictOf(spec(), status({}), goal)).toBe('waiting: service web: still running');
    expect(verdictOf(checked, status({ state: 'UNHEALTHY' }), goal)).toBe('waiting: service web: still running');
    expect(verdictOf(spec(), status({ state: 'EXITED', exitCode: 0 }), goal)).toBe('ok');
    expect(verdictOf(spec(), status({ state: 'EXITED', exitCode: 5 }), goal)).toBe(
      'failed: service web: exited with code 5 before it had completed',
    );
  });
});

it('should tell what is well from what is only there', () => {
  expect(isFine('HEALTHY', null)).toBe(true);
  expect(isFine('EXITED', 0)).toBe(true);
  expect(isFine('EXITED', 1)).toBe(false);
  expect(isFine('STARTING', null)).toBe(false);
  expect(isAlive(status({ state: 'STARTING' }))).toBe(true);
  expect(isAlive(status({ state: 'UNHEALTHY' }))).toBe(false);
  expect(isAlive(undefined)).toBe(false);
  expect(isStartFailure(status({ state: 'EXITED', exitCode: 126, startedAt: null }))).toBe(true);
  expect(isStartFailure(status({ state: 'EXITED', exitCode: 1 }))).toBe(false);
});
