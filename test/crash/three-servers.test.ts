import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { HAS_REDIS, REDIS_NEEDED, type RedisServer, startRedis } from '../support/redis-server.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { prepareServer, type ServerProcess } from '../support/server.ts';
import { registerAt, type ServerClient } from '../support/server-client.ts';
import { ServerPlace } from '../support/server-place.ts';
import { lineWriter } from './line-writer.ts';
import { type Departure, RoamingSubscriber } from './roaming-subscriber.ts';

const SEED = Number(process.env.WINDFLOW_CRASH_SEED ?? 1);
const LINES_PER_SECOND = 2_000;
const LINES = 15 * LINES_PER_SECOND;
const DEPARTURES = 200;
const EXIT_CODE = 7;
const DEADLINE_MS = 240_000;

const MESSAGES = Array.from({ length: LINES }, (_, index) => `line ${index + 1}`);

it(`should show every line once and in order on three servers, whoever is killed and wherever one goes on (seed ${SEED})`, async () => {
  await using fleet = await startFleet();
  const { database, subscribers, client, deploymentId } = fleet;
  await fleet.untilAllHave(0.3);
  await killHolder(fleet.servers);
  await fleet.untilAllHave(0.6);
  await killHolder(fleet.servers);
  await fleet.untilComplete();
  await expectWhole(subscribers, client, deploymentId);
  expect(await listeners(database)).toBe(fleet.servers.length);
});

it.skipIf(!HAS_REDIS)(
  `should show every line once and in order over Redis too, which goes away meanwhile (seed ${SEED})${REDIS_NEEDED}`,
  async () => {
    await using redis = await startRedis();
    await using fleet = await startFleet(redis);
    const { database, subscribers, client, deploymentId, servers } = fleet;
    await using probe = new Probe(redis);
    expect(await probe.subscriptions()).toBe(servers.length);
    await fleet.untilAllHave(0.2);
    await killHolder(servers);
    expect(await probe.published()).toBeGreaterThan(0);
    await fleet.untilAllHave(0.4);
    await redis.stop();
    await eventually('every server says that it is degraded', () => allHave(servers, { ok: true, degraded: true }));
    await fleet.untilAllHave(0.6);
    await redis.start();
    await eventually('every server is well again', () => allHave(servers, { ok: true, detail: 'Redis' }));
    expect(await probe.subscriptions()).toBe(servers.length);
    await killHolder(servers);
    await fleet.untilComplete();
    await expectWhole(subscribers, client, deploymentId);
    expect(await listeners(database)).toBe(0);
  },
);

type Fleet = AsyncDisposable & {
  database: TestDatabase;
  servers: ServerProcess[];
  subscribers: RoamingSubscriber[];
  client: ServerClient;
  deploymentId: string;
  /** Resolves once every subscriber has this share of the lines. */
  untilAllHave(share: number): Promise<void>;
  untilComplete(): Promise<void>;
};

