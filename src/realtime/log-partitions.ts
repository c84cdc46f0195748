import { DAY_MS, SECOND_MS } from '../shared/clock.ts';
import { retry } from './retry.ts';
import { inTransaction, type SqlExecutor } from './sql.ts';

export const PARTITION_DAYS_AHEAD = 7;
/** Whoever waits for a table lock holds up everyone behind it, writers included. */
const LOCK_TIMEOUT_MS = 100;
/** How long a lock is tried for, with growing pauses, while others keep the tables busy. */
const LOCK_PATIENCE_MS = 15 * SECOND_MS;
/** How many logs learn in one statement that their oldest lines are gone; their writers wait for it. */
const HEAD_BATCH = 500;
const EXPIRED_BATCH_LINES = 5_000;
const LOCK_NOT_AVAILABLE = '55P03';
const DEFAULT_PARTITION = 'log_lines_default';
const PARTITION_NAME = /^log_lines_(\d{4})(\d\d)(\d\d)$/;

/**
 * Makes the daily partitions (UTC) of `log_lines` from today to `daysAhead` days on. Lines that came before their
 * partition move out of the default one. Idempotent; instances that do it at the same time wait for each other. Fails with
 * SQLSTATE 55P03 when others keep the tables busy: try again later.
 */
export async function ensurePartitions(
  client: SqlExecutor,
  now: Date,
  daysAhead = PARTITION_DAYS_AHEAD,
  signal = new AbortController().signal,
): Promise<void> {
  for (let day = 0; day <= daysAhead; day++) {
    const start = startOfDay(now.getTime() + day * DAY_MS);
    if (await isAttached(client, nameOf(start))) continue;
    await withTableLocks(client, signal, async () => {
      if (!(await isAttached(client, nameOf(start)))) await createPartition(client, start);
    });
  }
}

/**
 * Drops the lines received before that UTC day, and moves each log's first sequence past them beforehand. Returns how many days were
 * dropped: none while another instance does it. One connection, fails as `ensurePartitions` does; what is left is dropped by the next call.
 */
export async function dropPartitionsBefore(
  client: SqlExecutor,
  date: Date,
  signal = new AbortController().signal,
): Promise<number> {
  const lock = "(hashtext('windflow'), hashtext('log_retention'))";
  const { rows } = await client.query<{ had: boolean }>(`select pg_try_advisory_lock${lock} as had`);
  if (!rows[0]!.had) return 0;
  try {
    return await dropBefore(client, startOfDay(date.getTime()), signal);
  } finally {
    await client.query(`select pg_advisory_unlock${lock}`).catch(() => {});
  }
}

async function dropBefore(client: SqlExecutor, limit: Date, signal: AbortSignal): Promise<number> {
  const tables = await dailyTables(client);
  const old = tables.filter(({ name }) => (dayOf(name)?.getTime() ?? Infinity) < limit.getTime());
  for (const { name, isAttached } of old) {
    if (isAttached) {
      await moveHeads(client, name, 'true');
      await withTableLocks(client, signal, async () => {
        await client.query(`alter table log_lines detach partition ${name}`);
      });
    }
    // To give gigabytes back takes a while: nobody waits for a table that is detached.
    await client.query(`drop table ${name}`);
  }
  const expired = `received_at < '${limit.toISOString()}'`;
  await moveHeads(client, DEFAULT_PARTITION, expired);
  await deleteExpired(client, expired, signal);
  return old.length;
}

async function createPartition(client: SqlExecutor, start: Date): Promise<void> {
  const name = nameOf(start);
  const [from, to] = [start.toISOString(), new Date(start.getTime() + DAY_MS).toISOString()];
  await client.query('lock table only log_lines in share update exclusive mode');
  // Nobody may add a line of that day to the default partition between the move and the attachment.
  await client.query(`lock table ${DEFAULT_PARTITION} in access exclusive mode`);
  await client.query(`create table ${name} (like log_lines including all)`);
  await client.query(
    `with moved as (delete from ${DEFAULT_PARTITION} where received_at >= '${from}' and received_at < '${to}' returning *)
     insert into ${name} select * from moved`,
  );
  await client.query(`alter table log_lines attach partition ${name} for values from ('${from}') to ('${to}')`);
}

