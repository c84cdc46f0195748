import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import type { Random } from '../support/seeded-random.ts';
import type { ServerProcess } from '../support/server.ts';
import type { Line } from '../support/server-client.ts';

const RETRY_MS = 50;
const LOG = `subscription ($id: ID!, $after: String) { deploymentLogs(deploymentId: $id, after: $after) {
  missedLines endCursor lines { sequence service stream message } } }`;

/** Why a connection ended: the subscriber left, cut it without a word, or lost it. */
export type Departure = 'left' | 'cut' | 'lost';

type Batch = { missedLines: number; endCursor: string; lines: Line[] };
type Options = {
  token: string;
  deploymentId: string;
  random: Random;
  /** Leaves its server after each of so many lines, in ascending order. */
  departures: number[];
};

/** Follows a log with graphql-ws' client, now on one server, then on another, at its cursor each time. */
export class RoamingSubscriber implements Disposable {
  readonly lines: Line[] = [];
  missed = 0;
  isComplete = false;
  /** How each connection ended, those aside that were lost before they brought anything. */
  readonly departures: Departure[] = [];
  /** Codes of errors by which the server ended the subscription. */
  readonly refusals: string[] = [];
  readonly #servers: readonly ServerProcess[];
  readonly #options: Options;
  readonly #over = new AbortController();
  #cursor: string | null = null;

  constructor(servers: readonly ServerProcess[], first: ServerProcess, options: Options) {
    this.#servers = servers;
    this.#options = options;
    void this.#roam(first);
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }

  async #roam(first: ServerProcess): Promise<void> {
    const { random } = this.#options;
    let server = first;
    while (!this.isComplete && !this.#over.signal.aborted) {
      const before = this.lines.length;
      const departure = await this.#follow(server);
      const isFailure = departure === 'lost' && this.lines.length === before;
      if (departure !== null && !isFailure) this.departures.push(departure);
      if (departure === 'lost') await sleep(RETRY_MS);
      server = random.pick(this.#servers);
    }
  }

  /** One connection. Null: the log is complete. */
  async #follow(server: ServerProcess): Promise<Departure | null> {
    const { token, deploymentId, random } = this.#options;
    let socket: WebSocket | undefined;
    const client = createClient({
      url: server.url.replace('http', 'ws'),
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
      retryAttempts: 0,
      on: {
        opened: (opened) => {
          socket = opened as WebSocket;
        },
      },
    });
    const end = () => void client.dispose();
    this.#over.signal.addEventListener('abort', end, { once: true });
    try {
      const variables = { id: deploymentId, after: this.#cursor };
      for await (const { data, errors } of client.iterate<{ deploymentLogs: Batch }>({ query: LOG, variables })) {
        if (errors) throw errors;
        this.#take(data!.deploymentLogs);
        if (!this.#departs()) continue;
        if (random.next() < 0.5) return 'left';
        socket?.terminate();
        return 'cut';
      }
      this.isComplete = true;
      return null;
    } catch (error) {
      if (Array.isArray(error)) this.refusals.push(String(error[0]?.extensions?.code));
      return 'lost';
    } finally {
      this.#over.signal.removeEventListener('abort', end);
      end();
    }
  }

  #take({ lines, missedLines, endCursor }: Batch): void {
    this.lines.push(...lines);
    this.missed += missedLines;
    this.#cursor = endCursor;
  }

  #departs(): boolean {
    const { departures } = this.#options;
    if (departures.length === 0 || this.lines.length < departures[0]!) return false;
    departures.shift();
    return true;
  }
}
