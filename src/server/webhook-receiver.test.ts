import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, type RequestOptions, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Services } from '../graphql/context.ts';
import { WEBHOOK_PATH } from '../shared/webhook-path.ts';
import { MAX_WEBHOOK_BODY_BYTES, receiveWebhook } from './webhook-receiver.ts';

const PATH = `${WEBHOOK_PATH}one`;
const TOO_LONG = Buffer.alloc(MAX_WEBHOOK_BODY_BYTES + 1, 'x');

/** Tells the length of what it was given. */
const receive = async ({ body }: { body: string }) => ({ status: 202, body: { message: String(body.length) } });
const services = { workflows: { receive } } as unknown as Pick<Services, 'workflows'>;

let server: Server;
let agent: Agent;
let lingerMs: number | undefined;
beforeEach(async () => {
  lingerMs = undefined;
  server = createServer((asked, response) => void receiveWebhook(services, asked, response, PATH, lingerMs));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  // One connection at a time: a request waits for the one before.
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
});
afterEach(async () => {
  agent.destroy();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const port = () => (server.address() as AddressInfo).port;
const post = (options: RequestOptions = {}) =>
  request({ host: '127.0.0.1', port: port(), path: PATH, method: 'POST', agent, ...options });
const answerTo = async (asked: ReturnType<typeof post>) => {
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return {
    status: response.statusCode,
    connection: response.headers.connection,
    body: JSON.parse(await text(response)),
  };
};

describe('a body that is too long', () => {
  const refused = { status: 413, connection: 'close', body: { message: expect.stringContaining('262144 bytes') } };

  it('should be refused while it is still being sent, and the next request be answered', async () => {
    const endless = post();
    endless.on('error', () => undefined);
    endless.write(TOO_LONG);
    expect(await answerTo(endless)).toEqual(refused);
    const next = post();
    next.end('{}');
    expect(await answerTo(next)).toMatchObject({ status: 202, body: { message: '2' } });
  });

  it('should be refused to who reads no answer before all of it is sent', async () => {
    lingerMs = 60_000;
    const socket = connect(port(), '127.0.0.1');
    await once(socket, 'connect');
    socket.pause();
    const length = 64 * TOO_LONG.length;
    socket.write(`POST ${PATH} HTTP/1.1\r\nHost: here\r\nContent-Length: ${length}\r\n\r\n`);
    for (let sent = 0; sent < length; sent += TOO_LONG.length) if (!socket.write(TOO_LONG)) await once(socket, 'drain');
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 413 .*262144 bytes"}$/s);
  });

  it('should not be listened to for ever', async () => {
    lingerMs = 1;
    const socket = connect(port(), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`POST ${PATH} HTTP/1.1\r\nHost: here\r\nContent-Length: ${2 * TOO_LONG.length}\r\n\r\n`);
    socket.write(TOO_LONG);
    socket.resume();
    await once(socket, 'close');
  });
});

it('should keep the connection after an answer to a body that it has read', async () => {
  const sockets: unknown[] = [];
  for (const body of ['{}', '{"a":1}']) {
    const asked = post();
    asked.once('socket', (socket) => sockets.push(socket));
    asked.end(body);
    expect(await answerTo(asked)).toMatchObject({ status: 202, connection: 'keep-alive' });
  }
  expect(sockets[0]).toBe(sockets[1]);
});
