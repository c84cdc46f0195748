import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_LINES, summarizeLogs } from '../../src/realtime/log-blocks.ts';
import type { LogFilter } from '../../src/realtime/log-filter.ts';
import { LOG_LEVELS, LOG_STREAMS } from '../../src/realtime/log-line.ts';
import { LogStore, SCAN_WINDOW } from '../../src/realtime/log-store.ts';
import type { SqlExecutor } from '../../src/realtime/sql.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type StoredLine, storeLog } from '../support/long-log.ts';
import { seededRandom } from '../support/seeded-random.ts';

const LINES = 3 * SCAN_WINDOW + 300;
/** What retention has taken of it: into the midst of a block. */
const FIRST = 1_501;
const START = Date.UTC(2026, 10, 22);
const WORDS = [
  'GET',
  'post',
  '/orders',
  '100%',
  'a_b',
  'back\\slash',
  'Größe',
  'ÜBER',
  'ΣΟΦΟΣ',
  'σ',
  '{"k":1}',
  '😀',
  'ÿ',
];
const everything = Number.MAX_SAFE_INTEGER;

let database: TestDatabase;
let store: LogStore;
let deploymentId: string;
let lines: StoredLine[];
beforeAll(async () => {
  database = await createTestDatabase();
  store = new LogStore(database.pool);
  const random = seededRandom(14);
  ({ deploymentId, lines } = await storeLog(database.pool, LINES, (sequence) => ({
    occurredAt: new Date(START + sequence * 1_000 - random.below(60_000)),
    service: random.pick(['web', 'web', 'web', 'db', null]) ?? (sequence % 9_000 === 0 ? 'rare' : null),
    stream: random.pick(LOG_STREAMS.slice(0, sequence % 7_001 === 0 ? 3 : 2)),
    level: random.pick(LOG_LEVELS.slice(0, sequence % 5_003 < 3 ? 4 : 3)),
    message: `${random.pick(WORDS)} ${random.pick(WORDS)}${random.below(1e6).toString(36)} ${random.pick(WORDS)}`,
    dropped: sequence % 4_001 === 0 ? 3 : 0,
  })));
  await database.pool.query('update log_heads set first_sequence = $2 where deployment_id = $1', [deploymentId, FIRST]);
  await database.pool.query('delete from log_lines where deployment_id = $1 and sequence < $2', [deploymentId, FIRST]);
  await summarize();
});
afterAll(async () => database?.[Symbol.asyncDispose]());

async function summarize(): Promise<number> {
  const client = await database.pool.connect();
  try {
    return await summarizeLogs(client, new AbortController().signal);
  } finally {
    client.release();
  }
}

const isAscii = (text: string) => /^[\x00-\x7f]*$/.test(text);
const folded = (text: string, search: string) =>
  isAscii(search) ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text.toLowerCase();

/** What the filter says, without a database. */
function matches(filter: LogFilter, line: StoredLine): boolean {
  const { services, streams, minLevel, search, since, until } = filter;
  if (services && !services.includes(line.service ?? '')) return false;
  if (streams && !streams.includes(line.stream)) return false;
  if (minLevel && LOG_LEVELS.indexOf(line.level) < LOG_LEVELS.indexOf(minLevel)) return false;
  if (since && line.occurredAt < since) return false;
  if (until && line.occurredAt > until) return false;
  return !search || folded(line.message, search).includes(folded(search, search));
}

const concerns = ({ services }: LogFilter, line: StoredLine) =>
  line.dropped > 0 && (!services || services.includes(line.service ?? ''));

const someTime = fc.integer({ min: -100, max: LINES + 100 }).map((sequence) => new Date(START + sequence * 1_000));
const search = fc.oneof(
  fc.constantFrom(...WORDS, 'a', '% ', '\\', 'ς', '\u0307', 'not in any line', 'get post'),
  fc
    .tuple(fc.nat(LINES - 1), fc.nat(30), fc.integer({ min: 1, max: 20 }), fc.boolean())
    .map(([index, from, length, upper]) => {
      const part = [...lines[index]!.message].slice(from, from + length).join('');
      return upper ? part.toUpperCase() : part;
    }),
);
const someFilter: fc.Arbitrary<LogFilter> = fc.record(
  {
    services: fc.constantFrom(['rare'], ['db', 'rare'], ['web'], ['nobody'], []),
    streams: fc.constantFrom(['SYSTEM' as const], ['STDERR' as const, 'SYSTEM' as const], []),
    minLevel: fc.constantFrom('ERROR' as const, 'WARN' as const),
    search,
    since: someTime,
    until: someTime,
  },
  { requiredKeys: [] },
);
const somePlace = fc.record({
  direction: fc.constantFrom('forward' as const, 'backward' as const),
  after: fc.option(fc.nat(LINES), { nil: undefined }),
  before: fc.option(fc.nat(LINES + 1), { nil: undefined }),
  limit: fc.constantFrom(1, 7, 200),
});

