import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, glob, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { DemoFailure } from './failure.ts';

const DEFAULT_URL = 'http://127.0.0.1:4000';
const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const PROBE_LIMIT_MS = 2_000;
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;
const POLL_MS = 50;
const KEPT_LINES = 20;

export type DemoServer = AsyncDisposable & {
  url: string;
  /** Started by the demo, and removed with everything in it at the end. */
  isOwn: boolean;
};

/** The server that WINDFLOW_URL names, one that runs where `npm start` puts it, or one of the demo's own. */
export async function findServer(environment: NodeJS.ProcessEnv): Promise<DemoServer> {
  const named = environment.WINDFLOW_URL?.replace(/\/(graphql)?\/*$/, '');
  const url = named ?? DEFAULT_URL;
  if (await answers(url)) return { url, isOwn: false, async [Symbol.asyncDispose]() {} };
  if (named)
    throw new DemoFailure(`no WindFlow server answers at ${named} (WINDFLOW_URL): start it, or unset WINDFLOW_URL`);
  return startServer(environment);
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(PROBE_LIMIT_MS) });
    const health = (await response.json()) as { status?: unknown; version?: unknown };
    return typeof health.status === 'string' && typeof health.version === 'string';
  } catch {
    return false;
  }
}

/** A server in temporary folders, on a free port; disposing of it removes all that. */
export async function startServer(environment: NodeJS.ProcessEnv): Promise<DemoServer> {
  const folder = await mkdtemp(join(tmpdir(), 'windflow-demo-'));
  // Where the server is root, PostgreSQL and the services have users of their own, who must pass through.
  await chmod(folder, process.getuid?.() === 0 ? 0o711 : 0o700);
  const runtimeDirectory = join(folder, 'run');
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: environment.PATH,
      HOME: environment.HOME,
      PORT: '0',
      WINDFLOW_DATA_DIR: join(folder, 'data'),
      WINDFLOW_RUNTIME_DIR: runtimeDirectory,
    },
    // In a group of its own: Ctrl-C reaches the demo alone, which then stops its services and this.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = async () => {
    await endProcess(child);
    await endServices(runtimeDirectory);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { url: await readyUrl(child), isOwn: true, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The URL that a server prints when it is ready. */
async function readyUrl({ stdout, stderr }: ChildProcess): Promise<string> {
  const said: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error(`not ready within ${START_LIMIT_MS / 1000} s`)), START_LIMIT_MS);
  for (const stream of [stdout, stderr]) {
    createInterface({ input: stream! }).on('line', (line) => {
      said.push(line);
      if (said.length > KEPT_LINES) said.shift();
      const url = /ready: open (\S+)\/graphql/.exec(line)?.[1];
      if (url) resolve(url);
    });
  }
  stdout!.once('close', () => reject(new Error('it ended')));
  try {
    return await promise;
  } catch (error) {
    throw new DemoFailure(`the demo's server did not start: ${(error as Error).message}\n${said.join('\n')}`);
  } finally {
    clearTimeout(timer);
  }
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(timer);
}

/** Services outlive their server: what a story that went wrong left running is ended through its supervisors. */
async function endServices(runtimeDirectory: string): Promise<void> {
  for await (const file of glob('s/*/lock/*', { cwd: runtimeDirectory })) {
    const text = await readFile(join(runtimeDirectory, file), 'utf8').catch(() => '{}');
    const { pid } = JSON.parse(text) as { pid?: number };
    for (let alive = pid !== undefined && signal(pid, 'SIGTERM'); alive; alive = signal(pid!, 0)) await pause(POLL_MS);
  }
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
