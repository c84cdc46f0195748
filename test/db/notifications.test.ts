import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClaimedDelivery, claimDeliveries, storeOutcome } from '../../src/modules/notifications/claim.ts';
import { sealConfiguration } from '../../src/modules/notifications/configuration.ts';
import { createDeliver, MAX_DELIVERY_ATTEMPTS } from '../../src/modules/notifications/deliver.ts';
import {
  DELIVERY_RETENTION_MS,
  MAX_MESSAGE_LENGTH,
  notify,
  outcomeOf,
  pruneDeliveries,
} from '../../src/modules/notifications/deliveries.ts';
import { tellChannels } from '../../src/modules/notifications/outbox.ts';
import { NotificationWorker } from '../../src/modules/notifications/worker.ts';
import type { Bus } from '../../src/realtime/bus.ts';
import type { NewEvent } from '../../src/realtime/event-log.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { createKeyring } from '../../src/shared/crypto.ts';
import { GuardedHttp } from '../../src/shared/guarded-http.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { newSecret } from '../../src/shared/standard-webhooks.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { HttpSink } from '../support/http-sink.ts';
import { storeEvents } from '../support/stored-events.ts';

const log = createLogger('silent');
const keyring = createKeyring(randomBytes(32));
const LIMIT = 50;

let database: TestDatabase;
let bus: Bus;
let sink: HttpSink;
let organizationId: string;
beforeAll(async () => {
  database = await createTestDatabase();
  bus = createPostgresBus(database.connection, log);
  await bus.start();
  sink = await HttpSink.start();
});
afterAll(async () => {
  await sink?.[Symbol.asyncDispose]();
  await bus?.close();
  await database?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  organizationId = newId();
  await database.prisma.organization.create({ data: { id: organizationId, slug: organizationId, name: 'Acme' } });
});
afterEach(async () => {
  await database.prisma.organization.deleteMany();
});

async function newChannel({ eventTypes = [] as string[], path = '/hook' } = {}): Promise<string> {
  const id = newId();
  const configuration = { kind: 'WEBHOOK' as const, url: sink.url(path), secret: newSecret() };
  await database.prisma.notificationChannel.create({
    data: {
      ...{ id, organizationId, name: id, kind: 'WEBHOOK', eventTypes, target: sink.url('') },
      configuration: sealConfiguration(keyring, id, configuration),
    },
  });
  await database.prisma.notificationCursor.createMany({
    data: { organizationId, sequence: 0 },
    skipDuplicates: true,
  });
  return id;
}
const stackEvent = (name: string): NewEvent => ({
  organizationId,
  type: 'stack.created',
  actor: null,
  subject: { type: 'stack', id: newId() },
  data: { name },
});
const tell = (channelId: string, message: string, key = message) =>
  notify(database.pool, { organizationId, channelId, message, key });
const claim = () => claimDeliveries(database.pool, LIMIT);
const expire = (id: string) =>
  database.pool.query(`update notification_deliveries set claimed_until = now() - interval '1 s' where id = $1`, [id]);
const deliveries = (channelId: string) =>
  database.prisma.notificationDelivery.findMany({
    where: { channelId },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  });

/** Works as the holder of a host's lease does, until it is disposed of. */
function startWorker(firstRetryMs = 1): AsyncDisposable {
  const http = new GuardedHttp(['127.0.0.1']);
  const deliver = createDeliver({ pool: database.pool, keyring, http, log, firstRetryMs });
  const lease = { hostId: newId(), epoch: 1, signal: new AbortController().signal };
  const worker = new NotificationWorker({ pool: database.pool, bus, log, deliver }, lease);
  worker.start();
  return { [Symbol.asyncDispose]: () => worker.close() };
}

