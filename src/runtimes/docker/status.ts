import os from 'node:os';
import type Docker from 'dockerode';
import { CrashLoop, type End, STABLE_RUN_MS, times } from '../crash-loop.mjs';
import { excerptOf } from '../excerpt.mjs';
import type { InstanceStatus, PortBinding } from '../runtime.ts';
import { clauseOf } from './connection.ts';
import type { Run, Seen } from './container-history.ts';
import { CONFIG_HASH, INSTANCE, REPLICA, SERVICE } from './labels.ts';
import { nanoseconds } from './time.ts';

/** What the engine waits before a restart: longer each time, up to a bound, and anew after a stable run. */
export const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 60_000;
const SIGNAL_BASE = 128;
const SIGKILL = 137;
const TIMED_OUT = -1;

export type Inspection = Docker.ContainerInspectInfo;
export type EndedRun = { end: End; ranMs: number };

const signalNames = new Map(Object.entries(os.constants.signals).map(([name, number]) => [number as number, name]));

/** `ended`: the ends that are known of its runs, in their order. */
export function statusOf(inspection: Inspection, ended: readonly EndedRun[]): InstanceStatus {
  const { Config: config, State: state } = inspection;
  // The engine counts a restart before it waits for it.
  const restarts = Math.max(0, inspection.RestartCount - (state.Restarting ? 1 : 0));
  const labels = config.Labels;
  const identity = {
    instanceId: labels[INSTANCE] ?? '',
    service: labels[SERVICE] ?? '',
    replica: Number(labels[REPLICA]),
    configHash: labels[CONFIG_HASH] ?? '',
    ports: portsOf(inspection),
    restarts,
  };
  const failure = startFailureOf(inspection);
  if (failure) {
    const { exitCode, reason } = failure;
    return { ...identity, loopRestarts: 0, state: 'EXITED', exitCode, startedAt: null, pid: null, reason };
  }
  const loop = loopOf(ended, restarts);
  const startedAt = nanoseconds(state.StartedAt) === null ? null : new Date(state.StartedAt).toISOString();
  const common = { ...identity, loopRestarts: loop.restarts, startedAt };
  if (state.Status === 'created') return { ...common, state: 'STARTING', exitCode: null, pid: null, reason: null };
  if (state.Restarting || !state.Running) {
    const { message } = ended.at(-1)?.end ?? endOf(state.ExitCode, state.OOMKilled, inspection.HostConfig.Memory ?? 0);
    const reason = loop.describe() || message;
    return {
      ...common,
      state: state.Restarting ? 'RESTARTING' : 'EXITED',
      exitCode: state.ExitCode,
      pid: null,
      reason,
    };
  }
  const exitCode = ended.at(-1)?.end.exitCode ?? null;
  const before = restarts === 0 ? null : `restarted ${times(restarts)}`;
  const history = before === null || exitCode === null ? before : `${before}, last exit code ${exitCode}`;
  const health = healthOf(inspection);
  const reason = health === 'UNHEALTHY' ? `health check: ${healthFailure(inspection)}` : history;
  return { ...common, state: health, exitCode, pid: state.Pid, reason: state.Paused ? 'paused' : reason };
}

/** How a process ended, as a shell would say it. `memoryLimit` in bytes: 0 where it had none, null where nobody knows. */
export function endOf(exitCode: number, outOfMemory: boolean, memoryLimit: number | null): End {
  const said = '';
  if (outOfMemory && exitCode === SIGKILL) {
    const limit = memoryLimit === 0 ? ' at what the host has' : ` at the limit of ${memoryLimit} bytes`;
    return { exitCode, message: `out of memory: killed${memoryLimit === null ? '' : limit}`, said };
  }
  const signal = signalNames.get(exitCode - SIGNAL_BASE);
  return { exitCode, message: signal ? `killed by ${signal}` : `exited with code ${exitCode}`, said };
}

/** `said`: the last line of its error output. An init process says there what it could not run. */
export function saying(end: End, said: string): End {
  const [, program = '', cause] = /^\[FATAL tini \(\d+\)\] exec (.*) failed: (.*)$/.exec(said) ?? [];
  if (end.exitCode === 127 && program !== '') return { ...end, message: `command not found: ${program}` };
  if (end.exitCode === 126 && cause === 'Permission denied') return { ...end, message: `not executable: ${program}` };
  return end.message.startsWith('exited') && end.exitCode !== 0 ? { ...end, said } : end;
}

/** Why a container never ran; null: it did, or nobody tried. */
export function startFailureOf({ State: state }: Inspection): { exitCode: number | null; reason: string } | null {
  if (nanoseconds(state.StartedAt) !== null || (state.Error === '' && state.ExitCode === 0)) return null;
  return state.Status === 'created' || state.Status === 'exited' ? startFailure(state.Error) : null;
}

