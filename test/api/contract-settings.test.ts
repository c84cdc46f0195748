import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { startApp } from '../support/app.ts';
import { createTestDatabase } from '../support/database.ts';
import { Deployer } from '../support/deployer.ts';
import { prepareServer, startServer } from '../support/server.ts';

const REGISTER = `mutation ($input: AuthRegisterInput!) { authRegister(input: $input) { __typename } }`;

describe('a server', () => {
  it('should print one line with its URL when it is ready, and the setup token where others can reach it', {
    timeout: 60_000,
  }, async () => {
    await using database = await createTestDatabase();
    // Not known as a loopback name, though it is one: a test listens nowhere else.
    const env = { HOST: 'LOCALHOST', WINDFLOW_REGISTRATION: 'first' };
    await using server = await startServer({ databaseUrl: connectionUrl(database.connection), env });
    const ready = server.log.split('\n').filter((line) => line.includes('WindFlow is ready'));
    expect(ready).toHaveLength(1);
    expect(ready[0]).toMatch(new RegExp(`http://localhost:${server.port}/graphql`, 'i'));
    const health = await fetch(`http://localhost:${server.port}/health/ready`);
    expect([health.status, (await health.json()).parts.database]).toEqual([200, { ok: true }]);

    const setupToken = /setupToken (\S+)\./.exec(ready[0]!)![1];
    const register = async (input: object) => {
      const person = { username: 'ada', email: 'ada@example.com', password: 'a long password' };
      const response = await fetch(`http://localhost:${server.port}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: REGISTER, variables: { input: { ...person, ...input } } }),
      });
      return (await response.json()).data.authRegister.__typename;
    };
    expect(await register({})).toBe('RegistrationClosedError');
    expect(await register({ setupToken })).toBe('AuthSession');
  });

  it('should refuse a PostgreSQL older than 15, in words', async () => {
    await using old = await startOldPostgres();
    await using server = await prepareServer({ databaseUrl: `postgresql://x:y@127.0.0.1:${old.port}/z` });
    expect(await server.launch()).toBe(1);
    expect(server.log).toContain('PostgreSQL 15 or newer is needed');
  });
});

describe('WINDFLOW_PROCESS_RUNTIME=off', () => {
  it('should keep what was made before from being deployed', async () => {
    await using app = await startApp({ processRuntime: false });
    const owner = await app.register();
    const someone = new Deployer(app, owner.accessToken, '', '');
    const { id } = await someone.mutate('organizationCreate', 'Organization { id }', { name: 'Acme' });
    const { prisma } = app.database;
    const organizationId = decodeIdOf('Organization', id)!;
    await prisma.organization.update({ where: { id: organizationId }, data: { allowedRuntimes: ['PROCESS'] } });
    const host = { id: newId(), machineId: 'test', runtimeDirectory: '/nowhere', name: 'test' };
    await prisma.host.create({ data: host });
    const made = { type: 'STAGING' as const, runtime: 'PROCESS' as const, hostId: host.id, uidOffset: 0 };
    const row = { id: newId(), organizationId, name: 'old', slug: 'old', ...made };
    await prisma.environment.create({ data: row });
    const query = 'query ($id: ID!) { organization(id: $id) { environments { nodes { id } } } }';
    const [environment] = (await someone.ask(query, { id })).organization.environments.nodes;
    const acme = new Deployer(app, owner.accessToken, id, environment.id);
    const stackId = await acme.newStack('services: { web: { command: [sleep, "1"] } }');
    expect(await acme.tryDeploy(stackId)).toMatchObject({
      __typename: 'ValidationError',
      fields: [{ path: ['environmentId'], message: expect.stringContaining('WINDFLOW_PROCESS_RUNTIME') }],
    });
  });
});

/** Speaks enough of PostgreSQL's protocol to be asked for its version: 14. */
async function startOldPostgres(): Promise<{ port: number } & AsyncDisposable> {
  const message = (type: string, ...parts: Buffer[]) => {
    const body = Buffer.concat(parts);
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length + 4);
    return Buffer.concat([Buffer.from(type), length, body]);
  };
  const int16 = (value: number) => Buffer.from([value >> 8, value & 255]);
  const int32 = (value: number) => Buffer.concat([int16(value >> 16), int16(value & 0xffff)]);
  const ready = message('Z', Buffer.from('I'));
  const column = Buffer.concat([
    Buffer.from('version\0'),
    int32(0),
    int16(0),
    int32(23),
    int16(4),
    int32(-1),
    int16(0),
  ]);
  const version = Buffer.from('140000');
  const answer = Buffer.concat([
    message('T', int16(1), column),
    message('D', int16(1), int32(version.length), version),
    message('C', Buffer.from('SELECT 1\0')),
    ready,
  ]);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      socket.write(Buffer.concat([message('R', int32(0)), ready]));
      socket.on('data', (bytes) => (bytes[0] === 'Q'.charCodeAt(0) ? socket.write(answer) : socket.end()));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
