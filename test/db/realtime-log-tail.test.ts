import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bus } from '../../src/realtime/bus.ts';
import { type LogFilter, selectorOf } from '../../src/realtime/log-filter.ts';
import { followLog } from '../../src/realtime/log-follower.ts';
import { LOG_LEVELS, LOG_STREAMS, type LogLine, type NewLogLine } from '../../src/realtime/log-line.ts';
import { appendLines, LogStore, logTopic } from '../../src/realtime/log-store.ts';
import { createLogTails, narrowed } from '../../src/realtime/log-tail.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import type { SharedTails } from '../../src/realtime/shared-tail.ts';
import type { SqlExecutor } from '../../src/realtime/sql.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { seededRandom } from '../support/seeded-random.ts';

const START = Date.UTC(2026, 10, 22);
const LINES = 300;
const everything = Number.MAX_SAFE_INTEGER;
/** Characters whose lower case is another character, or several, are among them. */
const WORDS = [
  'GET',
  'post',
  '100%',
  'a_b',
  'back\\slash',
  'Größe',
  'ÜBER',
  'ΣΟΦΟΣ',
  '273 \u212a',
  '\u0130stanbul',
  'ſo',
];

let database: TestDatabase;
let bus: Bus;
/** How often lines were read. */
let reads = 0;
let store: LogStore;
let tails: SharedTails<LogLine>;
beforeAll(async () => {
  database = await createTestDatabase();
  bus = createPostgresBus(database.connection, createLogger('silent'));
  await bus.start();
  const counting: SqlExecutor = {
    query(text, values) {
      if (text.includes('from log_lines')) reads++;
      return database.pool.query(text, values);
    },
  };
  store = new LogStore(counting);
  tails = createLogTails(store, bus);
});
afterAll(async () => {
  await bus?.close();
  await database?.[Symbol.asyncDispose]();
});

async function append(deploymentId: string, lines: Partial<NewLogLine>[], isAnnounced = true): Promise<void> {
  const line = { instanceId: null, service: 'web', replica: 1, stream: 'STDOUT', level: 'INFO', message: '' } as const;
  const client = await database.pool.connect();
  await client.query('begin');
  await appendLines(
    client,
    deploymentId,
    lines.map((more) => ({ ...line, occurredAt: START, isPartial: false, dropped: 0, ...more })),
  );
  if (isAnnounced) await bus.notify(client, logTopic(deploymentId));
  await client.query('commit');
  client.release();
}

function follow(deploymentId: string, filter: LogFilter | null) {
  const end = new AbortController();
  const messages: string[] = [];
  let missed = 0;
  let isLive = false;
  let isFinal = false;
  const following = followLog({
    deploymentId,
    store,
    tails,
    bus,
    filter,
    authorize: async () => undefined,
    isFinal: async () => isFinal,
    signal: end.signal,
  });
  const done = (async () => {
    for await (const batch of following) {
      isLive = batch.live;
      missed += batch.missed;
      messages.push(...batch.lines.map(({ message }) => message));
    }
  })();
  return {
    messages,
    missed: () => missed,
    isLive: () => isLive,
    /** Resolves once it has ended by itself, as soon as somebody says that the deployment is final. */
    untilEnd: () => {
      isFinal = true;
      return done;
    },
    stop: () => {
      end.abort();
      return done;
    },
  };
}

