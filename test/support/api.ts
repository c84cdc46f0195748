import { randomBytes } from 'node:crypto';
import { createServices } from '../../src/create-services.ts';
import type { Services } from '../../src/graphql/context.ts';
import { schema } from '../../src/graphql/schema.ts';
import { createPasswordHasher } from '../../src/modules/identity/passwords.ts';
import type { IdentityOptions } from '../../src/modules/identity/service.ts';
import { RightsWatch } from '../../src/modules/organizations/rights-watch.ts';
import { createEventTails } from '../../src/realtime/event-follower.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../src/server/http-server.ts';
import { type Clock, systemClock } from '../../src/shared/clock.ts';
import { createKeyring, type Keyring } from '../../src/shared/crypto.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger, type Logger } from '../../src/shared/logger.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { countStatements, leastOf } from './query-count.ts';
import { onOwnServer, pickServer, SERVERS } from './server-choice.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;
export type ErrorAnswer = {
  message: string;
  path?: string[];
  extensions: { code: string; requestId: string } & Record<string, unknown>;
};
export type Answer = { status: number; headers: Headers; data: Data; errors: ErrorAnswer[]; text: string };

export type Registered = {
  accessToken: string;
  refreshToken: string;
  userId: string;
  username: string;
  password: string;
};

export type TestApiOptions = Partial<Omit<IdentityOptions, 'passwords'>> &
  Partial<Pick<HttpServerOptions, 'publicUrl' | 'allowedHosts' | 'corsOrigins' | 'checks' | 'schema'>> & {
    clock?: Clock;
    log?: Logger;
    /** A second server on the database of another one. */
    shares?: TestApi;
  };

/** The API as clients reach it, on a database and a port of its own. With WINDFLOW_TEST_SERVERS=2 each request goes to one of two servers. */
export type TestApi = AsyncDisposable & {
  /** Of one of the servers, another one at each look. */
  readonly url: string;
  /** Of the first server, like all that follows. */
  port: number;
  server: HttpServer;
  database: TestDatabase;
  keyring: Keyring;
  services: Services;
  /** How often argon2 ran. */
  readonly derivations: number;
  execute(
    query: string,
    variables?: object,
    options?: { token?: string; headers?: Record<string, string> },
  ): Promise<Answer>;
  /** A new user: the first one is the superadmin. */
  register(name?: string): Promise<Registered>;
  /** How many SQL statements a piece of work sends. */
  countQueries(work: () => Promise<unknown>): Promise<number>;
};

type OneServer = AsyncDisposable & { server: HttpServer; services: Services };

export async function startTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const { shares } = options;
  await using started = new AsyncDisposableStack();
  const database = shares?.database ?? started.use(await createTestDatabase());
  const keyring = shares?.keyring ?? createKeyring(randomBytes(32));
  let derivations = 0;
  const serve = async () => started.use(await serveOne(options, { database, keyring, onDerive: () => derivations++ }));
  const { server, services } = await serve();
  const urls: [string, ...string[]] = [`${server.url}/graphql`];
  // One that shares a database is meant itself.
  if (!shares) while (urls.length < SERVERS) urls.push(`${(await serve()).server.url}/graphql`);

  const execute: TestApi['execute'] = async (query, variables, { token, headers } = {}) => {
    const response = await fetch(pickServer(urls), {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...headers,
      },
      body: JSON.stringify({ query, variables }),
    });
    return readAnswer(response);
  };

  const stack = started.move();
  return {
    get url() {
      return pickServer(urls);
    },
    port: server.port,
    server,
    database,
    keyring,
    services,
    execute,
    get derivations() {
      return derivations;
    },
    register: (name) => register(execute, name),
    countQueries,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function serveOne(
  options: TestApiOptions,
  { database, keyring, onDerive }: { database: TestDatabase; keyring: Keyring; onDerive: () => void },
): Promise<OneServer> {
  const { log = createLogger('silent'), clock = systemClock } = options;
  const { prisma, pool, connection } = database;
  const bus = createPostgresBus(connection, log);
  await bus.start();
  const rights = new RightsWatch({ pool, bus, log });
  const passwords = createPasswordHasher({ onDerive });
  const { services } = createServices(
    { prisma, pool, bus, keyring, clock, log, rights, eventTails: createEventTails(pool, bus) },
    {
      identity: { registration: 'open', requiresSetupToken: false, ...options, passwords },
      processRuntime: true,
      hostForProcess: async () => (await prisma.host.findFirst({ select: { id: true } }))?.id ?? null,
      runtimeOf: () => null,
      models: { baseUrl: null, apiKey: null, defaultModel: null },
      allowedAddresses: [],
    },
  );
  const server = await createHttpServer({
    prisma,
    services,
    schema: options.schema ?? schema,
    host: '127.0.0.1',
    port: 0,
    log,
    version: '0.0.0-test',
    publicUrl: options.publicUrl ?? 'http://127.0.0.1',
    allowedHosts: options.allowedHosts ?? [],
    corsOrigins: options.corsOrigins ?? [],
    checks: options.checks ?? (async () => ({ database: { ok: true } })),
  });
  return {
    server,
    services,
    async [Symbol.asyncDispose]() {
      await server.close();
      await rights[Symbol.asyncDispose]();
      await bus.close();
    },
  };
}

export async function readAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  const body = response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : {};
  return { status: response.status, headers: response.headers, data: body.data, errors: body.errors ?? [], text };
}

const REGISTER = `mutation ($input: AuthRegisterInput!) {
  authRegister(input: $input) { ... on AuthSession { accessToken refreshToken user { id } } ... on Error { code message } }
}`;

export async function register(
  execute: TestApi['execute'],
  name = `user-${newId().slice(-12)}`,
  setupToken: string | null = null,
): Promise<Registered> {
  const password = `password of ${name}`;
  const answer = await execute(REGISTER, {
    input: { username: name, email: `${name}@example.com`, password, setupToken },
  });
  const session = answer.data?.authRegister;
  if (!session?.accessToken) throw new Error(`registration failed: ${answer.text}`);
  return {
    accessToken: session.accessToken,
    refreshToken: session.refreshToken,
    userId: session.user.id,
    username: name,
    password,
  };
}

/** How many SQL statements this process sends for a piece of work; its requests go to the server of this process. */
export function countQueries(work: () => Promise<unknown>): Promise<number> {
  return countStatements(() => onOwnServer(work));
}

/** How many of them the work, done several times, needs for itself. */
export function leastQueries(work: () => Promise<unknown>): Promise<number> {
  return leastOf(() => countQueries(work));
}
