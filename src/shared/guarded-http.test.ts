import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GuardedHttp, HttpRequestError, MAX_REDIRECTS } from './guarded-http.ts';

let server: Server;
let answer: RequestListener;
let asked: { method?: string; url?: string; headers: IncomingMessage['headers']; body: string }[];
const open = new GuardedHttp(['127.0.0.1']);
const url = (path = '/', host = '127.0.0.1') => `http://${host}:${(server.address() as AddressInfo).port}${path}`;

beforeEach(async () => {
  asked = [];
  answer = (_, response) => response.end('hello');
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    asked.push({ ...pick(request), body: Buffer.concat(chunks).toString() });
    answer(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const pick = ({ method, url: path, headers }: IncomingMessage) => ({ method, url: path, headers });

it('should send what is asked, and answer whatever the status', async () => {
  answer = (_, response) => response.writeHead(418, { 'x-kind': 'teapot' }).end('short and stout');
  const sent = { url: url('/tea?x=1'), method: 'PUT', headers: { 'X-One': '1' }, body: 'leaves' };
  const got = await open.send(sent);
  expect(got).toMatchObject({ status: 418, body: 'short and stout', isCut: false, headers: { 'x-kind': 'teapot' } });
  expect(asked).toMatchObject([{ method: 'PUT', url: '/tea?x=1', body: 'leaves', headers: { 'x-one': '1' } }]);
});

it.each([
  '127.0.0.1',
  'localhost',
  '127.1',
  '0x7f.1',
  '2130706433',
  '[::ffff:127.0.0.1]',
  '0.0.0.0',
])('should not reach the own machine: %s', async (host) => {
  const sent = new GuardedHttp().send({ url: url('/', host) });
  await expect(sent).rejects.toMatchObject({ name: 'HttpRequestError', isTransient: false });
  await expect(sent).rejects.toThrow('not one of the public internet');
  expect(asked).toHaveLength(0);
});

it.each([
  '10.0.0.1',
  '192.168.1.1',
  '172.16.0.1',
  '169.254.169.254',
  '100.64.0.1',
  '[fd00::1]',
  '[fe80::1]',
])('should not reach private networks: %s', async (host) => {
  await expect(open.send({ url: `http://${host}/` })).rejects.toThrow('not one of the public internet');
});

it('should not be led there by a redirect', async () => {
  answer = (_, response) => response.writeHead(302, { location: 'http://10.0.0.1/' }).end();
  await expect(open.send({ url: url() })).rejects.toThrow('not one of the public internet');
});

it('should follow redirects as browsers do, and keep secrets from other origins', async () => {
  const other = createServer((request, response) => {
    asked.push({ ...pick(request), body: '' });
    response.end('there');
  });
  await once(other.listen(0, '127.0.0.1'), 'listening');
  const there = `http://127.0.0.1:${(other.address() as AddressInfo).port}/there`;
  answer = ({ url: path }, response) =>
    response.writeHead(path === '/one' ? 307 : 303, { location: path === '/one' ? '/two' : there }).end();
  const headers = { Authorization: 'Bearer x', 'X-One': '1' };
  const got = await open.send({ url: url('/one'), method: 'POST', body: 'b', headers });
  other.close();
  expect(got).toMatchObject({ body: 'there', url: there });
  expect(asked).toMatchObject([
    { method: 'POST', body: 'b', headers: { authorization: 'Bearer x' } },
    { method: 'POST', body: 'b', headers: { authorization: 'Bearer x' } },
    { method: 'GET', url: '/there', headers: { 'x-one': '1' } },
  ]);
  expect(asked[2]!.headers.authorization).toBeUndefined();

  answer = (_, response) => response.writeHead(302, { location: '/' }).end();
  await expect(open.send({ url: url() })).rejects.toThrow(`more than ${MAX_REDIRECTS} redirects`);
});

it('should hand over a redirect that it is not to follow', async () => {
  answer = (_, response) => response.writeHead(302, { location: '/two' }).end();
  expect(await open.send({ url: url('/one'), redirects: 'manual' })).toMatchObject({ status: 302 });
  expect(asked).toHaveLength(1);
});

it('should connect for other protocols under the same rule', async () => {
  const { port } = server.address() as AddressInfo;
  const end = new AbortController();
  const socket = await open.connect('127.0.0.1', port, end.signal);
  expect(socket.remotePort).toBe(port);
  socket.destroy();
  for (const host of ['127.0.0.1', 'localhost', '10.0.0.1'])
    await expect(new GuardedHttp().connect(host, port, end.signal)).rejects.toThrow('not one of the public internet');
});

it('should read no more than it is told to', async () => {
  answer = (_, response) => {
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(1_000)));
    };
    response.on('drain', more);
    more();
  };
  const got = await open.send({ url: url(), maxBytes: 1_500 });
  expect(got).toMatchObject({ isCut: true, body: 'x'.repeat(1_500) });
});

it('should end when its time is over, or it is cancelled', async () => {
  answer = (_, response) => response.writeHead(200).write('begun');
  await expect(open.send({ url: url(), timeoutMs: 200 })).rejects.toMatchObject({
    message: 'no answer within 0.2 s',
    isTransient: true,
  });
  const cancel = new AbortController();
  const reason = new Error('cancelled');
  const sent = open.send({ url: url(), signal: cancel.signal });
  setImmediate(() => cancel.abort(reason));
  await expect(sent).rejects.toBe(reason);
});

it.each([
  [{ url: 'ftp://example.org/' }, 'http or https'],
  [{ url: '/path' }, 'http or https'],
  [{ url: 'http://me:secret@example.org/' }, 'must not hold a name or password'],
  [{ url: 'http://example.org/', headers: { Host: 'x' } }, 'the header Host cannot be set'],
  [{ url: 'http://example.org/', headers: { 'a b': 'x' } }, '"a b" is no header'],
  [{ url: 'http://example.org/', headers: { a: 'x\r\ny: z' } }, '"a" is no header'],
])('should refuse what cannot be sent: %o', async (request, message) => {
  await expect(open.send(request)).rejects.toThrow(HttpRequestError);
  await expect(open.send(request)).rejects.toThrow(message);
});

it('should say that nobody answers', async () => {
  await expect(open.send({ url: 'http://127.0.0.1:9/' })).rejects.toMatchObject({ isTransient: true });
});

it('should say of a certificate that is not trusted what to do, and of a server without TLS that it has none', async () => {
  const file = (name: string) => readFileSync(new URL(`../../test/fixtures/tls/${name}.pem`, import.meta.url));
  const secure = createTlsServer({ cert: file('stranger'), key: file('key') });
  await once(secure.listen(0, '127.0.0.1'), 'listening');
  const { port } = secure.address() as AddressInfo;
  await expect(open.send({ url: `https://127.0.0.1:${port}` })).rejects.toThrow(/certificate .* NODE_EXTRA_CA_CERTS/);
  secure.close();
  const sent = open.send({ url: url().replace('http:', 'https:') });
  await expect(sent).rejects.toThrow('there is no answer: no TLS came about');
});
