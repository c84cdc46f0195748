import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type EmbeddedServer, startEmbeddedServer } from '../../src/db/embedded-server.ts';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { HeldLock, STEP_RESULTS } from '../support/held-lock.ts';
import { startServer } from '../support/server.ts';
import { RequestError, registerAt, type ServerClient } from '../support/server-client.ts';
import { ServerPlace } from '../support/server-place.ts';
import { CountedStack, Prober } from './counted-stack.ts';

const AWAY_MS = 10_000;
const SERVICES = {
  a: { generation: 1, gated: true },
  b: { generation: 1, dependsOn: ['a'], gated: true },
};

it('should start each service once when the database of two servers is away for 10 s', async () => {
  await using postgres = await startPostgres();
  await using place = new ServerPlace();
  const options = { databaseUrl: connectionUrl(postgres.connection), place };
  await using holder = await startServer(options);
  await using other = await startServer(options);
  const client = await registerAt(holder);
  const clients = [client, client.at(other)];
  const { organizationId, environmentId } = await client.createEnvironment();
  const stack = new CountedStack(place.ground, 'stack', await freePort());
  const stackId = await client.createStack(organizationId, stack.name, stack.compose(SERVICES));
  const deploymentId = await clients[1]!.deploy(stackId, environmentId);
  await eventually('a is started', () => stack.counts().a1);
  await stack.webIsUp();
  await using prober = new Prober(stack.webPort);
  using subscriber = clients[1]!.followLog(deploymentId);

  {
    // The outage meets a service that is started, while nobody has recorded it yet.
    await using lock = new HeldLock(postgres.connection, STEP_RESULTS);
    await lock.take();
    stack.open('a', 1);
    await eventually('b is started', () => stack.counts().b1);
    await lock.isWaitedFor();
    await postgres.stop();
  }
  for (const each of clients) await eventually('an answer that says so', () => isUnavailable(each));
  // What is tested is an outage of this length.
  await sleep(AWAY_MS);
  for (const each of clients) expect(await isUnavailable(each)).toBe(true);
  await postgres.start();

  stack.open('b', 1);
  for (const each of clients) expect(await each.until(deploymentId, ['RUNNING'])).toMatchObject({ statusReason: null });
  expect(stack.counts()).toEqual({ web1: 1, a1: 1, b1: 1 });

  const next = { ...SERVICES, b: { ...SERVICES.b, generation: 2 } };
  stack.open('b', 2);
  await clients[1]!.updateStack(stackId, stack.compose(next));
  const nextId = await clients[1]!.deploy(stackId, environmentId);
  for (const each of clients) await each.until(nextId, ['RUNNING']);
  expect(stack.counts()).toEqual({ web1: 1, a1: 1, b1: 1, b2: 1 });
  await eventually('the end of the superseded one’s log', () => subscriber.isComplete);
  expect(subscriber.lines.map(({ sequence }) => sequence)).toEqual(subscriber.lines.map((_, index) => index + 1));
  expect(prober.failures).toEqual([]);
});

it('should start the embedded database again when somebody killed it, and finish what was under way', async () => {
  await using server = await startServer();
  const client = await registerAt(server);
  const { organizationId, environmentId } = await client.createEnvironment();
  const stack = new CountedStack(server.place.ground, 'stack', await freePort());
  const stackId = await client.createStack(organizationId, stack.name, stack.compose(SERVICES));
  const deploymentId = await client.deploy(stackId, environmentId);
  await eventually('a is started', () => stack.counts().a1);

  const postmaster = server.place.postmaster()!;
  process.kill(postmaster, 'SIGKILL');
  stack.open('a', 1);
  stack.open('b', 1);
  await eventually('another database process', () => {
    const present = server.place.postmaster();
    return present !== null && present !== postmaster;
  });
  await client.until(deploymentId, ['RUNNING']);
  expect(stack.counts()).toEqual({ web1: 1, a1: 1, b1: 1 });
});

async function isUnavailable(client: ServerClient): Promise<boolean> {
  const failure = await client.execute('{ viewer { user { username } } }').catch((error: RequestError) => error);
  return failure instanceof RequestError && failure.code === 'UNAVAILABLE';
}

/** A PostgreSQL of the test's own, to be stopped and started again at the same address. */
async function startPostgres() {
  const folder = mkdtempSync('/tmp/wfpg-');
  chmodSync(folder, 0o711);
  const log = createLogger('fatal');
  let running: EmbeddedServer | null = await startEmbeddedServer({ dataDirectory: folder, log });
  const stop = async () => {
    await running?.stop();
    running = null;
  };
  return {
    connection: running.connection,
    stop,
    async start() {
      running = await startEmbeddedServer({ dataDirectory: folder, log });
    },
    async [Symbol.asyncDispose]() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
