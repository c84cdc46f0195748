import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { SharedFrame } from './shared-frame.ts';
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

/** Both ends of a socket, and what the client hears. */
async function connect() {
  const { port } = server.address() as AddressInfo;
  const upgraded = once(server, 'upgrade');
  const client = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  const heard: string[] = [];
  client.on('message', (data) => heard.push(String(data)));
  const [request, connection, head] = await upgraded;
  const opened = once(client, 'open');
  const outlet = await new Promise<SocketOutlet>((resolve) =>
    sockets.handleUpgrade(request, connection, head, (socket) => resolve(new SocketOutlet(socket, connection))),
  );
  await opened;
  return { client, heard, outlet };
}
const frameOf = (payload: unknown) => new SharedFrame(Buffer.from(JSON.stringify(payload)));
const never = new AbortController().signal;
const within = { timeout: 10_000, interval: 5 };

describe('a frame for many sockets', () => {
  it('should arrive whole under the id of each operation, whatever its length and that of the id', async () => {
    const ends = [await connect(), await connect(), await connect()];
    const texts = fc.array(
      fc.record({
        payload: fc.oneof(fc.json(), fc.string({ minLength: 65_400, maxLength: 65_700, size: 'max' })),
        ids: fc.tuple(fc.string(), fc.string({ maxLength: 600, size: 'max' }), fc.uuid()),
      }),
      { maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(texts, async (messages) => {
        for (const { heard } of ends) heard.length = 0;
        for (const { payload, ids } of messages) {
          const frame = frameOf(payload);
          for (const [index, { outlet }] of ends.entries())
            outlet.sinkOf(ids[index]!, (it: SharedFrame) => it).write(frame);
        }
        await expect.poll(() => ends.every(({ heard }) => heard.length === messages.length), within).toBe(true);
        for (const [index, { heard }] of ends.entries())
          expect(heard.map((text) => JSON.parse(text))).toEqual(
            messages.map(({ payload, ids }) => JSON.parse(JSON.stringify({ id: ids[index], type: 'next', payload }))),
          );
      }),
      { numRuns: 12 },
    );
    for (const { client } of ends) client.terminate();
  });

  it('should stay whole for who takes it late, while others are told further ones', async () => {
    const [late, other] = [await connect(), await connect()];
    late.client.pause();
    const payloads = Array.from({ length: 400 }, (_, index) => `${index} ${'x'.repeat(60_000)}`);
    for (const payload of payloads) {
      const frame = frameOf(payload);
      for (const { outlet } of [late, other]) outlet.sinkOf('a', (it: SharedFrame) => it).write(frame);
    }
    expect(late.outlet.isBehind).toBe(true);
    late.client.resume();
    for (const { heard } of [late, other]) {
      await expect.poll(() => heard.length, within).toBe(payloads.length);
      expect(heard.every((text, index) => JSON.parse(text).payload === payloads[index])).toBe(true);
    }
    for (const { client } of [late, other]) client.terminate();
  });
});

describe('a socket that takes nothing', () => {
  it('should be behind until it has taken what waits, and count as stalled after a while', async () => {
    const { client, heard, outlet } = await connect();
    client.pause();
    const sink = outlet.sinkOf('a', (it: SharedFrame) => it);
    let written = 0;
    while (!sink.isBehind) {
      sink.write(frameOf('x'.repeat(BEHIND_BYTES / 4)));
      written += 1;
    }
    expect(outlet.backlog).toBeGreaterThan(BEHIND_BYTES);
    expect(outlet.backlog).toBeLessThan(2 * BEHIND_BYTES);
    const now = performance.now();
    expect(outlet.hasStalled(now)).toBe(false);
    expect(outlet.hasStalled(now + STALL_MS - 1_000)).toBe(false);
    expect(outlet.hasStalled(now + STALL_MS + 1_000)).toBe(true);
    const drained = sink.drained(never);
    client.resume();
    await drained;
    await expect.poll(() => heard.length, within).toBe(written);
    expect([outlet.isBehind, outlet.hasStalled(now + 3 * STALL_MS)]).toEqual([false, false]);
    client.terminate();
  });

  it('should be waited for no longer when it is gone, or nobody waits any more', async () => {
    const { client, outlet } = await connect();
    client.pause();
    const sink = outlet.sinkOf('a', (it: SharedFrame) => it);
    while (!sink.isBehind) sink.write(frameOf('x'.repeat(BEHIND_BYTES)));
    const leaving = new AbortController();
    const left = sink.drained(leaving.signal);
    leaving.abort();
    await left;
    const drained = sink.drained(never);
    client.terminate();
    await drained;
  });
});
