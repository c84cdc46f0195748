import { once } from 'node:events';
import net from 'node:net';

/** A way to an engine's socket over TCP, which can be closed for a while. */
export class Detour implements AsyncDisposable {
  port = 0;
  readonly #socket: string;
  readonly #connections = new Set<net.Socket>();
  #server: net.Server | null = null;

  /** `endpoint`: "unix:///path". */
  static async to(endpoint: string): Promise<Detour> {
    const way = new Detour(endpoint.slice('unix://'.length));
    await way.open();
    return way;
  }

  private constructor(socket: string) {
    this.#socket = socket;
  }

  async open(): Promise<void> {
    const server = net.createServer((near) => this.#join(near, net.connect(this.#socket)));
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as net.AddressInfo).port;
    this.#server = server;
  }

  /** Cuts off what is under way, too. */
  close(): void {
    this.#server?.close();
    for (const connection of this.#connections) connection.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #join(near: net.Socket, far: net.Socket): void {
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#connections.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#connections.delete(one);
        other.destroy();
      });
    }
  }
}
