import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** `key`: by which it knows what it was told before. */
export type Received = { method: string; path: string; key: string | undefined; body: string };

/** A server that others tell something: it writes down what, says yes or no, and takes its time where that is wanted. */
export class HttpReceiver implements AsyncDisposable {
  /** In the order in which they came. */
  readonly received: Received[] = [];
  /** What it answers to requests for a path. */
  statusOf: (path: string) => number = () => 200;
  readonly #held = new Map<string, PromiseWithResolvers<void>>();
  readonly #server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const path = request.url!;
    const key = (request.headers['idempotency-key'] ?? request.headers['webhook-id']) as string | undefined;
    this.received.push({ method: request.method!, path, key, body: Buffer.concat(chunks).toString() });
    await this.#held.get(path)?.promise;
    response.sendDate = false;
    response.writeHead(this.statusOf(path), { 'content-type': 'application/json' }).end('{"answer":42}');
  });

  static async start(): Promise<HttpReceiver> {
    const receiver = new HttpReceiver();
    await once(receiver.#server.listen(0, '127.0.0.1'), 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What came for a path. */
  of(path: string): Received[] {
    return this.received.filter((each) => each.path === path);
  }

  /** Answers nothing to requests for the path until it is let go. */
  hold(path: string): void {
    this.#held.set(path, Promise.withResolvers());
  }

  letGo(path: string): void {
    this.#held.get(path)?.resolve();
    this.#held.delete(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
