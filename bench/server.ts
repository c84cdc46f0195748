import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { freePort } from '../test/support/free-port.ts';

const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));
const READY_TIMEOUT_MS = 120_000;

/** A server as `npm start` runs it, with the embedded database, in folders of its own. */
export type BenchServer = AsyncDisposable & {
  url: string;
  /** Starts it with `npm start`; resolves with the milliseconds from the command to its ready line. */
  start(): Promise<number>;
  stop(): Promise<void>;
  /** Of the server itself, not of npm, which started it. */
  pid(): number;
  ask<T>(document: string, variables?: object): Promise<T>;
  /** Answers of a subscription until it ends or the loop is left. */
  follow<T>(document: string, variables: object): AsyncIterable<T>;
  login(token: string): void;
  /** The token of whoever logged in. */
  readonly token: string;
};

/** Settings beside those that every benchmark has. One that sets WINDFLOW_LOG_LEVEL has its lines written, as in production, and thrown away. */
export async function createBenchServer(settings: Record<string, string> = {}): Promise<BenchServer> {
  const folder = await mkdtemp(join(tmpdir(), 'wf-bench-'));
  // Where the server is root, services have users of their own, who must pass through.
  await chmod(folder, 0o711);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/graphql`;
  const environment = {
    PORT: String(port),
    WINDFLOW_DATA_DIR: join(folder, 'data'),
    WINDFLOW_RUNTIME_DIR: join(folder, 'rt'),
    WINDFLOW_LOG_LEVEL: 'error',
    ...settings,
  };
  let child: ChildProcess | null = null;
  let token = '';

  const server: BenchServer = {
    url,
    get token() {
      return token;
    },
    login(given) {
      token = given;
    },
    async start() {
      const begun = performance.now();
      const started = spawn('npm', ['start', '--silent'], {
        cwd: PROJECT,
        env: { ...process.env, ...environment },
        stdio: ['ignore', 'pipe', settings.WINDFLOW_LOG_LEVEL ? 'ignore' : 'inherit'],
      });
      child = started;
      const timeout = setTimeout(() => started.kill(), READY_TIMEOUT_MS);
      for await (const line of createInterface({ input: started.stdout })) {
        if (!line.includes('is ready')) continue;
        clearTimeout(timeout);
        return performance.now() - begun;
      }
      throw new Error('the server did not start');
    },
    pid() {
      return serverUnder(child!.pid!);
    },
    async stop() {
      const running = child;
      child = null;
      if (!running || running.exitCode !== null) return;
      running.kill('SIGTERM');
      await once(running, 'exit');
    },
    async ask<T>(query: string, variables: object = {}) {
      const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
      const { data, errors } = (await response.json()) as { data: T; errors?: unknown };
      if (errors) throw new Error(JSON.stringify(errors));
      return data;
    },
    async *follow<T>(query: string, variables: object) {
      const client = createClient({
        url: url.replace('http', 'ws'),
        webSocketImpl: WebSocket,
        connectionParams: { authorization: `Bearer ${token}` },
      });
      try {
        const results = client.iterate({ query, variables: variables as Record<string, unknown> });
        for await (const { data } of results) yield data as T;
      } finally {
        await client.dispose();
      }
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return server;
}

/** The process below another that has no shell between: proc(5). */
function serverUnder(pid: number): number {
  const [only] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
  if (only === undefined || readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('src/main.ts')) return pid;
  return serverUnder(only);
}
