import { randomBytes } from 'node:crypto';
import { graphql } from 'graphql';
import { createServices } from '../../src/create-services.ts';
import type { Role } from '../../src/db/generated/prisma/enums.ts';
import type { GraphQLContext, Services } from '../../src/graphql/context.ts';
import { schema } from '../../src/graphql/schema.ts';
import { RightsWatch } from '../../src/modules/organizations/rights-watch.ts';
import type { Caller, ServiceDependencies } from '../../src/modules/services.ts';
import { createEventTails } from '../../src/realtime/event-follower.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { systemClock } from '../../src/shared/clock.ts';
import { createKeyring } from '../../src/shared/crypto.ts';
import { ExpectedError } from '../../src/shared/errors.ts';
import { encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { countStatements } from './query-count.ts';
import { pickServer, SERVERS } from './server-choice.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
export type Answer = { data: any; codes: string[]; messages: string[] };

export type Tenant = {
  id: string;
  globalId: string;
  owner: Caller;
  admin: Caller;
  developer: Caller;
  viewer: Caller;
};

/** Two organizations with a member of each role, on a database of their own, asked through the public schema. */
export type Tenants = AsyncDisposable & {
  database: TestDatabase;
  dependencies: ServiceDependencies;
  services: Services;
  /** Made by a superadmin: PROCESS is allowed there. */
  acme: Tenant;
  rival: Tenant;
  superadmin: Caller;
  ask(caller: Caller | null, source: string, variables?: Record<string, unknown>): Promise<Answer>;
  /** How many SQL statements a piece of work sends. */
  countQueries(work: () => Promise<unknown>): Promise<number>;
  addUser(name?: string): Promise<Caller>;
  addMember(organizationId: string, role: Role): Promise<Caller>;
};

export async function createTenants(options: { processRuntime?: boolean } = {}): Promise<Tenants> {
  const processRuntime = options.processRuntime ?? true;
  const database = await createTestDatabase();
  const { prisma, pool, connection } = database;
  const log = createLogger('fatal');
  const keyring = createKeyring(randomBytes(32));
  const host = { id: newId(), machineId: 'test', runtimeDirectory: '/nowhere', name: 'test' };
  await prisma.host.create({ data: host });
  await using buses = new AsyncDisposableStack();

  const serve = async () => {
    const bus = buses.use(createPostgresBus(connection, log));
    await bus.start();
    const rights = buses.use(new RightsWatch({ pool, bus, log }));
    const eventTails = createEventTails(pool, bus);
    const clock = systemClock;
    const dependencies: ServiceDependencies = { prisma, pool, bus, keyring, clock, log, rights, eventTails };
    const { services } = createServices(dependencies, {
      identity: { registration: 'first', requiresSetupToken: false },
      processRuntime,
      hostForProcess: async () => host.id,
      runtimeOf: () => null,
      models: { baseUrl: null, apiKey: null, defaultModel: null },
      allowedAddresses: [],
    });
    return { dependencies, services };
  };
  const { dependencies, services } = await serve();
  const { organizations } = services;
  const all: [Services, ...Services[]] = [services];
  while (all.length < SERVERS) all.push((await serve()).services);

  const addUser = async (name = `user-${randomBytes(6).toString('hex')}`, isSuperadmin = false): Promise<Caller> => {
    const userId = newId();
    const email = `${name}@example.org`;
    const row = { username: name, usernameKey: name, email, emailKey: email, passwordHash: '-', isSuperadmin };
    await prisma.user.create({ data: { id: userId, ...row } });
    return { userId, sessionId: newId(), isSuperadmin };
  };
  const addMember = async (organizationId: string, role: Role): Promise<Caller> => {
    const caller = await addUser();
    await prisma.organizationMember.create({ data: { id: newId(), organizationId, userId: caller.userId, role } });
    return caller;
  };
  const addTenant = async (owner: Caller, name: string): Promise<Tenant> => {
    const { id } = await organizations.create(owner, { name });
    const [admin, developer, viewer] = await Promise.all(
      (['ADMIN', 'DEVELOPER', 'VIEWER'] as const).map((role) => addMember(id, role)),
    );
    return {
      id,
      globalId: encodeGlobalId('Organization', id),
      owner,
      admin: admin!,
      developer: developer!,
      viewer: viewer!,
    };
  };

  const superadmin = await addUser('root', true);
  const acme = await addTenant(superadmin, 'Acme');
  const rival = await addTenant(await addUser(), 'Rival');
  const opened = buses.move();
  return {
    database,
    dependencies,
    services,
    superadmin,
    addUser,
    addMember,
    acme,
    rival,

    async ask(caller, source, variableValues) {
      const contextValue: GraphQLContext = {
        caller,
        authenticationError: null,
        bearerToken: null,
        lifetime: new AbortController(),
        requestId: newId(),
        log,
        prisma,
        services: pickServer(all) as Services,
        ip: '127.0.0.1',
        userAgent: null,
        transport: 'http',
      };
      const { data, errors = [] } = await graphql({ schema, source, variableValues, contextValue });
      const codes = errors.map(({ originalError, message }) =>
        originalError instanceof ExpectedError ? originalError.code : `unexpected: ${message}`,
      );
      return { data: data && JSON.parse(JSON.stringify(data)), codes, messages: errors.map(({ message }) => message) };
    },

    countQueries: countStatements,

    async [Symbol.asyncDispose]() {
      await opened.disposeAsync();
      await database[Symbol.asyncDispose]();
    },
  };
}
