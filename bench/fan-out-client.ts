import { randomUUID } from 'node:crypto';
import { WebSocket } from 'ws';

/** What the parent process asks for: many sockets with one subscription each, and to be told when all have so many lines. */
export type Order =
  | { open: { url: string; subprotocol: string | null; count: number; tokens: string[]; payloads: object[] } }
  | { expect: number };

const OPEN_AT_ONCE = 50;
const LINE_MARK = Buffer.from('"sequence":');

let sockets: WebSocket[] = [];
let heard: number[] = [];
let wanted = 0;
let missing = 0;
let frames = 0;

process.on('message', async (order: Order) => {
  if ('open' in order) {
    await open(order.open);
    process.send!({ opened: sockets.length });
  } else {
    wanted = order.expect;
    missing = heard.filter((lines) => lines < wanted).length;
    if (missing === 0) done();
  }
});
process.on('disconnect', () => process.exit(0));

async function open({ url, subprotocol, count, tokens, payloads }: Extract<Order, { open: unknown }>['open']) {
  sockets = [];
  heard = Array.from({ length: count }, () => 0);
  for (let from = 0; from < count; from += OPEN_AT_ONCE) {
    const group = Array.from({ length: Math.min(OPEN_AT_ONCE, count - from) }, (_, offset) => from + offset);
    const opened = group.map((index) => {
      const payload = payloads[index % payloads.length]!;
      return subprotocol
        ? subscribe(index, url, subprotocol, tokens[index % tokens.length], payload)
        : listen(index, url);
    });
    sockets.push(...(await Promise.all(opened)));
  }
}

function listen(index: number, url: string): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    socket.on('message', (data: Buffer) => count(index, data));
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });
}

function subscribe(index: number, url: string, protocol: string, token: string | undefined, payload: object) {
  return new Promise<WebSocket>((resolve, reject) => {
    const socket = new WebSocket(url, protocol, { perMessageDeflate: false });
    const start = protocol === 'graphql-ws' ? 'start' : 'subscribe';
    socket.once('error', reject);
    socket.once('close', (code, reason) => reject(new Error(`a socket was closed: ${code} ${reason}`)));
    socket.once('open', () =>
      socket.send(
        JSON.stringify({ type: 'connection_init', payload: token ? { authorization: `Bearer ${token}` } : {} }),
      ),
    );
    socket.on('message', (data: Buffer) => {
      if (data.includes('"connection_ack"')) {
        socket.send(JSON.stringify({ id: randomUUID(), type: start, payload }));
        return resolve(socket);
      }
      count(index, data);
    });
  });
}

function count(index: number, data: Buffer): void {
  const before = heard[index]!;
  let lines = before;
  for (let at = data.indexOf(LINE_MARK); at >= 0; at = data.indexOf(LINE_MARK, at + 1)) lines += 1;
  if (lines === before) return;
  frames += 1;
  heard[index] = lines;
  if (before < wanted && lines >= wanted) {
    missing -= 1;
    if (missing === 0) done();
  }
}

function done(): void {
  process.send!({ reached: wanted, frames, most: Math.max(...heard) });
}