/** The engine's account of a failed start, in one clause, and the exit code that a shell would give. */
export function startFailure(error: string): { exitCode: number | null; reason: string } {
  const program = /exec: "([^"]*)"/.exec(error)?.[1] ?? '';
  if (/executable file not found|exec: "[^"]*": stat .*no such file/.test(error)) {
    return { exitCode: 127, reason: `command not found: ${program}` };
  }
  if (/exec: "[^"]*": (permission denied|is a directory)/.test(error)) {
    return { exitCode: 126, reason: `not executable: ${program}` };
  }
  if (/exec[^:]*: .*no such file or directory/.test(error)) {
    const reason = `cannot run ${program || 'the command'}: it or the interpreter in its first line is missing`;
    return { exitCode: 127, reason };
  }
  if (/exec format error/.test(error)) {
    return { exitCode: 126, reason: 'cannot run the command: it is for another kind of processor, or no program' };
  }
  const port =
    /(?:Bind for |listen (?:tcp|udp)\d? )(\S+?):(\d+)(?: failed)?: .*(?:already allocated|already in use)/.exec(error);
  if (port) return { exitCode: null, reason: `port ${port[2]} of ${port[1]} is already in use on the engine’s host` };
  return { exitCode: null, reason: `could not start: ${clauseOf(error)}` };
}

/** What the last failed health check said; '' where none failed. */
export function healthFailure({ State: state, Config: config }: Inspection): string {
  const last = state.Health?.Log?.findLast(({ ExitCode }) => ExitCode !== 0);
  if (!last) return '';
  const output = last.Output.trimStart();
  if (last.ExitCode === TIMED_OUT && output.startsWith('Health check exceeded timeout')) {
    const timeoutMs = ((config as { Healthcheck?: { Timeout?: number } }).Healthcheck?.Timeout ?? 0) / 1e6;
    return withOutput(
      `no answer within ${timeoutMs} ms`,
      output.replace(/^Health check exceeded timeout \([^)]*\):?\s*/, ''),
    );
  }
  const missing = /exec: "([^"]*)": executable file not found/.exec(output)?.[1];
  if (missing !== undefined) return `command not found: ${missing}`;
  return withOutput(last.ExitCode === TIMED_OUT ? 'could not run' : `exit ${last.ExitCode}`, output);
}

/** Of the ends of runs that follow each other. */
export function loopOf(ended: readonly EndedRun[], restarts: number): CrashLoop {
  const loop = new CrashLoop();
  for (const [index, { end, ranMs }] of ended.entries()) {
    loop.add(end, ranMs);
    // The last run that ended is followed by a restart only where one more was counted.
    if (index < ended.length - 1 || restarts >= ended.length) loop.countRestart();
  }
  loop.restarts = Math.min(loop.restarts, restarts);
  return loop;
}

/** How long the engine waits after the last of these runs. */
export function restartDelayMs(ranMs: readonly number[]): number {
  return ranMs.reduce(
    (delayMs, ms) => (ms >= STABLE_RUN_MS || delayMs === 0 ? FIRST_DELAY_MS : Math.min(delayMs * 2, MAX_DELAY_MS)),
    0,
  );
}

/** 0 where a run began unseen. */
export function lengthMs({ start, end }: Run): number {
  return start === null || end === null ? 0 : Number(end.time - start) / 1e6;
}

export function seenOf({ State: state }: Inspection): Seen {
  return {
    startedAt: nanoseconds(state.StartedAt),
    finishedAt: nanoseconds(state.FinishedAt),
    exitCode: state.Running ? null : state.ExitCode,
  };
}

function healthOf({ State: { Health: health } }: Inspection): 'RUNNING' | 'STARTING' | 'HEALTHY' | 'UNHEALTHY' {
  if (health?.Status === 'starting') return 'STARTING';
  if (health?.Status === 'healthy') return 'HEALTHY';
  return health?.Status === 'unhealthy' ? 'UNHEALTHY' : 'RUNNING';
}

function portsOf({ HostConfig: host, NetworkSettings: network }: Inspection): PortBinding[] {
  const wanted = Object.entries((host.PortBindings ?? {}) as Docker.PortMap);
  return wanted.flatMap(([key, bindings]) => {
    const [target, protocol] = key.split('/');
    return (bindings ?? []).map(({ HostIp, HostPort }, index) => {
      // Where the engine was left to choose, it tells what it chose.
      const published = Number(HostPort) || Number(network.Ports?.[key]?.[index]?.HostPort ?? 0);
      return {
        target: Number(target),
        published,
        host: HostIp || '0.0.0.0',
        protocol: protocol === 'udp' ? 'udp' : 'tcp',
      };
    });
  });
}

function withOutput(cause: string, output: string): string {
  const [line = ''] = output.split('\n');
  return line === '' ? cause : `${cause}: ${excerptOf(Buffer.from(line))}`;
}
