import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { connectDatabase } from '../../src/db/client.ts';
import type { Bus } from '../../src/realtime/bus.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { createRedisBus, type Liveness } from '../../src/realtime/redis-bus.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { openCuttableConnection } from '../support/cut-connection.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/free-port.ts';
import { HAS_REDIS, REDIS_NEEDED, type RedisServer, startRedis } from '../support/redis-server.ts';
import { type BusInstance, describeBus, LONG_MS, untilWoken } from './bus-contract.ts';

const log = createLogger('silent');
let database: TestDatabase;
let redis: RedisServer;
beforeAll(async () => {
  database = await createTestDatabase();
  if (HAS_REDIS) redis = await startRedis();
});
afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

async function startInstance(bus: Bus): Promise<BusInstance> {
  await bus.start();
  const own = connectDatabase(database.connection, log, bus.announce);
  return {
    bus,
    database: own,
    async [Symbol.asyncDispose]() {
      await own.close();
      await bus.close();
    },
  };
}

const startOnRedis = (url = redis.url, liveness?: Liveness) => startInstance(createRedisBus(url, log, liveness));

describeBus('a bus over PostgreSQL', () => ({
  startInstance: () => startInstance(createPostgresBus(database.connection, log)),
  breakConnections: async () => {
    await database.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'windflow-bus' and datname = current_database()",
    );
  },
}));

describeBus(
  `a bus over Redis${REDIS_NEEDED}`,
  () => ({
    startInstance: startOnRedis,
    breakConnections: async () => {
      await redis.stop();
      await redis.start();
    },
  }),
  !HAS_REDIS,
);

it('should tell at the start that the database cannot be reached', async () => {
  const bus = createPostgresBus({ host: '127.0.0.1', port: 1, user: 'nobody', password: 'none' }, log);
  await expect(bus.start()).rejects.toThrow();
  await bus.close();
});

describe.skipIf(!HAS_REDIS)(`a bus over a Redis that is away${REDIS_NEEDED}`, () => {
  it('should start, wake its own instance at once, and connect when Redis comes', async () => {
    await using late = await startRedis();
    await late.stop();
    await using first = await startOnRedis(late.url);
    await using second = await startOnRedis(late.url);
    expect([first.bus.isConnected, second.bus.isConnected]).toEqual([false, false]);
    using own = first.bus.watch(['log:1']);
    using other = second.bus.watch(['log:1']);
    await first.bus.notify(first.database.pool, 'log:1');
    expect([...(await own.wait(LONG_MS))]).toEqual(['log:1']);
    expect([...(await other.wait(10))]).toEqual([]);
    await late.start();
    await untilWoken(other, ['log:1']);
    await vi.waitFor(() => expect([first.bus.isConnected, second.bus.isConnected]).toEqual([true, true]), LONG_MS);
  });

  it('should wake everyone elsewhere for what an instance could not send', async () => {
    await using second = await startOnRedis();
    await using lame = await startRedis();
    await lame.stop();
    await using first = await startOnRedis(lame.url);
    await first.bus.notify(first.database.pool, 'log:2');
    using watch = second.bus.watch(['log:other']);
    await using _way = await openCuttableConnection(redis.url, lame.port);
    await untilWoken(watch, ['log:other']);
  });

  it('should notice a Redis that does not answer any more, and go on with it once it does', async () => {
    await using mute = await startRedis();
    await using first = await startOnRedis(mute.url, { heartbeatMs: 50, answerMs: 100 });
    using watch = first.bus.watch(['log:3']);
    mute.pause();
    await vi.waitFor(() => expect(first.bus.isConnected).toBe(false), LONG_MS);
    mute.resume();
    await untilWoken(watch, ['log:3']);
    expect(first.bus.isConnected).toBe(true);
  });

  it('should end while it cannot connect', async () => {
    const bus = createRedisBus(`redis://127.0.0.1:${await freePort()}`, log);
    await bus.start();
    await bus.close();
    expect(bus.isConnected).toBe(false);
  });
});
