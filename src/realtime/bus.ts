import { ANNOUNCE_TOPICS } from '../db/wake-ups.ts';
import type { Logger } from '../shared/logger.ts';
import { execute, type PrismaSqlExecutor, type SqlExecutor } from './sql.ts';

export type TopicListener = (topic: string) => void;

/** Wakes whoever follows the topics, on every instance; inside a transaction: when it commits. Topics carry no data. */
export async function notifyTopics(
  executor: SqlExecutor | PrismaSqlExecutor,
  topics: readonly string[],
): Promise<void> {
  if (topics.length > 0) await execute(executor, ANNOUNCE_TOPICS, [topics]);
}

/** What brings wake-ups from one instance to the others. */
export type BusTransport = {
  /** Begins to receive. Rejects where the instance cannot do without it; later losses it mends by itself. */
  start(receiver: { wake(topic: string): void; wakeAll(): void }): Promise<void>;
  /** Whether wake-ups arrive at present. When they do again after a loss, `wakeAll` is called. */
  readonly isConnected: boolean;
  /** Tells the other instances; absent where the database does that at the commit. */
  send?(topics: readonly string[]): void;
  close(): Promise<void>;
};

/**
 * Wake-ups between instances. They carry no data and may be lost with the connection, so that every listener is woken after a reconnect,
 * and whoever waits also looks by itself now and then.
 */
export class Bus implements AsyncDisposable {
  readonly #transport: BusTransport;
  readonly #log: Logger;
  readonly #listeners = new Map<string, Set<TopicListener>>();

  constructor(transport: BusTransport, log: Logger) {
    this.#transport = transport;
    this.#log = log;
  }

  /** See the transport's `start`. */
  start(): Promise<void> {
    return this.#transport.start({
      wake: (topic) => this.#wake(topic),
      wakeAll: () => {
        for (const topic of [...this.#listeners.keys()]) this.#wake(topic);
      },
    });
  }

  /** Whether wake-ups of other instances arrive at present. */
  get isConnected(): boolean {
    return this.#transport.isConnected;
  }

  /** For `connectDatabase`: what to do with topics after their commit; null where the database itself carries them. */
  get announce(): ((topics: readonly string[]) => void) | null {
    const transport = this.#transport;
    if (!transport.send) return null;
    return (topics) => {
      for (const topic of topics) this.#wake(topic);
      transport.send?.(topics);
    };
  }

  /** Calls `listener` at each wake-up of the topic, and after each reconnect. Returns what ends it. */
  subscribe(topic: string, listener: TopicListener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(topic) === listeners) this.#listeners.delete(topic);
    };
  }

  /** See `TopicWatch`. Begin it before the first read. */
  watch(topics: readonly string[]): TopicWatch {
    return new TopicWatch(this, topics);
  }

  /** See `notifyTopics`. */
  notify(executor: SqlExecutor | PrismaSqlExecutor, ...topics: string[]): Promise<void> {
    return notifyTopics(executor, topics);
  }

  async close(): Promise<void> {
    await this.#transport.close();
    this.#listeners.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #wake(topic: string): void {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) {
      try {
        listener(topic);
      } catch (error) {
        this.#log.error({ err: error, topic }, 'a bus listener failed');
      }
    }
  }
}

/**
 * Waits without a race between reading and waiting: what was announced since the watch began, or since the last
 * `wait` returned, makes the next `wait` return at once. So: watch, then read, wait, read, wait …
 */
export class TopicWatch implements Disposable {
  readonly #unsubscribe: (() => void)[];
  #announced = new Set<string>();
  #wake: (() => void) | null = null;

  constructor(bus: Bus, topics: readonly string[]) {
    this.#unsubscribe = topics.map((topic) =>
      bus.subscribe(topic, () => {
        this.#announced.add(topic);
        this.#wake?.();
      }),
    );
  }

  /** Resolves with the topics announced meanwhile; with none after `timeoutMs` or when the signal aborts. */
  async wait(timeoutMs: number, signal?: AbortSignal): Promise<ReadonlySet<string>> {
    if (this.#announced.size === 0 && !signal?.aborted) {
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', done);
          this.#wake = null;
          resolve();
        };
        const timer = setTimeout(done, timeoutMs);
        signal?.addEventListener('abort', done, { once: true });
        this.#wake = done;
      });
    }
    const announced = this.#announced;
    this.#announced = new Set();
    return announced;
  }

  /** Whether the topic was announced since then: the next `wait` returns at once. */
  has(topic: string): boolean {
    return this.#announced.has(topic);
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