describe('a message of the server’s own', () => {
  it('should be added once for each key and channel', async () => {
    const [one, two] = [await newChannel(), await newChannel()];
    const ids = await Promise.all([1, 2, 3, 4].map(() => tell(one, 'hello', 'run:step')));
    expect(new Set(ids).size).toBe(1);
    expect(await tell(two, 'hello', 'run:step')).not.toBe(ids[0]);
    expect(await deliveries(one)).toMatchObject([{ id: ids[0], message: 'hello', eventType: 'notification.message' }]);
    expect(await outcomeOf(database.pool, ids[0]!)).toEqual({ status: 'PENDING', error: null });
  });

  it('should go to channels of the organization alone', async () => {
    const channelId = await newChannel();
    const foreign = { organizationId: newId(), channelId, message: 'hello', key: 'x' };
    await expect(notify(database.pool, foreign)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(tell(newId(), 'hello')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(notify(database.pool, { ...foreign, channelId: null })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await deliveries(channelId)).toEqual([]);
    expect(await outcomeOf(database.pool, newId())).toEqual({ status: 'FAILED', error: 'the channel was deleted' });
  });

  it('should not be empty', async () => {
    const channelId = await newChannel();
    for (const message of ['', ' \n'])
      await expect(tell(channelId, message)).rejects.toMatchObject({ code: 'VALIDATION_ERROR' });
    expect(await deliveries(channelId)).toEqual([]);
  });

  it('should be cut where it is too long', async () => {
    const channelId = await newChannel();
    await tell(channelId, 'x'.repeat(MAX_MESSAGE_LENGTH + 1));
    expect((await deliveries(channelId))[0]!.message).toHaveLength(MAX_MESSAGE_LENGTH);
  });
});

describe('a claim', () => {
  it('should be one server’s alone, until it is over', async () => {
    const channelId = await newChannel();
    const id = await tell(channelId, 'hello');
    const claims = (await Promise.all([claim(), claim(), claim()])).flat();
    expect(claims).toMatchObject([{ id, attempts: 1, channelId, organizationId, message: 'hello' }]);
    expect(await claim()).toEqual([]);
    await expire(id);
    const again = await claim();
    expect(again).toMatchObject([{ id, attempts: 2 }]);

    await storeOutcome(database.pool, claims[0]!, { status: 'FAILED', error: 'too late' });
    expect(await outcomeOf(database.pool, id)).toEqual({ status: 'PENDING', error: null });
    await storeOutcome(database.pool, again[0]!, { status: 'SENT', error: null });
    expect(await deliveries(channelId)).toMatchObject([
      { status: 'SENT', sentAt: expect.any(Date), claimedUntil: null },
    ]);
    await storeOutcome(database.pool, again[0]!, { status: 'FAILED', error: 'twice' });
    expect((await outcomeOf(database.pool, id)).status).toBe('SENT');
  });

  it('should take the oldest of each channel, and none beside it', async () => {
    const channels = [await newChannel(), await newChannel()];
    for (const message of ['1', '2', '3']) for (const channelId of channels) await tell(channelId, message);
    const told = new Map(channels.map((id) => [id, '']));
    for (let round = 0; round < 3; round++) {
      const claims: ClaimedDelivery[] = (await Promise.all([claim(), claim()])).flat();
      expect(claims.map(({ channelId }) => channelId).toSorted()).toEqual(channels.toSorted());
      for (const { channelId, message } of claims) told.set(channelId, told.get(channelId) + message);
      await Promise.all(claims.map((one) => storeOutcome(database.pool, one, { status: 'SENT', error: null })));
    }
    expect([...told.values()]).toEqual(['123', '123']);
    expect(await claim()).toEqual([]);
  });

  it('should let others pass while one waits for its next attempt', async () => {
    const channelId = await newChannel();
    const [first, second] = [await tell(channelId, '1'), await tell(channelId, '2')];
    const [claimed] = await claim();
    await storeOutcome(database.pool, claimed!, { status: 'PENDING', error: 'it answered 500', delayMs: 60_000 });
    expect(await claim()).toMatchObject([{ id: second }]);
    expect(await outcomeOf(database.pool, first)).toEqual({ status: 'PENDING', error: 'it answered 500' });
  });
});

describe('events', () => {
  it('should become deliveries once and in order, whoever looks', async () => {
    const [all, some, none] = [
      await newChannel({ eventTypes: ['stack.*', 'stack.created'] }),
      await newChannel({ eventTypes: ['stack.deleted'] }),
      await newChannel(),
    ];
    const names = Array.from({ length: 1_200 }, (_, index) => `stack ${index}`);
    for (let at = 0; at < names.length; at += 100)
      await storeEvents(database.pool, names.slice(at, at + 100).map(stackEvent));
    const heads = async () =>
      (await database.prisma.notificationCursor.findUniqueOrThrow({ where: { organizationId } })).sequence;
    while ((await heads()) < BigInt(names.length)) await Promise.all([1, 2, 3].map(() => tellChannels(database.pool)));
    const told = await deliveries(all);
    expect(told.map(({ message }) => message.split('\n')[0])).toEqual(names.map((name) => `stack.created: ${name}`));
    expect(await deliveries(some)).toEqual([]);
    expect(await deliveries(none)).toEqual([]);
    const { rows } = await database.pool.query('select id from events where organization_id = $1 order by sequence', [
      organizationId,
    ]);
    expect(told.map(({ eventId }) => eventId)).toEqual(rows.map(({ id }) => id));
  });

  it('should be told with what was asked when they happened, whatever became of it since', async () => {
    const channelId = await newChannel({ eventTypes: ['execution.*'] });
    const executionId = newId();
    await database.pool.query(
      `insert into executions (id, organization_id, kind, definition, deadline_at) values ($1, $2, 'WORKFLOW', '{"name":"Release"}', now())`,
      [executionId, organizationId],
    );
    const times = [
      ['over', -2, -1],
      ['open', -1, null],
      ['decided', -1, 1],
      ['later', 1, null],
    ];
    await database.pool.query(
      `insert into execution_steps (id, execution_id, position, key, kind, approval, started_at, finished_at)
       select gen_random_uuid(), $1, t.position, t.value->>0, 'approval', jsonb_build_object('message', t.value->>0 || '?'),
              now() + make_interval(hours => (t.value->>1)::int), now() + make_interval(hours => (t.value->>2)::int)
       from jsonb_array_elements($2) with ordinality t(value, position)`,
      [executionId, JSON.stringify(times)],
    );
    const data = { status: 'WAITING', kind: 'WORKFLOW' };
    const subject = { type: 'Execution', id: executionId };
    await storeEvents(database.pool, [{ organizationId, type: 'execution.waiting', actor: null, subject, data }]);
    await tellChannels(database.pool);
    const [told] = await deliveries(channelId);
    expect(told!.message.split('\n')).toEqual([
      'execution.waiting: Release (workflow)',
      expect.any(String),
      'open: open?',
      'decided: decided?',
    ]);
  });

  it('should not be told of what was before', async () => {
    await storeEvents(database.pool, [stackEvent('one'), stackEvent('two')]);
    const channelId = await newChannel({ eventTypes: ['stack.*'] });
    await database.prisma.notificationChannel.update({ where: { id: channelId }, data: { followsAfter: 1 } });
    await tellChannels(database.pool);
    expect((await deliveries(channelId)).map(({ message }) => message.split('\n')[0])).toEqual(['stack.created: two']);
  });
});

describe('a worker', () => {
  it('should try again what the receiver could not take, under the same id', async () => {
    sink.answers['/weak'] = [{ status: 500 }, { status: 429 }, { status: 204 }];
    const channelId = await newChannel({ path: '/weak' });
    await using _ = startWorker();
    const id = await tell(channelId, 'hello');
    await eventually('it is sent', async () => (await outcomeOf(database.pool, id)).status === 'SENT');
    expect(await deliveries(channelId)).toMatchObject([{ status: 'SENT', attempts: 3, error: null }]);
    const received = sink.under('/weak');
    expect(received).toHaveLength(3);
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(received.map(({ body }) => body)).size).toBe(1);
  });

  it('should give up in the end, with the reason', async () => {
    sink.answers['/down'] = [{ status: 503 }];
    const channelId = await newChannel({ path: '/down' });
    await using _ = startWorker(0);
    const id = await tell(channelId, 'hello');
    await eventually('it is given up', async () => (await outcomeOf(database.pool, id)).status === 'FAILED');
    expect(sink.under('/down')).toHaveLength(MAX_DELIVERY_ATTEMPTS);
    expect((await outcomeOf(database.pool, id)).error).toBe(
      'given up after 8 attempts: it answered 503 Service Unavailable',
    );
  });

  it('should go on with what another one left', async () => {
    const channelId = await newChannel({ path: '/left' });
    const id = await tell(channelId, 'hello');
    expect(await claim()).toMatchObject([{ id }]);
    await expire(id);
    await using _ = startWorker();
    await eventually('it is sent', async () => (await outcomeOf(database.pool, id)).status === 'SENT');
    expect(sink.under('/left')).toHaveLength(1);
    expect(await deliveries(channelId)).toMatchObject([{ attempts: 2 }]);
  });

  it('should send events of two workers’ making once each, in order', async () => {
    const channelId = await newChannel({ eventTypes: ['stack.*'], path: '/ordered' });
    await using _one = startWorker();
    await using _two = startWorker();
    const names = Array.from({ length: 30 }, (_, index) => `stack ${index}`);
    for (const name of names) await storeEvents(database.pool, [stackEvent(name)]);
    await eventually('all are there', () => sink.under('/ordered').length >= names.length);
    expect(sink.under('/ordered').map(({ body }) => JSON.parse(body).data.name)).toEqual(names);
    await eventually('all are stored', async () =>
      (await deliveries(channelId)).every(({ status, attempts }) => status === 'SENT' && attempts === 1),
    );
  });
});

it('should keep deliveries for their time', async () => {
  const channelId = await newChannel();
  await tell(channelId, 'old');
  const { createdAt } = (await deliveries(channelId))[0]!;
  const after = (ms: number) => new Date(createdAt.getTime() + DELIVERY_RETENTION_MS + ms);
  await pruneDeliveries(database.pool, after(-1));
  expect(await deliveries(channelId)).toHaveLength(1);
  await pruneDeliveries(database.pool, after(1));
  expect(await deliveries(channelId)).toEqual([]);
});
