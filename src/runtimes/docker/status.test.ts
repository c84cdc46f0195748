import { describe, expect, it } from 'vitest';
import { endOf, healthFailure, type Inspection, restartDelayMs, saying, startFailure, statusOf } from './status.ts';

const RUNC =
  'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: ';
const LABELS = {
  'io.windflow.instance': 'i',
  'io.windflow.service': 'web',
  'io.windflow.replica': '2',
  'io.windflow.config-hash': 'abc',
};

function inspection(state: object, rest: object = {}): Inspection {
  const never = '0001-01-01T00:00:00Z';
  const started = '2026-11-24T23:38:15.247503854Z';
  const ended = { Status: 'exited', Running: false, Paused: false, Restarting: false, OOMKilled: false, Pid: 0 };
  return {
    Config: { Labels: LABELS },
    State: { ...ended, ExitCode: 0, Error: '', StartedAt: started, FinishedAt: never, ...state },
    HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] } },
    NetworkSettings: { Ports: {} },
    RestartCount: 0,
    ...rest,
  } as unknown as Inspection;
}

const ended = (exitCode: number, said = '', ranMs = 50) => ({ end: saying(endOf(exitCode, false, 0), said), ranMs });

describe('the status of a container', () => {
  it('should be that of its process', () => {
    expect(statusOf(inspection({ Status: 'running', Running: true, Pid: 42 }), [])).toEqual({
      instanceId: 'i',
      service: 'web',
      replica: 2,
      configHash: 'abc',
      ports: [{ target: 80, published: 8080, host: '127.0.0.1', protocol: 'tcp' }],
      state: 'RUNNING',
      restarts: 0,
      loopRestarts: 0,
      exitCode: null,
      startedAt: '2026-11-24T23:38:15.247Z',
      pid: 42,
      reason: null,
    });
  });

  it.each([
    ['starting', 'STARTING'],
    ['healthy', 'HEALTHY'],
    ['unhealthy', 'UNHEALTHY'],
    ['none', 'RUNNING'],
  ])('should be by its health, %s', (health, state) => {
    const running = { Status: 'running', Running: true, Health: { Status: health, Log: [] } };
    expect(statusOf(inspection(running), [])).toMatchObject({ state });
  });

  it('should count a restart once it has happened', () => {
    const state = { Status: 'restarting', Running: true, Restarting: true, ExitCode: 3 };
    const waiting = statusOf(inspection(state, { RestartCount: 1 }), [ended(3, 'no config')]);
    const reason = 'exited with code 3 (no config)';
    expect(waiting).toMatchObject({ state: 'RESTARTING', restarts: 0, loopRestarts: 0, exitCode: 3, reason });
    const running = { Status: 'running', Running: true };
    expect(statusOf(inspection(running, { RestartCount: 1 }), [ended(3, 'no config')])).toMatchObject({
      restarts: 1,
      loopRestarts: 1,
      exitCode: 3,
      reason: 'restarted once, last exit code 3',
    });
  });

  it('should forget the restarts before a stable run in its loop', () => {
    const ends = [ended(1), ended(1), ended(1, '', 20_000), ended(1)];
    const status = statusOf(inspection({ ExitCode: 1 }, { RestartCount: 3 }), ends);
    expect(status).toMatchObject({ restarts: 3, loopRestarts: 1, reason: 'exited with code 1, restarted once' });
  });

  it('should say so much of ends that no event told', () => {
    const status = statusOf(inspection({ ExitCode: 137, OOMKilled: true }), []);
    expect(status).toMatchObject({ state: 'EXITED', exitCode: 137, reason: expect.stringContaining('out of memory') });
  });

  it('should be a failed start where the container never ran', () => {
    const error = `${RUNC}exec: "ngnix": executable file not found in $PATH: unknown`;
    const state = { Status: 'created', ExitCode: 127, Error: error, StartedAt: '0001-01-01T00:00:00Z' };
    const status = statusOf(inspection(state), []);
    expect(status).toMatchObject({
      state: 'EXITED',
      exitCode: 127,
      startedAt: null,
      reason: 'command not found: ngnix',
    });
  });
});

