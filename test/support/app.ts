import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createApp } from '../../src/app.ts';
import type { Config } from '../../src/config.ts';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { type Answer, type Registered, readAnswer, register } from './api.ts';
import { connectSocket, type SocketClient } from './api-clients.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { eventually } from './eventually.ts';
import { type ServerProcess, startServer } from './server.ts';
import { pickServer, SERVERS } from './server-choice.ts';
import { signalAll } from './signal.ts';

/**
 * The whole server in this process, as clients reach it. One a process: the durable engine is one. With WINDFLOW_TEST_SERVERS=2 a
 * process of its own serves the same database and host, and each request goes to one of both.
 */
export type TestApp = AsyncDisposable & {
  /** Of one of the servers, another one at each look. */
  readonly url: string;
  /** Of the server in this process. */
  port: number;
  database: TestDatabase;
  runtimeDirectory: string;
  execute(query: string, variables?: object, options?: { token?: string }): Promise<Answer>;
  /** A new user: the first one is the superadmin. */
  register(name?: string): Promise<Registered>;
  /** A graphql-ws client with the token. */
  connect(token: string): SocketClient;
};

/** Starts it on a database cloned from the template, a free port and folders of its own; disposing of it ends its services too. */
export async function startApp(overrides: Partial<Config> = {}): Promise<TestApp> {
  await using started = new AsyncDisposableStack();
  const database = started.use(await createTestDatabase());
  // Short: the path of a unix socket has about 100 bytes. Services of other users pass through it.
  const folder = await mkdtemp('/tmp/wfa-');
  await chmod(folder, 0o711);
  started.defer(() => rm(folder, { recursive: true, force: true }));
  const runtimeDirectory = overrides.runtimeDirectory ?? join(folder, 'r');
  started.defer(() => endServices(runtimeDirectory));
  const config: Config = {
    host: '127.0.0.1',
    port: 0,
    publicUrl: 'http://127.0.0.1:0',
    dataDirectory: join(folder, 'd'),
    databaseUrl: connectionUrl(database.connection),
    redisUrl: null,
    secretKey: randomBytes(32),
    registration: 'open',
    processRuntime: true,
    runtimeDirectory,
    allowedHosts: [],
    corsOrigins: [],
    allowedAddresses: [],
    logRetentionDays: 30,
    executionRetentionDays: 90,
    logLinesPerSecond: 20_000,
    ingressImage: 'haproxy:local',
    llm: { baseUrl: null, apiKey: null, model: null },
    logLevel: process.env.WINDFLOW_TEST_LOG ?? 'fatal',
    ...overrides,
  };
  const startOther = async () => started.use(await startServerLike(config));
  const isSecond = SERVERS > 1 && pickServer<boolean>([true, false]);
  const before = isSecond ? await startOther() : null;
  const app = started.use(await createApp(config, createLogger(config.logLevel)));
  const other = SERVERS > 1 ? (before ?? (await startOther())) : null;
  const urls: [string, ...string[]] = [`${app.url}/graphql`, ...(other ? [other.url] : [])];

  const execute: TestApp['execute'] = async (query, variables, { token } = {}) =>
    readAnswer(
      await fetch(pickServer(urls), {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify({ query, variables }),
      }),
    );
  const stack = started.move();
  const running: TestApp = {
    get url() {
      return pickServer(urls);
    },
    port: Number(new URL(app.url).port),
    database,
    runtimeDirectory,
    execute,
    register: (name) => register(execute, name, app.setupToken),
    connect: (token) => connectSocket(running, { authorization: `Bearer ${token}` }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  return running;
}

/** A server process with the settings of the one in this process. */
function startServerLike(config: Config): Promise<ServerProcess> {
  const env = {
    ...(config.redisUrl !== null && { REDIS_URL: config.redisUrl }),
    ...(config.llm.baseUrl !== null && { LLM_BASE_URL: config.llm.baseUrl }),
    ...(config.llm.apiKey !== null && { LLM_API_KEY: config.llm.apiKey }),
    ...(config.llm.model !== null && { LLM_MODEL: config.llm.model }),
    WINDFLOW_RUNTIME_DIR: config.runtimeDirectory,
    WINDFLOW_SECRET_KEY: Buffer.from(config.secretKey).toString('base64'),
    WINDFLOW_REGISTRATION: config.registration,
    WINDFLOW_PROCESS_RUNTIME: config.processRuntime ? 'on' : 'off',
    WINDFLOW_ALLOWED_HOSTS: config.allowedHosts.join(','),
    WINDFLOW_CORS_ORIGINS: config.corsOrigins.join(','),
    WINDFLOW_ALLOWED_ADDRESSES: config.allowedAddresses.join(','),
    WINDFLOW_LOG_RETENTION_DAYS: String(config.logRetentionDays),
    WINDFLOW_EXECUTION_RETENTION_DAYS: String(config.executionRetentionDays),
    WINDFLOW_LOG_LINES_PER_SECOND: String(config.logLinesPerSecond),
    WINDFLOW_INGRESS_IMAGE: config.ingressImage,
    WINDFLOW_LOG_LEVEL: config.logLevel,
  };
  return startServer({ databaseUrl: config.databaseUrl!, env });
}

/** Lets the supervisors of a runtime directory end their services and themselves. */
async function endServices(runtimeDirectory: string): Promise<void> {
  signalAll(await supervisorsOf(runtimeDirectory), 'SIGTERM');
  await eventually('the end of all supervisors', async () => (await supervisorsOf(runtimeDirectory)).length === 0);
}

/** Pids of the supervisors that run in a runtime directory. */
export async function supervisorsOf(runtimeDirectory: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (command.includes('supervisor.mjs') && command.includes(`"directory":"${runtimeDirectory}"`))
      found.push(Number(name));
  }
  return found;
}
