import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { ServerPlace } from './server-place.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const READY = 'WindFlow is ready';
const READY_DEADLINE_MS = 60_000;
/** Tests ask far more often than people: the same key for every start, since they share databases. */
const SECRET_KEY = Buffer.alloc(32, 7).toString('base64');

export type ServerOptions = {
  /** An own PostgreSQL; absent: the embedded one of the place. */
  databaseUrl?: string;
  /** Shared with other servers; absent: one of its own, which ends with the server. */
  place?: ServerPlace;
  env?: Record<string, string>;
};

/** A real server process on a port of its own, to be killed, stopped and started again. */
export class ServerProcess implements AsyncDisposable {
  readonly place: ServerPlace;
  readonly port: number;
  readonly #options: ServerOptions;
  #child: ChildProcess | null = null;
  #log = '';
  #exit: Promise<number | string> = Promise.resolve(0);

  constructor(port: number, options: ServerOptions) {
    this.port = port;
    this.#options = options;
    this.place = options.place ?? new ServerPlace();
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/graphql`;
  }

  get pid(): number {
    if (!this.#child?.pid) throw new Error('the server does not run');
    return this.#child.pid;
  }

  /** All that the server wrote, over all of its starts. */
  get log(): string {
    return this.#log;
  }

  /** Starts it; resolves when it serves, rejects with its output when it ends instead. */
  async start(): Promise<void> {
    const exit = this.launch();
    const from = this.#log.length;
    let ended: number | string | null = null;
    void exit.then((code) => {
      ended = code;
    });
    await eventually(
      'the server is ready',
      () => {
        if (ended !== null) throw new Error(`the server ended with ${ended}:\n${this.#log.slice(from)}`);
        return this.#log.includes(READY, from);
      },
      { deadlineMs: READY_DEADLINE_MS },
    );
  }

  /** Starts the process alone; resolves with its exit code, or with the signal that ended it. */
  launch(): Promise<number | string> {
    const { databaseUrl, env } = this.#options;
    const child = spawn(process.execPath, [MAIN], {
      env: {
        PATH: process.env.PATH ?? '',
        PORT: String(this.port),
        WINDFLOW_DATA_DIR: this.place.dataDirectory,
        WINDFLOW_RUNTIME_DIR: this.place.runtimeDirectory,
        WINDFLOW_SECRET_KEY: SECRET_KEY,
        WINDFLOW_REGISTRATION: 'open',
        WINDFLOW_LOG_LEVEL: 'warn',
        ...(databaseUrl && { DATABASE_URL: databaseUrl }),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        this.#log += bytes.toString();
      });
    this.#child = child;
    this.#exit = once(child, 'close').then(([code, signal]) => code ?? signal);
    return this.#exit;
  }

  /** Ends it as a power cut would. */
  async kill9(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exit;
    this.#child = null;
  }

  /** SIGTERM; resolves with its exit code and how long the end took. */
  async stop(): Promise<{ code: number | string; tookMs: number }> {
    const begun = performance.now();
    this.#child?.kill('SIGTERM');
    const code = await this.#exit;
    this.#child = null;
    return { code, tookMs: performance.now() - begun };
  }

  async restart(): Promise<void> {
    await this.kill9();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (!this.#options.place) await this.place[Symbol.asyncDispose]();
  }
}

/** A server that serves; `await using` ends it and, in a place of its own, everything that it started. */
export async function startServer(options: ServerOptions = {}): Promise<ServerProcess> {
  const server = await prepareServer(options);
  await server.start();
  return server;
}

/** A server that was not started yet. */
export async function prepareServer(options: ServerOptions = {}): Promise<ServerProcess> {
  return new ServerProcess(await freePort(), options);
}
