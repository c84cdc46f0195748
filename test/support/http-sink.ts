import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export type ReceivedRequest = { method: string; path: string; headers: IncomingHttpHeaders; body: string };

/** A server that keeps what it is asked, and answers each request by its path. */
export class HttpSink {
  readonly requests: ReceivedRequest[] = [];
  /** What it answers under a path, one after the other, the last one again and again; without an entry 204. */
  answers: Record<string, { status: number; headers?: Record<string, string> }[]> = {};
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { method = '', url: path = '', headers } = request;
      this.requests.push({ method, path, headers, body: Buffer.concat(chunks).toString('utf8') });
      const planned = this.answers[path] ?? [];
      const answer = (planned.length > 1 ? planned.shift() : planned[0]) ?? { status: 204 };
      response.writeHead(answer.status, answer.headers).end();
    });
  }

  static async start(): Promise<HttpSink> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new HttpSink(server);
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  /** What came under a path, in order. */
  under(path: string): ReceivedRequest[] {
    return this.requests.filter((request) => request.path === path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
