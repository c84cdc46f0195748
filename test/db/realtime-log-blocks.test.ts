import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_LINES, summarizeLogs, UNSUMMARIZED_LINES } from '../../src/realtime/log-blocks.ts';
import { dropPartitionsBefore, ensurePartitions } from '../../src/realtime/log-partitions.ts';
import { deleteLinesBefore, deleteLog } from '../../src/realtime/log-retention.ts';
import { LogStore } from '../../src/realtime/log-store.ts';
import type { SqlExecutor } from '../../src/realtime/sql.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { HeldLock } from '../support/held-lock.ts';
import { storeLog } from '../support/long-log.ts';

const LINES = UNSUMMARIZED_LINES + 2 * BLOCK_LINES + 1;
const { signal } = new AbortController();

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => database?.[Symbol.asyncDispose]());

async function onClient<T>(work: (client: import('pg').PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

const summarize = (until = signal) => onClient((client) => summarizeLogs(client, until));

const storeLines = async (count: number, more: { dropped?: number } = {}) =>
  (
    await storeLog(database.pool, count, (sequence) => ({
      occurredAt: new Date(sequence),
      service: sequence % 2 ? 'web' : null,
      stream: 'STDERR',
      level: 'WARN',
      message: `Zeile ${sequence}`,
      dropped: 0,
      ...more,
    }))
  ).deploymentId;

async function blocksOf(deploymentId: string): Promise<number[]> {
  const { rows } = await database.pool.query<{ number: number }>(
    'select number::int from log_blocks where deployment_id = $1 order by 1',
    [deploymentId],
  );
  return rows.map(({ number }) => number);
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const allBlocks = numbers(0, LINES / BLOCK_LINES - 1);

describe('summarizeLogs', () => {
  it('should make a block of each thousand lines of long logs, once, and of what comes later', async () => {
    const [long, short] = [await storeLines(LINES), await storeLines(UNSUMMARIZED_LINES - 1)];
    expect(await summarize()).toBe(allBlocks.length);
    expect(await summarize()).toBe(0);
    expect(await blocksOf(long)).toEqual(allBlocks);
    expect(await blocksOf(short)).toEqual([]);
    const { rows } = await database.pool.query(
      `select occurred_from, occurred_to, services, streams, max_level, has_dropped, bytes,
              strpos(folded, 'zeile 1001') > 0 and strpos(folded, 'zeile 2000') > 0 as is_folded
       from log_blocks where deployment_id = $1 and number = 1`,
      [long],
    );
    expect(rows).toEqual([
      {
        occurred_from: new Date(1_001),
        occurred_to: new Date(2_000),
        services: ['web'],
        streams: 2,
        max_level: 2,
        has_dropped: false,
        bytes: 1_000 * 'Zeile 1234\n'.length - 1,
        is_folded: true,
      },
    ]);
    await database.pool.query(
      `insert into log_lines (deployment_id, sequence, occurred_at, stream, level, message)
       select $1, n, now(), 0, 1, 'more' from generate_series($2::int + 1, $2 + $3::int) as n`,
      [long, LINES, UNSUMMARIZED_LINES],
    );
    const grow = 'update log_heads set last_sequence = last_sequence + $2 where deployment_id = $1';
    await database.pool.query(grow, [long, UNSUMMARIZED_LINES]);
    expect(await summarize()).toBe(UNSUMMARIZED_LINES / BLOCK_LINES);
    expect(await blocksOf(long)).toEqual(numbers(0, allBlocks.length + 9));
  });

  it('should make each block once when instances do it at the same time', async () => {
    const deploymentId = await storeLines(LINES);
    const made = await Promise.all([1, 2, 3].map(() => summarize()));
    expect(made.filter((count) => count > 0)).toEqual([allBlocks.length]);
    expect(await blocksOf(deploymentId)).toEqual(allBlocks);
  });

  it('should go on where it was stopped, and where its connection was lost', async () => {
    const deploymentId = await storeLines(LINES + 4 * BLOCK_LINES);
    const stop = new AbortController();
    const stopping = (client: SqlExecutor, after: number, act: () => unknown): SqlExecutor => ({
      async query(text, values) {
        if (text.includes('insert into log_blocks') && after-- === 0) await act();
        return client.query(text, values);
      },
    });
    await onClient((client) =>
      summarizeLogs(
        stopping(client, 2, () => stop.abort()),
        stop.signal,
      ),
    );
    expect(await blocksOf(deploymentId)).toEqual([0, 1, 2]);
    const client = await database.pool.connect();
    client.on('error', () => undefined);
    const { rows } = await client.query('select pg_backend_pid() as pid');
    const kill = () => database.pool.query('select pg_terminate_backend($1)', [rows[0].pid]);
    await expect(summarizeLogs(stopping(client, 1, kill), signal)).rejects.toThrow();
    client.release(true);
    expect(await blocksOf(deploymentId)).toEqual([0, 1, 2, 3]);
    expect(await summarize()).toBe(allBlocks.length);
    expect(await blocksOf(deploymentId)).toEqual(numbers(0, allBlocks.length + 3));
  });

  it('should drop the blocks whose first line is gone, and those of logs that are', async () => {
    const [shortened, deleted] = [await storeLines(LINES), await storeLines(LINES)];
    await summarize();
    const old = "update log_lines set received_at = '2020-05-01' where deployment_id = $1 and sequence <= 1500";
    await database.pool.query(old, [shortened]);
    await deleteLinesBefore(database.pool, shortened, new Date('2020-06-01'), { signal });
    await deleteLog(database.pool, deleted, { signal });
    expect(await summarize()).toBe(0);
    expect(await blocksOf(shortened)).toEqual(numbers(2, allBlocks.length - 1));
    expect(await blocksOf(deleted)).toEqual([]);
  });

  it('should begin a log that was shortened with the first block of which all lines are there', async () => {
    const deploymentId = await storeLines(LINES + BLOCK_LINES);
    await database.pool.query('update log_heads set first_sequence = 1001 where deployment_id = $1', [deploymentId]);
    expect(await summarize()).toBe(allBlocks.length);
    expect(await blocksOf(deploymentId)).toEqual(numbers(1, allBlocks.length));
  });

  it('should neither hold up retention, which drops the day that is being read, nor leave what it took', async () => {
    const deploymentId = await storeLines(LINES);
    await database.pool.query("update log_lines set received_at = '2020-01-01' where deployment_id = $1", [
      deploymentId,
    ]);
    await onClient((client) => ensurePartitions(client, new Date('2020-01-01'), 0));
    await using held = new HeldLock(database.connection, 'lock table log_blocks in share mode');
    await held.take();
    const building = summarize();
    await held.isWaitedFor();
    const dropping = onClient((client) => dropPartitionsBefore(client, new Date('2020-01-02')));
    await held[Symbol.asyncDispose]();
    expect(await dropping).toBe(1);
    await building;
    await summarize();
    expect(await blocksOf(deploymentId)).toEqual([]);
    const store = new LogStore(database.pool);
    const page = await store.read({ deploymentId, limit: 10, filter: { search: 'zeile' } });
    expect(page).toMatchObject({ lines: [], pruned: LINES, complete: true });
  });

  it('should make anew what was folded by other rules, and look at it line by line until then', async () => {
    const deploymentId = await storeLines(3 * UNSUMMARIZED_LINES);
    await summarize();
    await database.pool.query("update log_blocks set folding = 'old', folded = '' where deployment_id = $1", [
      deploymentId,
    ]);
    const search = { deploymentId, limit: 10, filter: { search: 'ZEILE 25000' } };
    const store = new LogStore(database.pool);
    expect((await store.read(search)).lines.map(({ sequence }) => sequence)).toEqual([25_000]);
    expect(await summarize()).toBe((3 * UNSUMMARIZED_LINES) / BLOCK_LINES);
    expect((await store.read(search)).lines.map(({ sequence }) => sequence)).toEqual([25_000]);
  });
});