/** Nothing of them is read from then on: their removal may take its time. */
async function moveHeads(client: SqlExecutor, partition: string, condition: string): Promise<void> {
  const { rows } = await client.query<{ id: string; last: string }>(
    `select deployment_id as id, gone.last from log_heads as head cross join lateral (
       select max(sequence) as last from ${partition} where deployment_id = head.deployment_id and ${condition}
     ) as gone where head.first_sequence <= head.last_sequence and gone.last >= head.first_sequence`,
  );
  for (let start = 0; start < rows.length; start += HEAD_BATCH) {
    const batch = new Map(rows.slice(start, start + HEAD_BATCH).map(({ id, last }) => [id, last]));
    // Never waits for one head while it holds others: a writer of several logs could wait for those.
    for (const id of await moveFreeHeads(client, batch)) batch.delete(id);
    for (const [id, last] of batch) {
      await client.query(
        'update log_heads set first_sequence = greatest(first_sequence, $2::bigint + 1) where deployment_id = $1',
        [id, last],
      );
    }
  }
}

async function moveFreeHeads(client: SqlExecutor, batch: ReadonlyMap<string, string>): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `with gone as (select * from unnest($1::uuid[], $2::bigint[]) as gone(id, last)),
          free as (select deployment_id from log_heads where deployment_id = any($1::uuid[]) for no key update skip locked)
     update log_heads as head set first_sequence = greatest(head.first_sequence, gone.last + 1)
     from gone, free where head.deployment_id = gone.id and free.deployment_id = gone.id returning gone.id`,
    [[...batch.keys()], [...batch.values()]],
  );
  return rows.map(({ id }) => id);
}

async function deleteExpired(client: SqlExecutor, expired: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { rowCount } = await client.query(
      `delete from ${DEFAULT_PARTITION} where ctid = any(array(
         select ctid from ${DEFAULT_PARTITION} where ${expired} limit ${EXPIRED_BATCH_LINES}))`,
    );
    if ((rowCount ?? 0) < EXPIRED_BATCH_LINES) return;
  }
}

/** A transaction in which waiting for others' table locks is given up soon, tried again until they make room. */
async function withTableLocks(client: SqlExecutor, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  const attempt = () =>
    inTransaction(client, async () => {
      await client.query("select pg_advisory_xact_lock(hashtext('windflow'), hashtext('log_partitions'))");
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      await work();
    });
  const isTransient = (error: unknown) => (error as { code?: unknown }).code === LOCK_NOT_AVAILABLE;
  await retry(attempt, { signal, isTransient, patienceMs: LOCK_PATIENCE_MS });
}

/** Reads the catalog itself: `to_regclass` may answer from before the lock was had. */
async function isAttached(client: SqlExecutor, name: string): Promise<boolean> {
  return (await dailyTables(client)).some((table) => table.name === name && table.isAttached);
}

/** Tables of days, oldest first; one that is not attached was left by a crash between detaching and dropping it. */
async function dailyTables(client: SqlExecutor): Promise<{ name: string; isAttached: boolean }[]> {
  const { rows } = await client.query<{ name: string; attached: boolean }>(
    `select relname as name, relispartition as attached from pg_class
     where relkind = 'r' and relname like 'log\\_lines\\_%'
       and relnamespace = (select relnamespace from pg_class where oid = 'log_lines'::regclass) order by 1`,
  );
  return rows.flatMap(({ name, attached }) => (dayOf(name) ? [{ name, isAttached: attached }] : []));
}

function startOfDay(ms: number): Date {
  return new Date(Math.floor(ms / DAY_MS) * DAY_MS);
}

function nameOf(day: Date): string {
  return `log_lines_${day.toISOString().slice(0, 10).replaceAll('-', '')}`;
}

function dayOf(name: string): Date | null {
  const [, year, month, day] = PARTITION_NAME.exec(name) ?? [];
  return year ? new Date(`${year}-${month}-${day}T00:00:00Z`) : null;
}