describe('lines at hand', () => {
  it('should be taken by a filter exactly where the database takes them', async () => {
    const deploymentId = newId();
    const random = seededRandom(5);
    await append(
      deploymentId,
      Array.from({ length: LINES }, (_, index) => ({
        occurredAt: START + index * 1_000,
        service: random.pick(['web', 'db', null]),
        stream: random.pick(LOG_STREAMS),
        level: random.pick(LOG_LEVELS),
        message: `${random.pick(WORDS)} ${random.pick(WORDS)}`,
        dropped: index % 20 === 0 ? 2 : 0,
      })),
    );
    const all = await store.read({ deploymentId, limit: everything });
    const time = fc.integer({ min: -10, max: LINES + 10 }).map((second) => new Date(START + second * 1_000));
    const ascii = fc.oneof(
      fc.constantFrom('get', 'K', 'i', 's', 'SO', '%', '_', '\\', 'o', ' ', '273 k'),
      fc.string({ maxLength: 3 }).filter((text) => !text.includes('\0')),
    );
    const filters = fc.record(
      {
        services: fc.subarray(['web', 'db', 'nobody']),
        streams: fc.subarray([...LOG_STREAMS]),
        minLevel: fc.constantFrom(...LOG_LEVELS),
        search: ascii,
        since: time,
        until: time,
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(filters, fc.integer({ min: 0, max: LINES }), async (filter, after) => {
        const items = all.lines.filter(({ sequence }) => sequence > after);
        const page = narrowed({ items, through: LINES, isNewest: true }, selectorOf(filter)!);
        const { lines, through, complete, dropped } = await store.read({ deploymentId, after, filter, limit: 500 });
        expect(page).toEqual({ lines, through, complete, dropped, pruned: 0 });
      }),
      { numRuns: 200 },
    );
    expect(selectorOf({ search: 'größe' })).toBe(null);
  });
});

describe('followers of one log that want different lines', () => {
  it('should share what is read, and each be told what it wants', async () => {
    const deploymentId = newId();
    await append(deploymentId, [{ message: 'first' }]);
    const filters: (LogFilter | null)[] = [
      null,
      { streams: ['STDERR'] },
      { services: ['db'] },
      { search: 'ERROR' },
      { minLevel: 'WARN' },
    ];
    const followers = filters.map((filter) => follow(deploymentId, filter));
    await eventually('all to be live', () => followers.every(({ isLive }) => isLive()));
    const written: Partial<NewLogLine>[] = [];
    const before = reads;
    const rounds = 20;
    for (let round = 0; round < rounds; round++) {
      const lines: Partial<NewLogLine>[] = [
        { message: `plain ${round}` },
        { message: `error ${round}`, stream: 'STDERR', level: 'ERROR' },
        { message: `of the database ${round}`, service: 'db', dropped: 1 },
      ];
      written.push(...lines);
      await append(deploymentId, lines);
      await eventually('all lines', () => followers[0]!.messages.length === 1 + written.length);
    }
    const errors = written.flatMap(({ message }) => (message!.startsWith('error') ? [message] : []));
    const ofDatabase = written.flatMap(({ message }) => (message!.startsWith('of') ? [message] : []));
    const expected = [['first', ...written.map(({ message }) => message)], errors, ofDatabase, errors, errors];
    await eventually('what each wants', () =>
      followers.every(({ messages }, i) => messages.length === expected[i]!.length),
    );
    expect(followers.map(({ messages }) => messages)).toEqual(expected);
    // Twice where one was announced while another was read.
    expect(reads - before).toBeLessThanOrEqual(2 * rounds);
    // Lost lines are told to who reads their service, with the next batch.
    await append(deploymentId, [{ message: 'error of the database', service: 'db', level: 'ERROR', stream: 'STDERR' }]);
    await eventually('the last', () => followers.every(({ messages }) => messages.at(-1) === 'error of the database'));
    expect(followers.map(({ missed }) => missed())).toEqual(filters.map(() => rounds));
    await Promise.all(followers.map(({ stop }) => stop()));
  });

  it('should be told the last lines of a deployment that is final, though their announcement was lost', async () => {
    const deploymentId = newId();
    await append(deploymentId, [{ message: 'first' }]);
    const followers = [null, { streams: ['STDOUT'] } as const].map((filter) => follow(deploymentId, filter));
    await eventually('all to be live', () => followers.every(({ isLive }) => isLive()));
    await append(deploymentId, [{ message: 'second' }]);
    await eventually('the second', () => followers.every(({ messages }) => messages.length === 2));
    await append(deploymentId, [{ message: 'last' }], false);
    const ends = followers.map(({ untilEnd }) => untilEnd());
    await bus.notify(database.pool, `deployment:${deploymentId}`);
    await Promise.all(ends);
    expect(followers.map(({ messages }) => messages)).toEqual(followers.map(() => ['first', 'second', 'last']));
  });

  it('should be told how many lines retention took before they got to them', async () => {
    const deploymentId = newId();
    await append(deploymentId, [{ message: 'first' }]);
    const followers = [null, { streams: ['STDOUT'] } as const].map((filter) => follow(deploymentId, filter));
    await eventually('all to be live', () => followers.every(({ isLive }) => isLive()));
    const client = await database.pool.connect();
    await client.query('begin');
    await client.query('update log_heads set first_sequence = 5, last_sequence = 4 where deployment_id = $1', [
      deploymentId,
    ]);
    await client.query('commit');
    client.release();
    await append(deploymentId, [{ message: 'after it' }]);
    await eventually('what came after', () => followers.every(({ messages }) => messages.at(-1) === 'after it'));
    expect(followers.map(({ missed }) => missed())).toEqual([3, 3]);
    await Promise.all(followers.map(({ stop }) => stop()));
  });
});
