import type { Pool } from 'pg';
import { appendEvents, type NewEvent } from '../../src/realtime/event-log.ts';
import { inTransaction } from '../../src/realtime/sql.ts';

/** Stores events in a transaction of their own: outside of one their followers would be woken before they are there. */
export async function storeEvents(pool: Pool, events: readonly NewEvent[]): Promise<void> {
  const client = await pool.connect();
  try {
    await inTransaction(client, () => appendEvents(client, events));
  } finally {
    client.release();
  }
}
