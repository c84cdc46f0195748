import type { Pool, PoolClient } from 'pg';
import { isOutage } from '../db/outage.ts';
import { type Lease, requireLease } from '../engine/host-lease.ts';
import { notifyTopics } from '../realtime/bus.ts';
import { appendEvents, type NewEvent } from '../realtime/event-log.ts';
import { delay } from '../shared/clock.ts';

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2_000;

/** Runs again what a database that was away interrupted, until it succeeds or the signal aborts. Work must be idempotent. */
export async function untilStored<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (let wait = RETRY_FIRST_MS; ; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!isOutage(error) || signal.aborted) throw error;
      await delay(wait, signal);
      if (signal.aborted) throw error;
    }
  }
}

/**
 * One transaction of the lease's holder: nothing is written once another instance took over. See `recorded`.
 */
export async function fenced<T>(
  pool: Pool,
  lease: Lease,
  work: (client: PoolClient, record: Recorder) => Promise<T>,
): Promise<T> {
  return untilStored(lease.signal, () =>
    recorded(pool, async (client, record) => {
      await requireLease(client, lease);
      return work(client, record);
    }),
  );
}

/** One transaction; what was recorded is told at its end, in the order that the event log wants. */
export async function recorded<T>(pool: Pool, work: (client: PoolClient, record: Recorder) => Promise<T>): Promise<T> {
  return inTransaction(pool, async (client) => {
    const events: NewEvent[] = [];
    const topics = new Set<string>();
    const result = await work(client, {
      event: (event) => events.push(event),
      wake: (...woken) => {
        for (const topic of woken) topics.add(topic);
      },
    });
    await notifyTopics(client, [...topics]);
    await appendEvents(client, events);
    return result;
  });
}

export type Recorder = { event(event: NewEvent): void; wake(...topics: string[]): void };

export async function inTransaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // A connection that is lost between two statements tells it here; without a listener it would end the process.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((cause: Error) => {
      broken = cause;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}
