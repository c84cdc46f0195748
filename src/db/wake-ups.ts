import { Client, type QueryResult } from 'pg';

/** The channel of PostgreSQL that wake-ups go over; the payload is a topic. */
export const WAKE_UP_CHANNEL = 'windflow';

/** Announces topics, $1, once what it is part of is committed. No other statement does. */
export const ANNOUNCE_TOPICS = `select pg_notify('${WAKE_UP_CHANNEL}', topic) from unnest($1::text[]) as topic`;

export type Announce = (topics: readonly string[]) => void;

type Statement = string | { text: string; values?: unknown[] };
type Callback = (error: Error | null, result?: QueryResult) => void;
const ANNOUNCED = { command: 'SELECT', rowCount: 0, oid: 0, rows: [], fields: [] };

/**
 * Connections that keep `ANNOUNCE_TOPICS` from the database and hand its topics to `announce`: after the commit, and never when the
 * transaction is undone. So whoever announces writes the same statement, whatever carries the wake-ups.
 */
export function announcingClient(announce: Announce): new () => Client {
  return class AnnouncingClient extends Client {
    /** What the open transaction announced. */
    #held = new Set<string>();

    // biome-ignore lint/suspicious/noExplicitAny: one body for all of pg's overloads.
    override query(statement: any, values?: any, callback?: any): any {
      const text = textOf(statement);
      if (text === ANNOUNCE_TOPICS) return this.#announce(statement, values, callback);
      const result: unknown = super.query(statement, values, callback);
      if (/^\s*begin\b/i.test(text)) this.#held = new Set();
      else if (/^\s*commit\b/i.test(text) && result instanceof Promise) this.#tellAfter(result);
      return result;
    }

    async #announce(statement: Statement, values?: unknown[] | Callback, callback?: Callback): Promise<QueryResult> {
      const [topics] = (Array.isArray(values) ? values : (statement as { values: unknown[] }).values) as [string[]];
      const isInTransaction = ['T', 'E'].includes(this.getTransactionStatus() ?? 'I');
      if (isInTransaction) for (const topic of topics) this.#held.add(topic);
      else announce(topics);
      callback?.(null, ANNOUNCED);
      return ANNOUNCED;
    }

    /** The commit of a transaction that had failed undoes it, and says so. */
    #tellAfter(commit: Promise<QueryResult>): void {
      const held = this.#held;
      this.#held = new Set();
      const tell = ({ command }: QueryResult) => {
        if (command === 'COMMIT' && held.size > 0) announce([...held]);
      };
      commit.then(tell, () => undefined);
    }
  };
}

function textOf(statement: unknown): string {
  return typeof statement === 'string' ? statement : ((statement as { text?: string } | null)?.text ?? '');
}
