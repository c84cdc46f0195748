import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Sink } from '../realtime/hub-follower.ts';
import { type Beginning, beginningOf, type SharedFrame } from './shared-frame.ts';
import { StallWatch } from './stall-watch.ts';

/** With so much waiting to be sent a socket is behind: what it misses from then on it reads from storage, at its own pace. */
export const BEHIND_BYTES = 64 * 1024;

/** It counts what it was given, where it is one of the network. */
type Connection = Duplex & { readonly bytesWritten?: number };

/** The sending side of a socket: whether it keeps up, and frames whose payload is the same for many. */
export class SocketOutlet {
  readonly connection: Connection;
  readonly #socket: WebSocket;
  #waiting = new Set<() => void>();
  readonly #stall: StallWatch;

  constructor(socket: WebSocket, connection: Connection) {
    this.#socket = socket;
    this.connection = connection;
    this.#stall = new StallWatch(connection);
    const wake = () => {
      for (const resolve of [...this.#waiting]) resolve();
    };
    connection.on('drain', wake);
    connection.once('close', wake);
  }

  get isBehind(): boolean {
    return this.connection.writableLength > BEHIND_BYTES;
  }

  /** Bytes that wait to be sent, in this process: what was asked of the peer may be behind them. */
  get backlog(): number {
    return this.connection.writableLength;
  }

  /** Bytes handed to the system so far. */
  get sent(): number {
    const { bytesWritten = 0, writableLength } = this.connection;
    return bytesWritten - writableLength;
  }

  /** See `StallWatch`. */
  hasStalled(now: number): boolean {
    return this.#stall.hasStalled(now);
  }

  /** Resolves when everything that waited has been sent, the connection is gone, or the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    if (!this.isBehind || signal.aborted || this.connection.destroyed) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  /** Takes results of one operation as `next` messages. */
  sinkOf<Result>(operationId: string, frameOf: (result: Result) => SharedFrame): Sink<Result> {
    const beginning = beginningOf(`{"id":${JSON.stringify(operationId)},"type":"next","payload":`);
    const outlet = this;
    return {
      write: (result) => this.#write(frameOf(result), beginning),
      get isBehind() {
        return outlet.isBehind;
      },
      drained: (signal) => this.drained(signal),
    };
  }

  #write(frame: SharedFrame, beginning: Beginning): void {
    if (this.#socket.readyState === this.#socket.OPEN) frame.writeTo(this.connection, beginning);
  }
}
