import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogLine, NewLogLine } from '../../src/realtime/log-line.ts';
import { appendLines, LogStore, SCAN_WINDOW, systemLine } from '../../src/realtime/log-store.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let store: LogStore;
beforeAll(async () => {
  database = await createTestDatabase();
  store = new LogStore(database.pool);
});
afterAll(async () => database?.[Symbol.asyncDispose]());

const line = (message: string, more: Partial<NewLogLine> = {}): NewLogLine => ({
  occurredAt: Date.UTC(2026, 10, 22, 10),
  instanceId: newId(),
  service: 'web',
  replica: 1,
  stream: 'STDOUT',
  level: 'INFO',
  message,
  isPartial: false,
  dropped: 0,
  ...more,
});
const numbered = (count: number, more?: (index: number) => Partial<NewLogLine>) =>
  Array.from({ length: count }, (_, index) => line(`line ${index + 1}`, more?.(index)));
const sequences = (lines: LogLine[]) => lines.map(({ sequence }) => sequence);

async function logOf(lines: NewLogLine[]): Promise<string> {
  const deploymentId = newId();
  await appendLines(database.pool, deploymentId, lines);
  return deploymentId;
}

describe('appendLines', () => {
  it('should give back every line as it was, numbered from 1', async () => {
    const lines = [
      line('plain'),
      line('"quoted" \\ {} \u{1f600} \ufffd \u2028\t\x1b[0m', { stream: 'STDERR', level: 'ERROR', isPartial: true }),
      line('', {
        service: null,
        replica: null,
        instanceId: null,
        stream: 'SYSTEM',
        level: 'WARN',
        dropped: 12,
        occurredAt: 1.5,
      }),
    ];
    const deploymentId = await logOf(lines);
    const { lines: read } = await store.read({ deploymentId, limit: 10 });
    expect(read).toEqual(
      lines.map(({ instanceId: _, occurredAt, ...rest }, index) => ({
        ...rest,
        deploymentId,
        sequence: index + 1,
        timestamp: new Date(occurredAt),
      })),
    );
  });

  it('should number without gaps when many transactions append at once, some rolled back', async () => {
    const deploymentId = newId();
    const writers = Array.from({ length: 40 }, async (_, index) => {
      const client = await database.pool.connect();
      await client.query('begin');
      await appendLines(client, deploymentId, [line(`${index} a`), line(`${index} b`)]);
      await client.query(index % 4 === 0 ? 'rollback' : 'commit');
      client.release();
    });
    await Promise.all(writers);
    const { lines, head } = await store.read({ deploymentId, limit: 100 });
    expect(sequences(lines)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    expect(head).toEqual({ first: 1, last: 60 });
    for (let index = 0; index < 60; index += 2) {
      expect(lines[index + 1]!.message).toBe(lines[index]!.message.replace('a', 'b'));
    }
  });

  it('should append system lines of any length', async () => {
    const deploymentId = newId();
    const of = { service: 'db', occurredAt: new Date(5) };
    await systemLine(database.pool, deploymentId, `é\0${'x'.repeat(20_000)}`, 'ERROR', of);
    const { lines } = await store.read({ deploymentId, limit: 10 });
    expect(lines.map((one) => [one.stream, one.level, one.service, one.isPartial])).toEqual([
      ['SYSTEM', 'ERROR', 'db', true],
      ['SYSTEM', 'ERROR', 'db', false],
    ]);
    expect(lines.map((one) => one.message).join('')).toBe(`é\ufffd${'x'.repeat(20_000)}`);
  });
});

describe('LogStore', () => {
  it('should know an empty log', async () => {
    const deploymentId = newId();
    expect(await store.head(deploymentId)).toEqual({ first: 1, last: 0 });
    const page = await store.read({ deploymentId, limit: 10 });
    expect(page).toMatchObject({ lines: [], through: 0, complete: true, dropped: 0, pruned: 0 });
    expect(await store.positionOfLast(deploymentId, 10, null)).toBe(0);
  });

  it('should page forward and backward through all lines', async () => {
    const deploymentId = await logOf(numbered(25));
    const forward: number[] = [];
    for (let after = 0, complete = false; !complete; ) {
      const page = await store.read({ deploymentId, after, limit: 7 });
      forward.push(...sequences(page.lines));
      ({ through: after, complete } = page);
    }
    expect(forward).toEqual(Array.from({ length: 25 }, (_, index) => index + 1));
    const backward: number[][] = [];
    for (let before = 21, complete = false; !complete; ) {
      const page = await store.read({ deploymentId, before, after: 3, direction: 'backward', limit: 7 });
      backward.push(sequences(page.lines));
      ({ through: before, complete } = page);
    }
    expect(backward).toEqual([
      [14, 15, 16, 17, 18, 19, 20],
      [7, 8, 9, 10, 11, 12, 13],
      [4, 5, 6],
    ]);
  });

  it('should narrow by every part of the filter', async () => {
    const hour = (h: number) => Date.UTC(2026, 10, 22, h);
    const deploymentId = await logOf([
      line('GET /a 100%', { service: 'web', occurredAt: hour(1) }),
      line('get /b 1000', { service: 'api', stream: 'STDERR', level: 'WARN', occurredAt: hour(2) }),
      line('Überlauf', { service: 'api', level: 'ERROR', occurredAt: hour(3) }),
      line('stopped', { service: null, stream: 'SYSTEM', occurredAt: hour(4) }),
    ]);
    const matching = async (filter: Parameters<LogStore['read']>[0]['filter']) =>
      sequences((await store.read({ deploymentId, limit: 10, filter })).lines);
    expect(await matching({ services: ['api'] })).toEqual([2, 3]);
    expect(await matching({ services: [] })).toEqual([]);
    expect(await matching({ streams: ['SYSTEM', 'STDERR'] })).toEqual([2, 4]);
    expect(await matching({ minLevel: 'WARN' })).toEqual([2, 3]);
    expect(await matching({ search: 'GET /' })).toEqual([1, 2]);
    expect(await matching({ search: '100%' })).toEqual([1]);
    expect(await matching({ search: 'üBERLAUF' })).toEqual([3]);
    expect(await matching({ search: '\\' })).toEqual([]);
    expect(await matching({ search: '' })).toEqual([1, 2, 3, 4]);
    expect(await matching({ since: new Date(hour(2)), until: new Date(hour(3)) })).toEqual([2, 3]);
    expect(await matching({ services: ['api'], minLevel: 'ERROR', search: 'lauf', streams: null })).toEqual([3]);
  });

  it('should count lines that were lost for whoever reads their service, and only once', async () => {
    const deploymentId = await logOf(
      numbered(10, (index) => (index === 4 ? { dropped: 7, stream: 'SYSTEM', service: 'web' } : {})),
    );
    const lost = async (filter: Parameters<LogStore['read']>[0]['filter'], limit = 100) => {
      const page = await store.read({ deploymentId, limit, filter });
      return [page.lines.length, page.dropped];
    };
    expect(await lost(null)).toEqual([10, 7]);
    expect(await lost({ streams: ['STDOUT'] })).toEqual([9, 7]);
    expect(await lost({ services: ['other'] })).toEqual([0, 0]);
    expect(await lost({ streams: ['STDOUT'] }, 3)).toEqual([3, 0]);
  });

  it('should fill a page past lines that only report lost ones', async () => {
    const deploymentId = await logOf(
      numbered(10, (index) => (index < 7 ? { dropped: 1, stream: 'SYSTEM', service: 'web' } : {})),
    );
    const page = await store.read({ deploymentId, limit: 2, filter: { streams: ['STDOUT'] } });
    expect([sequences(page.lines), page.through, page.dropped]).toEqual([[8, 9], 9, 7]);
    const backward = { direction: 'backward' as const, before: 9, filter: { streams: ['STDOUT' as const] } };
    expect(await store.read({ deploymentId, limit: 2, ...backward })).toMatchObject({ complete: true, dropped: 7 });
  });

  it('should keep pages below a number of bytes, one longer line aside', async () => {
    const deploymentId = await logOf(
      numbered(60, (index) => ({ message: `${index % 2 ? '\x01' : 'x'}`.repeat(8_000) })),
    );
    const sizes: number[] = [];
    for (let after = 0, complete = false; !complete; ) {
      const page = await store.read({ deploymentId, after, limit: 500, maxBytes: 128 * 1024 });
      sizes.push(Buffer.byteLength(JSON.stringify(page.lines)));
      ({ through: after, complete } = page);
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(128 * 1024);
    expect(sizes.length).toBeLessThan(25);
    const single = await store.read({ deploymentId, limit: 500, maxBytes: 100 });
    expect(sequences(single.lines)).toEqual([1]);
  });

  it('should find rare lines in a long log, in both directions, looking at a bounded number each time', async () => {
    const deploymentId = newId();
    const count = SCAN_WINDOW * 2 + 500;
    await database.pool.query(
      `insert into log_lines (deployment_id, sequence, occurred_at, stream, level, message)
       select $1, n, now(), 0, 1, case when n in (3, 20500, $2::int) then 'needle' else 'hay' end from generate_series(1, $2::int) n`,
      [deploymentId, count],
    );
    await database.pool.query('insert into log_heads values ($1, $2, 1)', [deploymentId, count]);
    const filter = { search: 'NEEDLE' };
    const all = await store.read({ deploymentId, limit: 10, filter });
    expect([sequences(all.lines), all.through, all.complete]).toEqual([[3, 20_500, count], count, true]);
    const newest = await store.read({ deploymentId, limit: 2, filter, direction: 'backward' });
    expect(sequences(newest.lines)).toEqual([20_500, count]);
    const first = await store.read({ deploymentId, limit: 10, filter, scanLimit: SCAN_WINDOW });
    expect([sequences(first.lines), first.through, first.complete]).toEqual([[3], SCAN_WINDOW, false]);
    expect(await store.positionOfLast(deploymentId, 2, filter)).toBe(20_499);
    expect(await store.positionOfLast(deploymentId, 9, filter)).toBe(0);
    expect(await store.positionOfLast(deploymentId, 100, null)).toBe(count - 100);
    expect(await store.positionOfLast(deploymentId, 0, filter)).toBe(count);
  });
});
