import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dropPartitionsBefore, ensurePartitions } from '../../src/realtime/log-partitions.ts';
import { LogStore } from '../../src/realtime/log-store.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { HeldLock } from '../support/held-lock.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => database?.[Symbol.asyncDispose]());

async function insert(deploymentId: string, sequence: number, receivedAt: string): Promise<void> {
  await database.pool.query(
    `insert into log_lines (deployment_id, sequence, received_at, occurred_at, stream, level, message)
     values ($1, $2, $3, $3, 0, 1, 'x')`,
    [deploymentId, sequence, receivedAt],
  );
  await database.pool.query(
    'insert into log_heads values ($1, $2) on conflict (deployment_id) do update set last_sequence = excluded.last_sequence',
    [deploymentId, sequence],
  );
}

async function partitions(): Promise<string[]> {
  const { rows } = await database.pool.query(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'log_lines'::regclass order by 1",
  );
  return rows.map((row) => row.name);
}

async function withClient<T>(work: (client: import('pg').PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

describe('log partitions', () => {
  it('should be made ahead once, also by instances at the same time, and take lines that came before them', async () => {
    const deploymentId = newId();
    await insert(deploymentId, 1, '2031-03-01T23:59:59.999Z');
    await insert(deploymentId, 2, '2031-03-02T00:00:00.000Z');
    const now = new Date('2031-03-01T12:00:00Z');
    await Promise.all([1, 2, 3].map(() => withClient((client) => ensurePartitions(client, now, 2))));
    await withClient((client) => ensurePartitions(client, now, 2));
    expect(await partitions()).toEqual(
      expect.arrayContaining(['log_lines_20310301', 'log_lines_20310302', 'log_lines_20310303', 'log_lines_default']),
    );
    await insert(deploymentId, 3, '2031-03-03T10:00:00Z');
    const { rows } = await database.pool.query(
      'select sequence::int, tableoid::regclass::text as partition from log_lines where deployment_id = $1 order by 1',
      [deploymentId],
    );
    expect(rows).toEqual([
      { sequence: 1, partition: 'log_lines_20310301' },
      { sequence: 2, partition: 'log_lines_20310302' },
      { sequence: 3, partition: 'log_lines_20310303' },
    ]);
  });

  it('should be made while another one is vacuumed', async () => {
    await withClient((client) => ensurePartitions(client, new Date('2031-04-01T12:00:00Z'), 0));
    await using vacuum = new HeldLock(
      database.connection,
      'lock table log_lines_20310401 in share update exclusive mode',
    );
    await vacuum.take();
    await withClient((client) => ensurePartitions(client, new Date('2031-04-02T12:00:00Z'), 0));
    expect(await partitions()).toContain('log_lines_20310402');
  });

  it('should be dropped by age, and the log then says what is missing', async () => {
    const [old, mixed, young] = [newId(), newId(), newId()];
    await insert(old, 1, '2030-01-01T10:00:00Z');
    await withClient((client) => ensurePartitions(client, new Date('2030-01-02T00:00:00Z'), 1));
    await insert(old, 2, '2030-01-02T10:00:00Z');
    await insert(mixed, 1, '2030-01-02T10:00:00Z');
    await insert(mixed, 2, '2030-01-02T11:00:00Z');
    await insert(mixed, 3, '2030-01-03T11:00:00Z');
    await insert(young, 1, '2030-01-03T12:00:00Z');
    expect(await withClient((client) => dropPartitionsBefore(client, new Date('2030-01-03T15:00:00Z')))).toBe(1);
    expect(await withClient((client) => dropPartitionsBefore(client, new Date('2030-01-03T15:00:00Z')))).toBe(0);
    const store = new LogStore(database.pool);
    expect(await store.head(old)).toEqual({ first: 3, last: 2 });
    expect(await store.head(mixed)).toEqual({ first: 3, last: 3 });
    expect(await store.head(young)).toEqual({ first: 1, last: 1 });
    const page = await store.read({ deploymentId: mixed, limit: 10 });
    expect(page).toMatchObject({ pruned: 2, through: 3, complete: true });
    expect(page.lines.map((line) => line.sequence)).toEqual([3]);
    expect((await store.read({ deploymentId: old, limit: 10 })).pruned).toBe(2);
    expect((await store.read({ deploymentId: mixed, after: 1, limit: 10 })).pruned).toBe(1);
    expect((await store.read({ deploymentId: mixed, before: 3, direction: 'backward', limit: 10 })).lines).toEqual([]);
  });
});
