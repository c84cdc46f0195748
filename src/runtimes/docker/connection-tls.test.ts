import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RuntimeUnavailableError } from '../runtime.ts';
import { engineIdentity } from './connection.ts';

/** Certificates of an authority for these tests: a server's for 127.0.0.1, a client's, and a stranger's, which vouches for itself. */
const pem = (name: string) => readFileSync(new URL(`fixtures/tls/${name}.pem`, import.meta.url), 'utf8');
const [ca, cert, key] = [pem('ca'), pem('client'), pem('client-key')];
const INFO = { ApiVersion: '1.47', ID: 'one', Name: 'engine', ServerVersion: '29.0.0' };

let engine: https.Server;
let asked = 0;

beforeAll(async () => {
  const guard = { ca, cert: pem('server'), key: pem('server-key'), requestCert: true, rejectUnauthorized: true };
  engine = https.createServer(guard, (_, response) => {
    asked++;
    response.setHeader('content-type', 'application/json').end(JSON.stringify(INFO));
  });
  await once(engine.listen(0, '127.0.0.1'), 'listening');
});
afterAll(() => engine.close());

const ask = (tls?: { ca: string; cert: string; key: string }, host = '127.0.0.1') =>
  engineIdentity({ endpoint: `tcp://${host}:${(engine.address() as AddressInfo).port}`, tls, isLocal: true });

it('should reach an engine that both sides have certificates for', async () => {
  expect(await ask({ ca, cert, key })).toEqual({ id: 'one', name: 'engine', version: '29.0.0' });
});

it.each([
  ['an engine of another authority', () => ask({ ca: pem('stranger'), cert, key })],
  ['an engine under a name that its certificate is not for', () => ask({ ca, cert, key }, 'localhost')],
  ['an engine that does not know the client', () => ask({ ca, cert: pem('stranger'), key: pem('stranger-key') })],
  ['an engine that speaks TLS, without it', () => ask()],
])('should say nothing to %s', async (_, refused) => {
  const before = asked;
  await expect(refused()).rejects.toThrow(RuntimeUnavailableError);
  expect(asked).toBe(before);
});