describe('a search through blocks', () => {
  it('should find exactly what a plain look at every line finds, in both directions', async () => {
    const property = fc.asyncProperty(someFilter, somePlace, async (filter, place) => {
      const { direction, after = 0, before = everything, limit } = place;
      const inPlace = lines.filter(({ sequence }) => sequence >= FIRST && sequence > after && sequence < before);
      const wanted = inPlace.filter((line) => matches(filter, line)).map(({ sequence }) => sequence);
      const page = await store.read({ deploymentId, ...place, filter, scanLimit: everything });
      const ours = page.lines.map(({ sequence }) => sequence);
      if (!page.complete) expect(ours.length).toBeGreaterThan(0);
      const reached = wanted.filter((sequence) =>
        direction === 'forward' ? sequence <= page.through : sequence >= page.through,
      );
      expect(ours).toEqual(reached);
      expect(ours.length).toBeLessThanOrEqual(limit);
      if (!page.complete) return;
      const lost = inPlace.filter((line) => matches(filter, line) || concerns(filter, line));
      expect(page.dropped).toBe(lost.reduce((sum, line) => sum + line.dropped, 0));
    });
    await fc.assert(property, { numRuns: 60 });
  });

  it('should find where the last matching lines begin', async () => {
    const property = fc.asyncProperty(someFilter, fc.constantFrom(1, 10, 300), async (filter, count) => {
      const found = lines.filter((line) => line.sequence >= FIRST && matches(filter, line));
      const expected = found.length < count ? FIRST - 1 : found.at(-count)!.sequence - 1;
      const isUnfiltered = Object.values(filter).every((value) => value === undefined || value === '');
      if (!isUnfiltered) expect(await store.positionOfLast(deploymentId, count, filter)).toBe(expected);
    });
    await fc.assert(property, { numRuns: 30 });
  });

  it('should take letters for the same exactly where a search without blocks does', async () => {
    // Kelvin sign, dotted and dotless i, sigmas, a ligature, letters of which one has two forms.
    const letters = [...'kKKiIİıΣσςßẞẛſsÅåÅìÌ', '\u212a', '\u212b', 'i\u0307', '\u0307'];
    const texts = letters.flatMap((one) => letters.map((other) => `x${one}${other}y`));
    const log = await storeLog(database.pool, SCAN_WINDOW + 12_000, (sequence) => ({
      ...lines[0]!,
      message: sequence % 10 === 0 ? texts[(sequence / 10) % texts.length]! : '-',
    }));
    const found = async (text: string) => {
      const query = { deploymentId: log.deploymentId, filter: { search: text }, limit: LINES, scanLimit: everything };
      return (await store.read(query)).lines.map(({ sequence }) => sequence);
    };
    const searches = [...'k\u212ai\u0307İıΣςσßẞsåÌ', 'i\u0307', 'is', 'Σy'];
    const without = [];
    for (const text of searches) without.push(await found(text));
    expect(await summarize()).toBeGreaterThan(0);
    const withBlocks = [];
    for (const text of searches) withBlocks.push(await found(text));
    expect(withBlocks).toEqual(without);
  });

  it('should work where PostgreSQL was built without ICU', async () => {
    await using plain = await createTestDatabase();
    await plain.pool.query('alter collation pg_catalog."und-x-icu" rename to "none"');
    const log = await storeLog(plain.pool, SCAN_WINDOW + 12_000, (sequence) => ({
      ...lines[0]!,
      message: `Größe ${sequence}`,
    }));
    const client = await plain.pool.connect();
    expect(await summarizeLogs(client, new AbortController().signal)).toBeGreaterThan(0);
    client.release();
    const found = await new LogStore(plain.pool).read({ ...log, limit: 5, filter: { search: 'größe 25000' } });
    expect(found.lines.map(({ sequence }) => sequence)).toEqual([25_000]);
  });

  it('should read blocks by their key, and of the lines only those of blocks that may match', async () => {
    const statements: { text: string; values: unknown[] }[] = [];
    const watched: SqlExecutor = {
      query: (text, values = []) => {
        statements.push({ text, values });
        return database.pool.query(text, values);
      },
    };
    const rare = lines[3 * SCAN_WINDOW - 700]!;
    const filter = { search: rare.message.toUpperCase() };
    const page = await new LogStore(watched).read({ deploymentId, filter, limit: 10, scanLimit: everything });
    expect(page.lines.map(({ sequence }) => sequence)).toEqual([rare.sequence]);
    const plans = [];
    const client = await database.pool.connect();
    await client.query('begin');
    // So few blocks are a page or two, which are read whole once that is known.
    await client.query('set local enable_seqscan = off');
    for (const { text, values } of statements.filter(({ text }) => text.includes('log_'))) {
      const { rows } = await client.query(`explain (analyze, timing off, summary off) ${text}`, values);
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    await client.query('rollback');
    client.release();
    const overBlocks = plans.filter((plan) => plan.includes('log_blocks'));
    expect(overBlocks[0]).toMatch(/Index (Only )?Scan.* using log_blocks_pkey/);
    expect(overBlocks.join()).not.toContain('Seq Scan on log_blocks');
    const lookedAt = plans.at(-1)!.matchAll(/Rows Removed by Filter: (\d+)/g);
    const sum = [...lookedAt].reduce((total, [, count]) => total + Number(count), 0);
    expect(sum).toBeLessThanOrEqual(3 * BLOCK_LINES);
  });
});
