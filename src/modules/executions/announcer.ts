import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { delay } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';

/** Followers are told of a step so much later at most: a commit that notifies holds up all others that do. */
const COALESCE_MS = 20;

/** Wakes followers of what many transactions change, a few times a second together. A wake-up may be lost. */
export class Announcer {
  readonly #pool: Pool;
  readonly #log: Logger;
  readonly #topics = new Set<string>();
  #sending: Promise<void> = Promise.resolve();

  constructor({ pool, log }: { pool: Pool; log: Logger }) {
    this.#pool = pool;
    this.#log = log;
  }

  announce(topic: string): void {
    if (this.#topics.size === 0) this.#sending = this.#sending.then(() => this.#send());
    this.#topics.add(topic);
  }

  /** Resolves when what was announced is sent. */
  close(): Promise<void> {
    return this.#sending;
  }

  async #send(): Promise<void> {
    await delay(COALESCE_MS);
    const topics = [...this.#topics];
    this.#topics.clear();
    await notifyTopics(this.#pool, topics).catch((error: unknown) => {
      this.#log[isOutage(error) ? 'debug' : 'error']({ err: error }, 'followers could not be woken');
    });
  }
}
