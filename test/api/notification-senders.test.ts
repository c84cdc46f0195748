import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { HttpSink } from '../support/http-sink.ts';
import { NotificationChannels, SECRET } from '../support/notification-channels.ts';
import { SmtpServer } from '../support/smtp-server.ts';

const PASSWORD = 'mail-server-password';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let sink: HttpSink;
let mail: SmtpServer;
let acme: Deployer;
let channels: NotificationChannels;
beforeAll(async () => {
  [sink, mail] = [await HttpSink.start(), await SmtpServer.start()];
  app = await startApp({ allowedAddresses: ['127.0.0.1'] });
  acme = await Deployer.create(app, null, 'Acme');
  channels = new NotificationChannels(acme, sink);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await mail?.[Symbol.asyncDispose]();
  await sink?.[Symbol.asyncDispose]();
});

describe('a test', () => {
  it('should send a webhook that its receiver can verify', async () => {
    const { channel, secret } = await channels.create({ configuration: { webhook: { url: sink.url('/signed') } } });
    const delivery = await channels.test(channel.id);
    expect(delivery).toEqual({
      __typename: 'NotificationDelivery',
      id: expect.any(String),
      status: 'SENT',
      eventType: 'notification.test',
      eventId: null,
      message: expect.any(String),
      attempts: 1,
      error: null,
      sentAt: expect.any(String),
      lastAttemptAt: expect.any(String),
      channel: { id: channel.id },
    });
    const [{ method, headers, body }] = sink.under('/signed') as [Data];
    expect({ method, type: headers['content-type'] }).toEqual({ method: 'POST', type: 'application/json' });
    expect(headers['webhook-id']).toBe(delivery.id);
    expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1_000)).toBeLessThan(60);
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    const signed = createHmac('sha256', key).update(`${delivery.id}.${headers['webhook-timestamp']}.${body}`);
    expect(headers['webhook-signature']).toBe(`v1,${signed.digest('base64')}`);
    expect(JSON.parse(body)).toEqual({
      id: delivery.id,
      type: 'notification.test',
      occurredAt: expect.any(String),
      organizationId: acme.organizationId,
      eventId: null,
      subjectId: null,
      data: {},
      message: delivery.message,
    });
  });

  it('should keep a webhook’s secret when its address changes, and take another one', async () => {
    const { channel, secret } = await channels.create();
    const verified = async (path: string, used: string) => {
      expect(await channels.test(channel.id)).toMatchObject({ status: 'SENT' });
      const { headers, body } = sink.under(path)[0]!;
      const signed = createHmac('sha256', Buffer.from(used.slice(6), 'base64'));
      signed.update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`);
      return headers['webhook-signature'] === `v1,${signed.digest('base64')}`;
    };
    await channels.update(channel.id, { configuration: { webhook: { url: sink.url('/moved') } } });
    expect(await verified('/moved', secret)).toBe(true);
    await channels.update(channel.id, { configuration: { webhook: { url: sink.url('/rotated'), secret: SECRET } } });
    expect(await verified('/rotated', SECRET)).toBe(true);
  });

  it('should write to Slack and Discord as they want it', async () => {
    for (const kind of ['slack', 'discord']) {
      const { channel } = await channels.create({ configuration: { [kind]: { url: sink.url(`/${kind}`) } } });
      expect(await channels.test(channel.id)).toMatchObject({ status: 'SENT' });
    }
    const bodies = ['/slack', '/discord'].map((path) => JSON.parse(sink.under(path)[0]!.body));
    expect(bodies).toEqual([
      { text: expect.any(String) },
      { content: expect.any(String), allowed_mentions: { parse: [] } },
    ]);
    expect(sink.under('/slack')[0]!.headers).not.toHaveProperty('webhook-signature');
  });

  const mailTo = (more: object = {}) => ({
    configuration: {
      email: {
        ...{ to: ['one@example.com', 'two@example.com'], from: 'windflow@example.com', host: '127.0.0.1' },
        ...{ port: mail.port, security: 'NONE', ...more },
      },
    },
  });

  it('should send an e-mail to all, with a login where there is one', async () => {
    const { channel } = await channels.create(mailTo({ username: 'robot', password: PASSWORD }));
    expect(channel).toMatchObject({ kind: 'EMAIL', target: 'one@example.com, two@example.com' });
    const delivery = await channels.test(channel.id);
    expect(delivery).toMatchObject({ status: 'SENT', error: null });
    const received = mail.mails.at(-1)!;
    expect(received).toMatchObject({
      from: 'windflow@example.com',
      to: ['one@example.com', 'two@example.com'],
      login: { username: 'robot', password: PASSWORD },
    });
    expect(received.source).toContain(`\r\nSubject: ${delivery.message}\r\n`);
    expect(received.source).toMatch(new RegExp(`\r\n\r\n${delivery.message}`));
    expect(received.source).toContain(`Message-ID: <${decodeIdOf('NotificationDelivery', delivery.id)}@windflow>`);
  });

  it('should say what a mail server does not take, and not whom it told', async () => {
    const { channel } = await channels.create(mailTo({ username: 'robot', password: PASSWORD }));
    mail.answers = { 'AUTH PLAIN': `535 not with ${PASSWORD}` };
    const refusal = { status: 'FAILED', error: 'the mail server refused the username or password' };
    expect(await channels.test(channel.id)).toMatchObject(refusal);
    mail.answers = { 'RCPT TO:<two': '550 no such mailbox' };
    expect(await channels.test(channel.id)).toMatchObject({
      status: 'SENT',
      error: 'the mail server refused two@example.com',
    });
    mail.answers = { 'MAIL FROM': '451 not now' };
    expect(await channels.test(channel.id)).toMatchObject({
      status: 'PENDING',
      error: expect.stringContaining('451 not now'),
    });
    mail.answers = { 'MAIL FROM': '553 not you' };
    expect(await channels.test(channel.id)).toMatchObject({
      status: 'FAILED',
      error: expect.stringContaining('553 not you'),
    });
    mail.answers = {};
  });

  it('should not speak to a mail server in the clear unless it was told to', async () => {
    await using untold = await SmtpServer.start();
    const { port } = untold;
    for (const security of ['STARTTLS', 'TLS', null]) {
      const { channel } = await channels.create(mailTo({ port, security, username: 'robot', password: PASSWORD }));
      expect(await channels.test(channel.id)).toMatchObject({
        sentAt: null,
        error: expect.stringMatching(/TLS|ended|clos/i),
      });
    }
    expect(untold.mails).toEqual([]);
    expect(untold.commands.filter((command) => !/^(EHLO|STARTTLS)\b/.test(command))).toEqual([]);
  });

  it('should reach nothing that is not public, whatever protocol', async () => {
    const [http, smtp] = [
      await channels.create({ configuration: { slack: { url: 'http://10.0.0.1/' } } }),
      await channels.create(mailTo({ host: '169.254.169.254' })),
    ];
    for (const { channel } of [http, smtp])
      expect(await channels.test(channel.id)).toMatchObject({
        status: 'FAILED',
        error: expect.stringContaining('not one of the public internet'),
      });
  });
});
