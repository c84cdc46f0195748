import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../runtime.ts';
import { ControlConnection } from './control-connection.ts';
import type { StackHome } from './layout.ts';

const PROGRAM = path.join(import.meta.dirname, 'supervisor', 'supervisor.mjs');
/** A busy host takes its time to start a process, and a predecessor that is ending lets its services end first. */
const LAUNCH_LIMIT_MS = 30_000;
const FIRST_POLL_MS = 10;
const MAX_POLL_MS = 200;
const MAX_LOG_BYTES = 1024 * 1024;
const MAX_REASON_BYTES = 2_000;
/** With less, a supervisor cannot write what it remembers. */
const MIN_FREE_BYTES = 64 * 1024;

export type LaunchOptions = {
  home: StackHome;
  directory: string;
  environment: string;
  nodePath: string;
  spoolBytes: number;
  idleEndMs: number;
};

/**
 * Starts a stack's supervisor in a session of its own and connects to it. Where another one was started at the same time, only one of
 * them stays, and everybody gets connected to that.
 */
export async function launchSupervisor(options: LaunchOptions): Promise<ControlConnection> {
  const { home } = options;
  const deadline = Date.now() + LAUNCH_LIMIT_MS;
  let child = spawnSupervisor(options);
  for (let pollMs = FIRST_POLL_MS; Date.now() < deadline; pollMs = Math.min(pollMs * 2, MAX_POLL_MS)) {
    // Asked before the socket is tried: who had the lock then listens, or has ended since.
    const lostLock = child.lostLock();
    const connection = await ControlConnection.open(home.socket);
    if (connection) return connection;
    if (lostLock) child = spawnSupervisor(options);
    await sleep(pollMs);
  }
  throw new RuntimeError(`the supervisor did not start within ${LAUNCH_LIMIT_MS / 1000} s: see ${logFileOf(home)}`);
}

/** `lostLock`: whether it ended because another one is there. Throws `RuntimeError` with the reason when it failed. */
function spawnSupervisor({ home, nodePath, ...settings }: LaunchOptions) {
  const logFile = logFileOf(home);
  const log = fs.openSync(logFile, logSize(logFile) > MAX_LOG_BYTES ? 'w' : 'a', 0o600);
  const logStart = logSize(logFile);
  const argument = JSON.stringify({ ...settings, name: home.name });
  let failure: string | null = null;
  let ended = false;
  try {
    const child = spawn(nodePath, [PROGRAM, argument], {
      cwd: '/',
      detached: true,
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: ['ignore', log, log],
    });
    child.once('error', (error) => {
      failure = error.message;
    });
    child.once('exit', (code, signal) => {
      ended = true;
      if (code !== 0) failure = `${signal ?? `exit code ${code}`}: ${tailOf(logFile, logStart) || silence(home)}`;
    });
    child.unref();
  } finally {
    fs.closeSync(log);
  }
  return {
    lostLock(): boolean {
      if (failure !== null) throw new RuntimeError(`the supervisor could not start: ${failure}`);
      return ended;
    },
  };
}

function logFileOf(home: StackHome): string {
  return path.join(home.home, 'supervisor.log');
}

function logSize(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Why it may have said nothing: its log lies on the disk that its files lie on. */
function silence({ home }: StackHome): string {
  const { bavail, bsize } = fs.statfsSync(home);
  return bavail * bsize < MIN_FREE_BYTES ? 'no space left on the disk' : 'it said nothing';
}

function tailOf(file: string, from: number): string {
  return fs.readFileSync(file).subarray(from).toString('utf8').trim().slice(-MAX_REASON_BYTES);
}