/** Three servers of one database and one host, a service that writes, and subscribers that begin on each of the servers. */
async function startFleet(redis?: RedisServer): Promise<Fleet> {
  await using started = new AsyncDisposableStack();
  const database = started.use(await createTestDatabase());
  const place = started.use(new ServerPlace());
  const env = redis && { REDIS_URL: redis.url };
  const options = { databaseUrl: connectionUrl(database.connection), place, ...(env && { env }) };
  const servers: ServerProcess[] = [];
  for (let count = 0; count < 3; count++) servers.push(started.use(await prepareServer(options)));
  await Promise.all(servers.map((server) => server.start()));

  const client = await registerAt(servers[0]!);
  const { organizationId, environmentId } = await client.createEnvironment();
  const compose = lineWriter({ linesPerSecond: LINES_PER_SECOND, lines: LINES, streams: [1], exitCode: EXIT_CODE });
  const stackId = await client.createStack(organizationId, 'writer', compose);
  const deploymentId = await client.deploy(stackId, environmentId);
  const random = seededRandom(SEED);
  const subscribers = servers.map((first, index) => {
    const count = Math.floor(((index + 1) * DEPARTURES) / 3) - Math.floor((index * DEPARTURES) / 3);
    const departures = Array.from({ length: count }, () => random.below(0.95 * LINES)).toSorted((a, b) => a - b);
    const roaming = { token: client.token, deploymentId, random: seededRandom(SEED + index + 1), departures };
    return started.use(new RoamingSubscriber(servers, first, roaming));
  });
  // One that stays where the lines are stored, until that server is killed.
  const home = await eventually('a server works for the host', () => findHolder(servers));
  const loyal = { token: client.token, deploymentId, random: seededRandom(SEED), departures: [] };
  subscribers.push(started.use(new RoamingSubscriber(servers, home, loyal)));
  const stack = started.move();
  const each = (what: string, has: (subscriber: RoamingSubscriber) => boolean) =>
    eventually(what, () => subscribers.every(has), { deadlineMs: DEADLINE_MS });
  return {
    database,
    servers,
    subscribers,
    client,
    deploymentId,
    untilAllHave: async (share) => {
      await each(`${share} of the lines`, ({ lines }) => lines.length >= share * LINES);
    },
    untilComplete: async () => {
      await client.until(deploymentId, ['DEGRADED'], DEADLINE_MS);
      await client.stop(deploymentId);
      await each('the end of all subscriptions', ({ isComplete }) => isComplete);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The server that works for the host. */
async function findHolder(servers: readonly ServerProcess[]): Promise<ServerProcess | null> {
  for (const server of servers)
    if ((await parts(server)).processRuntime?.detail?.startsWith('this server')) return server;
  return null;
}

/** Kills the server that works for the host, and starts it again once another one does. */
async function killHolder(servers: readonly ServerProcess[]): Promise<void> {
  const holder = await eventually('a server works for the host', () => findHolder(servers));
  await holder.kill9();
  await eventually('another one works for the host', () => findHolder(servers.filter((server) => server !== holder)));
  await holder.start();
}

type Part = { ok: boolean; degraded?: boolean; detail?: string };

async function parts(server: ServerProcess): Promise<Record<string, Part>> {
  const response = await fetch(server.url.replace('/graphql', '/health/ready'));
  return (await response.json()).parts;
}

async function allHave(servers: readonly ServerProcess[], wakeUps: Part): Promise<boolean> {
  for (const server of servers) {
    const response = await fetch(server.url.replace('/graphql', '/health/ready'));
    const part = (await response.json()).parts.wakeUps;
    if (response.status !== 200 || part.degraded !== wakeUps.degraded) return false;
    if (wakeUps.detail !== undefined && part.detail !== wakeUps.detail) return false;
  }
  return true;
}

async function expectWhole(subscribers: readonly RoamingSubscriber[], client: ServerClient, id: string): Promise<void> {
  const stored = await client.storedLines(id);
  for (const { lines, missed, refusals } of subscribers) {
    expect(lines.findIndex(({ sequence }, index) => sequence !== index + 1)).toBe(-1);
    const own = lines.filter(({ stream }) => stream === 'STDOUT').map(({ message }) => message);
    expect(own.findIndex((message, index) => message !== MESSAGES[index])).toBe(-1);
    expect([own.length, lines.length, missed, refusals]).toEqual([LINES, stored.length, 0, []]);
    expect(lines).toEqual(stored);
  }
  const departures = Map.groupBy(
    subscribers.flatMap((subscriber) => subscriber.departures),
    (departure) => departure,
  );
  const count = (departure: Departure) => departures.get(departure)?.length ?? 0;
  expect(count('left') + count('cut')).toBe(DEPARTURES);
  expect(Math.min(count('left'), count('cut'))).toBeGreaterThan(0);
  expect(subscribers.at(-1)!.departures).toContain('lost');
}

/** How many servers hear of the database's own wake-ups. */
async function listeners({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*)::int from pg_stat_activity where application_name = 'windflow-bus' and datname = current_database()`,
  );
  return rows[0]!.count;
}

/** What Redis itself knows of the servers. */
class Probe implements AsyncDisposable {
  readonly #redis: Redis;

  constructor({ url }: RedisServer) {
    this.#redis = new Redis(url);
    this.#redis.on('error', () => undefined);
  }

  async subscriptions(): Promise<number> {
    return Number((await this.#redis.pubsub('NUMSUB', 'windflow'))[1]);
  }

  async published(): Promise<number> {
    return Number(/cmdstat_publish:calls=(\d+)/.exec(await this.#redis.info('commandstats'))?.[1] ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#redis.disconnect();
  }
}
