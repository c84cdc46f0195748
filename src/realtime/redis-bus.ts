import { createRedisEventTarget } from '@graphql-yoga/redis-event-target';
import { Redis, type RedisOptions } from 'ioredis';
import { newId } from '../shared/ids.ts';
import type { Logger } from '../shared/logger.ts';
import { Bus, type BusTransport } from './bus.ts';

const CHANNEL = 'windflow';
const RECONNECT_FIRST_MS = 100;
const RECONNECT_MAX_MS = 5_000;
const LIVENESS: Liveness = { heartbeatMs: 10_000, answerMs: 5_000 };
/** 2^6 times the first pause is more than the longest. */
const MAX_DOUBLINGS = 6;

/** Topics that an instance announced; null: some that could not be sent, so all are to look. */
type Announcement = { from: string; topics: readonly string[] | null };
type Receiver = Parameters<BusTransport['start']>[0];

/** How often connections are tried, and how long they may take to answer. */
export type Liveness = { heartbeatMs: number; answerMs: number };

/** A bus over Redis or Valkey. It starts without one, too, and connects once there is one. */
export function createRedisBus(url: string, log: Logger, liveness: Liveness = LIVENESS): Bus {
  return new Bus(new RedisTransport(url, log, liveness), log);
}

/** Wake-ups as messages of one channel, whatever their topic: instances only follow what somebody waits for, and that changes all the time. */
class RedisTransport implements BusTransport {
  readonly #log: Logger;
  readonly #heartbeatMs: number;
  readonly #id = newId();
  readonly #publisher: Redis;
  readonly #subscriber: Redis;
  readonly #events: ReturnType<typeof createRedisEventTarget<CustomEvent<Announcement>>>;
  #heartbeat: NodeJS.Timeout | undefined;
  #isConnected = false;
  /** Announced while Redis could not be reached: made good for when it can be. */
  #isBehind = false;
  #isLossTold = false;

  constructor(url: string, log: Logger, { heartbeatMs, answerMs }: Liveness) {
    this.#log = log;
    this.#heartbeatMs = heartbeatMs;
    const options = { ...OPTIONS, connectTimeout: answerMs, socketTimeout: answerMs };
    this.#publisher = new Redis(url, options);
    this.#subscriber = new Redis(url, options);
    this.#events = createRedisEventTarget({
      // It lets go of what these return: a rejection there would end the process.
      publishClient: { publish: (_channel: string, text: string) => this.#publish(text) } as unknown as Redis,
      // This class subscribes, since it has to know when that is done.
      subscribeClient: {
        on: (event: 'message', listener: (channel: string, text: string) => void) =>
          this.#subscriber.on(event, listener),
        subscribe: () => undefined,
      } as unknown as Redis,
    });
  }

  async start(receiver: Receiver): Promise<void> {
    this.#events.addEventListener(CHANNEL, ({ detail: { from, topics } }) => {
      if (from === this.#id) return;
      if (topics === null) receiver.wakeAll();
      else for (const topic of topics) receiver.wake(topic);
    });
    const looked = Promise.withResolvers<void>();
    this.#subscriber.on('ready', async () => {
      await this.#listen(receiver);
      looked.resolve();
    });
    this.#subscriber.on('close', () => {
      this.#isConnected = false;
      looked.resolve();
    });
    this.#publisher.on('ready', () => {
      if (this.#isBehind) this.#dispatch(null);
    });
    for (const redis of [this.#publisher, this.#subscriber]) {
      redis.on('error', (error) => this.#tellLoss(error));
      redis.connect().catch(() => undefined);
    }
    this.#heartbeat = setInterval(() => this.#beat(), this.#heartbeatMs);
    await looked.promise;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  send(topics: readonly string[]): void {
    this.#dispatch(topics);
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    for (const redis of [this.#publisher, this.#subscriber]) {
      redis.removeAllListeners();
      redis.on('error', () => undefined);
      redis.disconnect();
    }
    this.#isConnected = false;
  }

  async #listen(receiver: Receiver): Promise<void> {
    try {
      await this.#subscriber.subscribe(CHANNEL);
    } catch (error) {
      return this.#tellLoss(error as Error);
    }
    if (this.#isLossTold) this.#log.info('Redis can be reached again');
    this.#isLossTold = false;
    this.#isConnected = true;
    receiver.wakeAll();
  }

  #dispatch(topics: readonly string[] | null): void {
    this.#events.dispatchEvent(new CustomEvent(CHANNEL, { detail: { from: this.#id, topics } }));
  }

  async #publish(text: string): Promise<void> {
    try {
      await this.#publisher.publish(CHANNEL, text);
      this.#isBehind = false;
    } catch (error) {
      this.#isBehind = true;
      this.#log.debug({ err: error }, 'a wake-up could not be sent');
    }
  }

  /** A connection that vanished without a word: whatever does not answer in time is closed, and opened anew. */
  #beat(): void {
    for (const redis of [this.#publisher, this.#subscriber]) {
      if (redis.status === 'ready') redis.ping().catch(() => undefined);
    }
  }

  #tellLoss(error: Error): void {
    if (this.#isLossTold) return;
    this.#isLossTold = true;
    this.#log.warn(
      { err: error },
      'Redis cannot be reached: what other servers do is seen seconds later; reconnecting',
    );
  }
}

const OPTIONS: RedisOptions = {
  connectionName: 'windflow-bus',
  lazyConnect: true,
  retryStrategy: (times) => Math.min(RECONNECT_FIRST_MS * 2 ** Math.min(times, MAX_DOUBLINGS), RECONNECT_MAX_MS),
  // A wake-up is worth nothing later: nothing waits for a connection.
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResubscribe: false,
};
