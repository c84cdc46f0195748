import type { WebSocket } from 'ws';
import { TRY_AGAIN_LATER } from './socket-operations.ts';
import { BEHIND_BYTES, type SocketOutlet } from './socket-outlet.ts';
import { STALL_MS } from './stall-watch.ts';

/** Time between two pings. A peer that has nothing to read and does not answer one until the next is gone. */
export const KEEP_ALIVE_MS = 12_000;

/** Whether somebody is there at the other end of a socket, asked at each beat. */
export class Heartbeat {
  readonly #socket: WebSocket;
  readonly #outlet: SocketOutlet;
  /** Beats since the first ping that was not answered. */
  #unanswered = 0;
  /** Bytes sent before that ping, and before the last one that was answered. */
  #sentBeforePing = 0;
  #takenByPeer = 0;

  constructor(socket: WebSocket, outlet: SocketOutlet) {
    this.#socket = socket;
    this.#outlet = outlet;
    socket.on('pong', () => {
      this.#takenByPeer = this.#sentBeforePing;
      this.#unanswered = 0;
    });
    socket.on('message', () => {
      this.#unanswered = 0;
    });
  }

  /** The peer owes an answer, or something waits for it. */
  get isOwed(): boolean {
    return this.#unanswered > 0 || this.#outlet.backlog > 0;
  }

  /** Closes the socket if its peer takes nothing, ends it if nobody answers, and asks again. */
  beat(now: number): void {
    if (this.#outlet.hasStalled(now)) this.#socket.close(TRY_AGAIN_LATER, 'SLOW_READER');
    // A ping would only wait behind what the peer has not taken yet.
    if (this.#socket.readyState !== this.#socket.OPEN || this.#outlet.backlog > 0) return;
    if (this.#unanswered * KEEP_ALIVE_MS >= this.#patienceMs) {
      this.#socket.terminate();
      return;
    }
    if (this.#unanswered === 0) this.#sentBeforePing = this.#outlet.sent;
    this.#unanswered += 1;
    this.#socket.ping();
  }

  /** What lies between here and the peer's program comes before a ping: who has much to read has longer to answer. */
  get #patienceMs(): number {
    return this.#outlet.sent - this.#takenByPeer > BEHIND_BYTES ? STALL_MS : KEEP_ALIVE_MS;
  }
}
