import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { serverApp } from '../support/server-app.ts';
import { SmtpServer } from '../support/smtp-server.ts';

const AUTHORITY = fileURLToPath(new URL('../fixtures/tls/ca.pem', import.meta.url));
const LOGIN = { username: 'robot', password: 'mail-server-password' };
const TO = ['one@example.com'];

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let database: TestDatabase;
let server: ServerProcess;
let acme: Deployer;
beforeAll(async () => {
  database = await createTestDatabase();
  // Node reads it when a process starts: this one trusts the tests' authority as users let it trust their own.
  const env = { NODE_EXTRA_CA_CERTS: AUTHORITY, WINDFLOW_ALLOWED_ADDRESSES: '127.0.0.1' };
  server = await startServer({ databaseUrl: connectionUrl(database.connection), env });
  acme = await Deployer.create(serverApp(server, database), null, 'Acme');
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

let made = 0;
/** Sends a test to it by a new channel. */
async function send({ port }: SmtpServer, security: string): Promise<Data> {
  const email = { to: TO, from: 'windflow@example.com', host: '127.0.0.1', port, security, ...LOGIN };
  const created = await acme.mutate('notificationChannelCreate', 'NotificationChannelCreated { channel { id } }', {
    ...{ organizationId: acme.organizationId, name: `channel ${++made}`, configuration: { email } },
  });
  return acme.mutate('notificationChannelTest', 'NotificationDelivery { status error sentAt }', {
    notificationChannelId: created.channel.id,
  });
}

/** What it was told beside how to begin with TLS, once nobody tells it more. */
async function toldTo(mail: SmtpServer): Promise<string[]> {
  await eventually('the connection is closed', () => mail.connections === 0);
  return mail.commands.filter((command) => !/^(EHLO|STARTTLS)\b/.test(command));
}

describe.each(['TLS', 'STARTTLS'] as const)('a mail server that speaks %s', (security) => {
  it('should get mail and password where its certificate is trusted', async () => {
    await using mail = await SmtpServer.start({ security });
    expect(await send(mail, security)).toMatchObject({ status: 'SENT', error: null });
    expect(mail.mails).toMatchObject([{ to: TO, login: LOGIN, isEncrypted: true }]);
  });

  it.each([
    ['of an authority that is not trusted', 'stranger', /of no authority that .* NODE_EXTRA_CA_CERTS$/],
    ['of another host', 'elsewhere', /for another host: .* mail\.example\.com$/],
    ['out of date', 'expired', /out of date/],
  ] as const)('should get neither where it is %s', async (_what, certificate, words) => {
    await using mail = await SmtpServer.start({ security, certificate });
    const error = expect.stringMatching(words);
    expect(await send(mail, security)).toMatchObject({ status: 'PENDING', sentAt: null, error });
    expect(await toldTo(mail)).toEqual([]);
    expect(mail.mails).toEqual([]);
  });
});

describe('a mail server that does not speak TLS as it is asked to', () => {
  const NO_TLS = 'no TLS came about: wrong version number';
  it.each([
    ['begins in the clear', 'TLS', 'STARTTLS', {}, NO_TLS],
    ['has no STARTTLS', 'STARTTLS', 'NONE', {}, '502 not here'],
    ['has no STARTTLS at the moment', 'STARTTLS', 'STARTTLS', { STARTTLS: '454 not now' }, '454 not now'],
  ] as const)('should get nothing where it %s', async (_what, wanted, security, answers, error) => {
    await using mail = await SmtpServer.start({ security });
    mail.answers = answers;
    expect(await send(mail, wanted)).toMatchObject({ sentAt: null, error: expect.stringContaining(error) });
    expect(await toldTo(mail)).toEqual([]);
    expect(mail.mails).toEqual([]);
  });
});
