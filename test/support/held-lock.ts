import { Client, type PoolConfig } from 'pg';
import { eventually } from './eventually.ts';

/** Keeps the durable engine from recording that a step is done. */
export const STEP_RESULTS = 'lock table dbos.operation_outputs in share mode';

/** A lock of the database that keeps a server from going on; released at the end. Without SQL it does nothing. */
export class HeldLock implements AsyncDisposable {
  readonly #connection: PoolConfig;
  readonly #sql: string | undefined;
  #client: Client | null = null;

  constructor(connection: PoolConfig, sql: string | undefined) {
    this.#connection = connection;
    this.#sql = sql;
  }

  async take(): Promise<void> {
    if (this.#sql === undefined) return;
    this.#client = new Client(this.#connection);
    // The database may be ended under it.
    this.#client.on('error', () => undefined);
    await this.#client.connect();
    await this.#client.query('begin');
    await this.#client.query(this.#sql);
  }

  /** Resolves when so many connections wait, for this lock or behind each other. */
  async isWaitedFor(waiters = 1): Promise<void> {
    await eventually('somebody waits for the lock', async () => {
      // A transaction sees the activity of its first look again and again.
      await this.#client!.query('select pg_stat_clear_snapshot()');
      const { rows } = await this.#client!.query(
        `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rows.length >= waiters;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.end();
    this.#client = null;
  }
}
