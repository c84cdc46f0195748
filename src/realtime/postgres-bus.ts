import { Client, type ClientConfig } from 'pg';
import { WAKE_UP_CHANNEL } from '../db/wake-ups.ts';
import { delay } from '../shared/clock.ts';
import type { Logger } from '../shared/logger.ts';
import { Bus, type BusTransport } from './bus.ts';

const RECONNECT_FIRST_MS = 100;
const RECONNECT_MAX_MS = 5_000;
const HEARTBEAT_MS = 10_000;
const HEARTBEAT_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;
const END_TIMEOUT_MS = 1_000;

type Receiver = Parameters<BusTransport['start']>[0];

/** A bus over the database that everything else is in. Its start rejects when the database cannot be reached now. */
export function createPostgresBus(connection: ClientConfig, log: Logger): Bus {
  return new Bus(new PostgresTransport(connection, log), log);
}

/** Wake-ups over one LISTEN connection; PostgreSQL sends them at the commit. */
class PostgresTransport implements BusTransport {
  readonly #connection: ClientConfig;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #client: Client | null = null;
  #running: Promise<void> = Promise.resolve();

  constructor(connection: ClientConfig, log: Logger) {
    this.#connection = connection;
    this.#log = log;
  }

  async start(receiver: Receiver): Promise<void> {
    const client = await this.#connect(receiver);
    this.#running = this.#keepListening(client, receiver);
  }

  get isConnected(): boolean {
    return this.#client !== null;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #connect(receiver: Receiver): Promise<Client> {
    const client = new Client({
      ...this.#connection,
      application_name: 'windflow-bus',
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: HEARTBEAT_TIMEOUT_MS,
    });
    // A lost connection shows at the next heartbeat too; without a listener it would end the process.
    client.on('error', (error) => this.#log.debug({ err: error }, 'the bus connection reported an error'));
    client.on('notification', (message) => receiver.wake(message.payload ?? ''));
    try {
      await client.connect();
      await client.query(`listen ${WAKE_UP_CHANNEL}`);
    } catch (error) {
      await end(client);
      throw error;
    }
    this.#client = client;
    return client;
  }

  async #keepListening(first: Client, receiver: Receiver): Promise<void> {
    let client: Client | null = first;
    let backOff = RECONNECT_FIRST_MS;
    while (!this.#stop.signal.aborted) {
      if (client) {
        await lost(client, this.#stop.signal);
        this.#client = null;
        await end(client);
        client = null;
        if (!this.#stop.signal.aborted) this.#log.warn('the bus lost its database connection; reconnecting');
        continue;
      }
      try {
        client = await this.#connect(receiver);
        backOff = RECONNECT_FIRST_MS;
        receiver.wakeAll();
      } catch (error) {
        this.#log.debug({ err: error }, 'the bus could not reconnect yet');
        await delay(backOff, this.#stop.signal);
        backOff = Math.min(backOff * 2, RECONNECT_MAX_MS);
      }
    }
    if (client) await end(client);
    this.#client = null;
  }
}

/** Resolves when the connection ended, or no longer answers, or the signal aborts. */
async function lost(client: Client, signal: AbortSignal): Promise<void> {
  const ended = new AbortController();
  const over = AbortSignal.any([signal, ended.signal]);
  client.once('end', () => ended.abort());
  while (!over.aborted) {
    await delay(HEARTBEAT_MS, over);
    if (over.aborted) return;
    try {
      await client.query('select 1');
    } catch {
      return;
    }
  }
}

/** Ends a connection that may be dead: never waits for a peer that is not there. */
async function end(client: Client): Promise<void> {
  const ended = new AbortController();
  const goodbye = client
    .end()
    .catch(() => {})
    .finally(() => ended.abort());
  await Promise.race([goodbye, delay(END_TIMEOUT_MS, ended.signal)]);
}
