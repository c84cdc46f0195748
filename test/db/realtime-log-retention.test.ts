import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dropPartitionsBefore, ensurePartitions } from '../../src/realtime/log-partitions.ts';
import { deleteLinesBefore, deleteLog } from '../../src/realtime/log-retention.ts';
import { LogStore } from '../../src/realtime/log-store.ts';
import { newId } from '../../src/shared/ids.ts';
import { appendAged, storedSequences } from '../support/aged-log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

const LIMIT = new Date('2031-05-20T00:00:00Z');
const OLD = new Date('2031-05-10T12:00:00Z');
const YOUNG = new Date('2031-05-20T00:00:00.001Z');
const BATCH_LINES = 10;

let database: TestDatabase;
let store: LogStore;
beforeAll(async () => {
  database = await createTestDatabase();
  store = new LogStore(database.pool);
});
afterAll(async () => database?.[Symbol.asyncDispose]());

const { signal } = new AbortController();
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const append = (deploymentId: string, count: number, receivedAt = YOUNG) =>
  appendAged(database.pool, deploymentId, count, receivedAt);
const stored = (deploymentId: string) => storedSequences(database.pool, deploymentId);

async function withClient<T>(work: (client: import('pg').PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

const drop = (limit = LIMIT) => withClient((client) => dropPartitionsBefore(client, limit));

/** Names of the tables that hold the lines of a day, attached or not. */
async function tablesOf(day: string): Promise<string[]> {
  const { rows } = await database.pool.query("select relname from pg_class where relkind = 'r' and relname = $1", [
    `log_lines_${day}`,
  ]);
  return rows.map(({ relname }) => relname);
}

describe('deleteLinesBefore', () => {
  it('should delete what is older in batches, and nothing else', async () => {
    const [deploymentId, other] = [newId(), newId()];
    await append(deploymentId, 35, OLD);
    await append(deploymentId, 5, YOUNG);
    await append(other, 3, OLD);
    const remove = () => deleteLinesBefore(database.pool, deploymentId, LIMIT, { signal, batchLines: BATCH_LINES });
    expect(await remove()).toBe(35);
    expect(await remove()).toBe(0);
    expect(await stored(deploymentId)).toEqual(range(36, 40));
    expect(await store.head(deploymentId)).toEqual({ first: 36, last: 40 });
    expect(await store.read({ deploymentId, after: 30, limit: 100 })).toMatchObject({ pruned: 5, through: 40 });
    expect(await stored(other)).toHaveLength(3);
  });

  it('should leave an empty log where all is older, whose sequence goes on', async () => {
    const deploymentId = newId();
    await append(deploymentId, 20, OLD);
    expect(await deleteLinesBefore(database.pool, deploymentId, LIMIT, { signal, batchLines: BATCH_LINES })).toBe(20);
    expect(await store.head(deploymentId)).toEqual({ first: 21, last: 20 });
    await append(deploymentId, 1);
    expect(await stored(deploymentId)).toEqual([21]);
  });

  it('should stop after the batch in which it is told to', async () => {
    const deploymentId = newId();
    await append(deploymentId, 3 * BATCH_LINES, OLD);
    const stop = new AbortController();
    const removal = deleteLinesBefore(database.pool, deploymentId, LIMIT, {
      signal: stop.signal,
      batchLines: BATCH_LINES,
    });
    stop.abort();
    expect(await removal).toBe(BATCH_LINES);
    expect(await store.head(deploymentId)).toEqual({ first: BATCH_LINES + 1, last: 3 * BATCH_LINES });
  });

  it('should let writers and readers of the same log go on, without a gap after its first line', async () => {
    const deploymentId = newId();
    await append(deploymentId, 30 * BATCH_LINES, OLD);
    let isOver = false;
    const removal = Promise.all(
      range(1, 2).map(() => deleteLinesBefore(database.pool, deploymentId, LIMIT, { signal, batchLines: BATCH_LINES })),
    ).then(() => {
      isOver = true;
    });
    let written = 0;
    while (!isOver) {
      await append(deploymentId, 7);
      written += 7;
      const { head, lines } = await store.read({ deploymentId, limit: 10_000 });
      expect(lines.map(({ sequence }) => sequence)).toEqual(range(head.first, head.last));
    }
    await removal;
    const last = 30 * BATCH_LINES + written;
    expect(await store.head(deploymentId)).toEqual({ first: 30 * BATCH_LINES + 1, last });
    expect(await stored(deploymentId)).toEqual(range(30 * BATCH_LINES + 1, last));
  });
});

describe('deleteLog', () => {
  it('should delete all lines of one log and its head', async () => {
    const [deploymentId, other] = [newId(), newId()];
    await append(deploymentId, 3 * BATCH_LINES, OLD);
    await append(deploymentId, 5);
    await append(other, 2);
    expect(await deleteLog(database.pool, deploymentId, { signal, batchLines: BATCH_LINES })).toBe(35);
    expect(await stored(deploymentId)).toEqual([]);
    const { rows } = await database.pool.query(
      'select deployment_id as id from log_heads where deployment_id = any($1)',
      [[deploymentId, other]],
    );
    expect(rows).toEqual([{ id: other }]);
  });

  it('should delete a head that tells of lines that are not there', async () => {
    const deploymentId = newId();
    await append(deploymentId, 5);
    await database.pool.query('delete from log_lines where deployment_id = $1', [deploymentId]);
    expect(await deleteLog(database.pool, deploymentId, { signal })).toBe(0);
    const { rows } = await database.pool.query('select from log_heads where deployment_id = $1', [deploymentId]);
    expect(rows).toEqual([]);
  });

  it('should never leave a line without its head, also of those that come while it deletes', async () => {
    const deploymentId = newId();
    await append(deploymentId, 5);
    await withClient(async (writer) => {
      await writer.query('begin');
      await writer.query('update log_heads set last_sequence = 6 where deployment_id = $1', [deploymentId]);
      const removal = deleteLog(database.pool, deploymentId, { signal });
      await writer.query(
        `insert into log_lines (deployment_id, sequence, occurred_at, stream, level, message) values ($1, 6, now(), 0, 1, 'late')`,
        [deploymentId],
      );
      await writer.query('commit');
      await removal;
    });
    const { last } = await store.head(deploymentId);
    expect(await stored(deploymentId)).toEqual(last === 0 ? [] : [6]);
  });
});

describe('dropPartitionsBefore', () => {
  it('should wait for readers only so long that writers go on, and drop the day once it can', async () => {
    const deploymentId = newId();
    await withClient((client) => ensurePartitions(client, OLD, 0));
    await append(deploymentId, 4, OLD);
    await withClient(async (reader) => {
      await reader.query('begin');
      await reader.query('select 1 from log_lines limit 1');
      const dropping = drop();
      await eventually('the lines are no longer read', async () => (await store.head(deploymentId)).first === 5);
      // Each of them meets a try to get the table, or the pause before the next one.
      for (let round = 0; round < 20; round++) await append(deploymentId, 1);
      expect(await tablesOf('20310510')).toHaveLength(1);
      expect(await drop(), 'while another one drops').toBe(0);
      await reader.query('commit');
      expect(await dropping).toBe(1);
    });
    expect(await tablesOf('20310510')).toEqual([]);
    expect(await stored(deploymentId)).toEqual(range(5, 24));
  });

  it('should not wait for a writer of one log to tell others what is gone', async () => {
    const [busy, idle] = [newId(), newId()];
    const day = new Date('2031-05-11T12:00:00Z');
    await withClient((client) => ensurePartitions(client, day, 0));
    for (const id of [busy, idle]) await append(id, 2, day);
    await withClient(async (writer) => {
      await writer.query('begin');
      await writer.query('update log_heads set last_sequence = last_sequence where deployment_id = $1', [busy]);
      const dropping = drop();
      await eventually('the idle log has moved', async () => (await store.head(idle)).first === 3);
      // Were the idle log's head still held, this would be a deadlock.
      await writer.query('update log_heads set last_sequence = last_sequence where deployment_id = $1', [idle]);
      await writer.query('commit');
      expect(await dropping).toBe(1);
    });
    expect(await store.head(busy)).toEqual({ first: 3, last: 2 });
  });

  it('should drop what a crash left detached', async () => {
    const day = new Date('2031-05-12T12:00:00Z');
    await withClient((client) => ensurePartitions(client, day, 0));
    await database.pool.query('alter table log_lines detach partition log_lines_20310512');
    await drop();
    expect(await tablesOf('20310512')).toEqual([]);
  });

  it('should empty the default partition of what is older', async () => {
    const deploymentId = newId();
    await append(deploymentId, 3, new Date('2029-01-01T00:00:00Z'));
    await append(deploymentId, 2, YOUNG);
    await drop();
    expect(await stored(deploymentId)).toEqual([4, 5]);
    expect(await store.head(deploymentId)).toEqual({ first: 4, last: 5 });
  });
});
