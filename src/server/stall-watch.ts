import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { cutOffUnreachable } from './unreachable-peers.ts';

/** A connection whose peer takes nothing for so long, though something waits for it, is ended. */
export const STALL_MS = 60_000;
const LOOK_MS = 12_000;

/** Whether what is written to a connection is taken at its other end. */
export class StallWatch {
  readonly #connection: Duplex & { bytesWritten?: number };
  #taken = 0;
  #progressAt = performance.now();

  constructor(connection: Duplex) {
    this.#connection = connection;
  }

  /** Whether the peer has taken nothing for too long, as looked at now and then. */
  hasStalled(now: number): boolean {
    const { bytesWritten = 0, writableLength } = this.#connection;
    const taken = bytesWritten - writableLength;
    if (writableLength === 0 || taken > this.#taken) this.#progressAt = now;
    this.#taken = taken;
    return now - this.#progressAt >= STALL_MS;
  }
}

export type ResponseWatch = Disposable & {
  /** Cuts off the response once its reader has stalled, or is there no more. */
  add(response: ServerResponse): void;
};

/** Looks after responses that go on and on: nothing else ends them while their reader only stalls. */
export function createResponseWatch(): ResponseWatch {
  const watched = new Map<ServerResponse, StallWatch>();
  const timer = setInterval(() => {
    for (const [response, watch] of watched) if (watch.hasStalled(performance.now())) response.destroy();
    void cutOffUnreachable([...watched.keys()].flatMap(({ socket }) => (socket?.writableLength ? socket : [])));
  }, LOOK_MS);
  timer.unref();
  return {
    add(response) {
      watched.set(response, new StallWatch(response.socket!));
      response.once('close', () => watched.delete(response));
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
