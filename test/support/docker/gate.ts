import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';

/** `answer`: the engine gets the request, and nobody hears of it. Otherwise the request does not come so far. */
export type Hold = { request: RegExp; answer?: boolean };

/** The only way to an engine, at a socket of its own: holds up one request at a time, as if that moment lasted. */
export class Gate implements AsyncDisposable {
  readonly #folder = mkdtempSync('/tmp/wfg-');
  readonly endpoint = `unix://${path.join(this.#folder, 'docker.sock')}`;
  readonly #engine: string;
  readonly #connections = new Set<net.Socket>();
  #server: net.Server | null = null;
  #hold: Hold | null = null;
  #held = Promise.withResolvers<void>();

  /** `endpoint`: "unix:///path". */
  static async to(endpoint: string): Promise<Gate> {
    const gate = new Gate(endpoint);
    await gate.open();
    return gate;
  }

  private constructor(endpoint: string) {
    this.#engine = endpoint.slice('unix://'.length);
  }

  async open(): Promise<void> {
    const server = net.createServer((near) => this.#join(near, net.connect(this.#engine)));
    server.listen(this.endpoint.slice('unix://'.length));
    await once(server, 'listening');
    this.#server = server;
  }

  /** Nobody gets through any more; what is under way is cut off. */
  close(): void {
    this.#server?.close();
    for (const connection of this.#connections) connection.destroy();
  }

  /** Resolves when the next such request is held up; it stays so until its connection ends. */
  async hold(hold: Hold): Promise<void> {
    this.#hold = hold;
    this.#held = Promise.withResolvers();
    await this.#held.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #join(near: net.Socket, far: net.Socket): void {
    let isHeld = false;
    near.on('data', (bytes: Buffer) => {
      const hold = this.#hold;
      if (!isHeld && hold?.request.test(bytes.toString('latin1'))) {
        isHeld = true;
        this.#hold = null;
        if (!hold.answer) this.#held.resolve();
        else far.once('data', () => this.#held.resolve());
        if (!hold.answer) return;
      }
      if (!isHeld || hold?.answer) far.write(bytes);
    });
    far.on('data', (bytes: Buffer) => void (isHeld || near.write(bytes)));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#connections.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#connections.delete(one);
        other.destroy();
      });
    }
  }
}
