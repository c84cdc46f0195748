import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Heartbeat, KEEP_ALIVE_MS } from './heartbeat.ts';
import { BEHIND_BYTES, SocketOutlet } from './socket-outlet.ts';
import { STALL_MS } from './stall-watch.ts';

let server: Server;
let sockets: WebSocketServer;
beforeAll(async () => {
  server = createServer().listen(0, '127.0.0.1');
  sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  await once(server, 'listening');
});
afterAll(() => {
  for (const socket of sockets.clients) socket.terminate();
  server.close();
});

const within = { timeout: 10_000, interval: 5 };
const TEXT = 'x'.repeat(BEHIND_BYTES);

/** Both ends of a socket, and a heartbeat that beats when it is told to. */
async function connect() {
  const { port } = server.address() as AddressInfo;
  const upgraded = once(server, 'upgrade');
  const client = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  const [request, connection, head] = await upgraded;
  const opened = once(client, 'open');
  const socket = await new Promise<WebSocket>((resolve) => sockets.handleUpgrade(request, connection, head, resolve));
  await opened;
  const outlet = new SocketOutlet(socket, connection);
  const heartbeat = new Heartbeat(socket, outlet);
  let now = performance.now();
  const beat = () => {
    now += KEEP_ALIVE_MS;
    heartbeat.beat(now);
  };
  return { client, socket, outlet, heartbeat, beat };
}

describe('a heartbeat', () => {
  it('should keep a socket whose peer answers', async () => {
    const { client, socket, heartbeat, beat } = await connect();
    for (let round = 0; round < 3; round++) {
      beat();
      expect(heartbeat.isOwed).toBe(true);
      await expect.poll(() => heartbeat.isOwed, within).toBe(false);
    }
    expect(socket.readyState).toBe(socket.OPEN);
    client.terminate();
  });

  it('should end a socket whose peer had nothing to read, and did not answer until the next', async () => {
    const { client, socket, beat } = await connect();
    client.pause();
    beat();
    expect(socket.readyState).toBe(socket.OPEN);
    beat();
    expect(socket.readyState).toBe(socket.CLOSING);
    client.terminate();
  });

  it('should wait longer for a peer that has much to read before the ping', async () => {
    const { client, socket, outlet, heartbeat, beat } = await connect();
    client.pause();
    socket.send(TEXT);
    socket.send(TEXT);
    await expect.poll(() => outlet.backlog, within).toBe(0);
    for (let passed = 0; passed < STALL_MS; passed += KEEP_ALIVE_MS) beat();
    expect(socket.readyState).toBe(socket.OPEN);
    client.resume();
    await expect.poll(() => heartbeat.isOwed, within).toBe(false);
    client.pause();
    for (let passed = 0; passed < STALL_MS; passed += KEEP_ALIVE_MS) beat();
    expect(socket.readyState).toBe(socket.CLOSING);
    client.terminate();
  });

  it('should not take who was not asked, while something waited, for one that does not answer', async () => {
    const { client, socket, outlet, beat } = await connect();
    client.pause();
    while (outlet.backlog === 0) socket.send(TEXT);
    beat();
    client.resume();
    await expect.poll(() => outlet.backlog, within).toBe(0);
    beat();
    expect(socket.readyState).toBe(socket.OPEN);
    client.terminate();
  });

  it('should close a socket that takes nothing of what waits for it', async () => {
    const { client, outlet, socket, beat } = await connect();
    client.pause();
    while (outlet.backlog === 0) socket.send(TEXT);
    for (let passed = 0; passed <= STALL_MS + KEEP_ALIVE_MS; passed += KEEP_ALIVE_MS) beat();
    expect(socket.readyState).toBe(socket.CLOSING);
    const closed = once(client, 'close');
    client.resume();
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([1013, 'SLOW_READER']);
  });
});