describe('why a container was not started', () => {
  it.each([
    [`${RUNC}exec: "ngnix": executable file not found in $PATH: unknown`, 127, 'command not found: ngnix'],
    [`${RUNC}exec: "/run.sh": stat /run.sh: no such file or directory: unknown`, 127, 'command not found: /run.sh'],
    [`${RUNC}exec: "./run.sh": permission denied: unknown`, 126, 'not executable: ./run.sh'],
    [
      `${RUNC}exec /run.sh: exec format error`,
      126,
      'cannot run the command: it is for another kind of processor, or no program',
    ],
    [
      'driver failed programming external connectivity on endpoint t7 (2fa8): Bind for 0.0.0.0:8081 failed: port is already allocated',
      null,
      'port 8081 of 0.0.0.0 is already in use on the engine’s host',
    ],
    [
      'driver failed programming external connectivity on endpoint t7 (2fa8): Error starting userland proxy: listen tcp4 127.0.0.1:80: bind: address already in use',
      null,
      'port 80 of 127.0.0.1 is already in use on the engine’s host',
    ],
    ['Mounts denied: /data\nmore', null, 'could not start: mounts denied: /data'],
  ])('should be told of %j', (error, exitCode, reason) => {
    expect(startFailure(error)).toEqual({ exitCode, reason });
  });
});

describe('how a process ended', () => {
  it.each([
    [0, false, 'exited with code 0'],
    [3, false, 'exited with code 3'],
    [137, false, 'killed by SIGKILL'],
    [143, false, 'killed by SIGTERM'],
    [255, false, 'exited with code 255'],
    [1, true, 'exited with code 1'],
    [137, true, 'out of memory: killed at the limit of 1024 bytes'],
  ])('should be told of exit code %i', (exitCode, outOfMemory, message) => {
    expect(endOf(exitCode, outOfMemory, 1024)).toEqual({ exitCode, message, said: '' });
  });

  it.each([
    [0, 'out of memory: killed at what the host has'],
    [null, 'out of memory: killed'],
  ])('should be told of a memory limit of %j', (memoryLimit, message) => {
    expect(endOf(137, true, memoryLimit)).toMatchObject({ message });
  });

  it('should be a missing program where an init process says so', () => {
    const said = '[FATAL tini (7)] exec ngnix failed: No such file or directory';
    expect(saying(endOf(127, false, 0), said)).toMatchObject({ message: 'command not found: ngnix', said: '' });
  });
});

describe('what a health check said', () => {
  const check = (ExitCode: number, Output: string) =>
    healthFailure({
      ...inspection({ Health: { Status: 'unhealthy', Log: [{ ExitCode, Output }] } }),
      Config: { Healthcheck: { Timeout: 100 * 1e6 } },
    } as unknown as Inspection);

  it.each([
    [7, 'no answer\nmore', 'exit 7: no answer'],
    [1, '', 'exit 1'],
    [-1, 'Health check exceeded timeout (100ms)', 'no answer within 100 ms'],
    [-1, 'Health check exceeded timeout (100ms): half a line', 'no answer within 100 ms: half a line'],
    [
      -1,
      'OCI runtime exec failed: exec: "curl": executable file not found in $PATH: unknown',
      'command not found: curl',
    ],
  ])('should be one clause: %i %j', (exitCode, output, expected) => {
    expect(check(exitCode, output)).toBe(expected);
  });
});

it('should know how long the engine waits before a restart', () => {
  expect(restartDelayMs([5])).toBe(100);
  expect(restartDelayMs([5, 5, 5])).toBe(400);
  expect(restartDelayMs([5, 5, 11_000])).toBe(100);
  expect(restartDelayMs(Array(20).fill(5))).toBe(60_000);
});
