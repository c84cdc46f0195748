import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HttpSink } from '../support/http-sink.ts';
import { SmtpServer } from '../support/smtp-server.ts';

const CHANNEL = 'id name kind isEnabled eventTypes target organization { id } createdBy { ... on User { id } }';
const CREATED = `NotificationChannelCreated { secret channel { ${CHANNEL} } }`;
const DELIVERY = 'id status eventType eventId message attempts error sentAt lastAttemptAt channel { id }';
const READ = `query ($id: ID!) { notificationChannel(id: $id) { ${CHANNEL} } node(id: $id) { id __typename } }`;
const DELIVERIES = `query ($id: ID!, $status: [NotificationDeliveryStatus!]) { notificationChannel(id: $id) {
  deliveries(first: 100, status: $status) { totalCount nodes { ${DELIVERY} } } } }`;
const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
const PASSWORD = 'mail-server-password';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let sink: HttpSink;
let mail: SmtpServer;
let acme: Deployer;
let developer: Deployer;
let viewer: Deployer;
let rival: Deployer;
beforeAll(async () => {
  [sink, mail] = [await HttpSink.start(), await SmtpServer.start()];
  app = await startApp({ allowedAddresses: ['127.0.0.1'] });
  acme = await Deployer.create(app, null, 'Acme');
  [developer, viewer] = [await acme.addMember('DEVELOPER'), await acme.addMember('VIEWER')];
  rival = await acme.newTenant('Rival');
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await mail?.[Symbol.asyncDispose]();
  await sink?.[Symbol.asyncDispose]();
});

let made = 0;
const tryCreate = (input: object = {}, by = acme): Promise<Data> =>
  by.try('notificationChannelCreate', CREATED, {
    organizationId: acme.organizationId,
    name: `channel ${++made}`,
    configuration: { webhook: { url: sink.url('/hook') } },
    ...input,
  });
const create = async (input: object = {}): Promise<Data> => {
  const created = await tryCreate(input);
  if (created.__typename !== 'NotificationChannelCreated') throw new Error(JSON.stringify(created));
  return created;
};
const newChannel = async (path: string, input: object = {}): Promise<string> =>
  (await create({ configuration: { webhook: { url: sink.url(path), secret: SECRET } }, ...input })).channel.id;
const update = (notificationChannelId: string, input: object, by = acme): Promise<Data> =>
  by.try('notificationChannelUpdate', `NotificationChannel { ${CHANNEL} }`, { notificationChannelId, ...input });
const test = (notificationChannelId: string, by = acme): Promise<Data> =>
  by.try('notificationChannelTest', `NotificationDelivery { ${DELIVERY} }`, { notificationChannelId });
const remove = (notificationChannelId: string, by = acme): Promise<Data> =>
  by.try('notificationChannelDelete', 'Deleted { id }', { notificationChannelId });
const retry = (notificationDeliveryId: string, by = acme): Promise<Data> =>
  by.try('notificationDeliveryRetry', `NotificationDelivery { ${DELIVERY} }`, { notificationDeliveryId });
const read = async (id: string, by = acme): Promise<Data> => (await by.ask(READ, { id })).notificationChannel;
const deliveries = async (id: string, status?: string[]): Promise<Data[]> =>
  (await acme.ask(DELIVERIES, { id, status })).notificationChannel.deliveries.nodes;
const pathsOf = ({ fields }: { fields?: { path: string[] }[] }) => fields?.map(({ path }) => path.join('.'));
/** What is to be tried again later is due now. */
const hasten = (deliveryId: string) =>
  app.database.pool.query('update notification_deliveries set next_attempt_at = now() where id = $1', [
    decodeIdOf('NotificationDelivery', deliveryId),
  ]);

describe('a channel', () => {
  it('should be made, read, changed and deleted', async () => {
    const name = 'to be changed';
    const { channel, secret } = await create({ name, eventTypes: ['stack.*', 'deployment.failed', 'stack.*'] });
    expect(channel).toEqual({
      id: expect.any(String),
      name,
      kind: 'WEBHOOK',
      isEnabled: true,
      eventTypes: ['stack.*', 'deployment.failed'],
      target: new URL(sink.url('/')).origin,
      organization: { id: acme.organizationId },
      createdBy: { id: expect.any(String) },
    });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(await read(channel.id)).toEqual(channel);

    const configuration = { webhook: { url: 'https://hooks.example.com/of/acme' } };
    const changed = await update(channel.id, { name: 'changed', isEnabled: false, eventTypes: [], configuration });
    const values = { name: 'changed', isEnabled: false, eventTypes: [], target: 'https://hooks.example.com' };
    expect(changed).toEqual({ __typename: 'NotificationChannel', ...channel, ...values });
    expect(await update(channel.id, {})).toEqual(changed);

    expect(await remove(channel.id)).toEqual({ __typename: 'Deleted', id: channel.id });
    expect(await remove(channel.id)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await read(channel.id)).toBeNull();
    const { rows } = await app.database.pool.query(
      'select type, data from events where subject_id = $1 order by sequence',
      [decodeIdOf('NotificationChannel', channel.id)],
    );
    expect(rows).toEqual([
      { type: 'notificationChannel.created', data: { name, kind: 'WEBHOOK' } },
      {
        type: 'notificationChannel.updated',
        data: { fields: ['name', 'isEnabled', 'eventTypes', 'configuration'] },
      },
      { type: 'notificationChannel.deleted', data: {} },
    ]);
  });

  it('should be made once for the same key, its secret told once', async () => {
    const input = { name: 'once', idempotencyKey: 'once' };
    const [first, second] = [await create(input), await create(input)];
    expect(second).toEqual({ ...first, secret: null });
    expect(first.secret).toEqual(expect.any(String));
    const other = { ...input, configuration: { webhook: { url: sink.url('/hook'), secret: SECRET } } };
    expect(await tryCreate(other)).toMatchObject({ code: 'CONFLICT' });
  });

  it('should have a name of its own in the organization', async () => {
    const { channel } = await create({ name: 'taken' });
    expect(await tryCreate({ name: 'taken' })).toMatchObject({ code: 'CONFLICT' });
    expect(await update(await newChannel('/x'), { name: 'taken' })).toMatchObject({ code: 'CONFLICT' });
    expect(await update(channel.id, { name: 'taken' })).toMatchObject({ name: 'taken' });
  });

  it('should stay of its kind', async () => {
    const { channel } = await create({ configuration: { slack: { url: sink.url('/slack') } } });
    const refused = await update(channel.id, { configuration: { discord: { url: sink.url('/discord') } } });
    expect(refused).toMatchObject({ code: 'VALIDATION_ERROR', message: expect.stringContaining('stays SLACK') });
    expect(pathsOf(refused)).toEqual(['configuration']);
  });

  const email = { to: ['a@example.com'], from: 'b@example.com', host: 'mail.example.com' };
  it.each([
    ['a name that is empty', { name: ' ' }, ['name']],
    ['types that there are none of', { eventTypes: ['stack.*', 'stack.built', '*'] }, ['eventTypes.1', 'eventTypes.2']],
    ['an address that is none', { configuration: { slack: { url: 'hooks' } } }, ['configuration.slack.url']],
    ['another protocol', { configuration: { discord: { url: 'ftp://a.b/' } } }, ['configuration.discord.url']],
    [
      'a login in an address',
      { configuration: { webhook: { url: 'http://a:b@c.d/' } } },
      ['configuration.webhook.url'],
    ],
    [
      'a secret that is too short',
      { configuration: { webhook: { url: 'http://a.b/', secret: 'whsec_c2hvcnQ=' } } },
      ['configuration.webhook.secret'],
    ],
    ['nobody to write to', { configuration: { email: { ...email, to: [] } } }, ['configuration.email.to']],
    [
      'more than 20 to write to',
      { configuration: { email: { ...email, to: Array(21).fill('a@example.com') } } },
      ['configuration.email.to'],
    ],
    [
      'what is no address, host or port',
      { configuration: { email: { to: ['a@b.com', 'x\r\ny'], from: 'me', host: 'a b', port: 0 } } },
      ['configuration.email.to.1', 'configuration.email.from', 'configuration.email.host', 'configuration.email.port'],
    ],
    ['a username alone', { configuration: { email: { ...email, username: 'me' } } }, ['configuration.email.password']],
  ])('should not have %s', async (_what, input, paths) => {
    const refused = await tryCreate(input);
    expect(refused).toMatchObject({ code: 'VALIDATION_ERROR' });
    expect(pathsOf(refused)).toEqual(paths);
  });

  it('should have one configuration', async () => {
    const both = { slack: { url: sink.url('/') }, discord: { url: sink.url('/') } };
    const document =
      'mutation ($input: NotificationChannelCreateInput!) { notificationChannelCreate(input: $input) { __typename } }';
    for (const configuration of [both, {}, { slack: null }]) {
      const input = { organizationId: acme.organizationId, name: 'x', configuration };
      expect(await acme.refusal(document, { input })).toBe('BAD_REQUEST');
    }
  });

  it('should be an admin’s to change and a developer’s to see', async () => {
    const id = await newChannel('/hook', { name: 'watched' });
    const list =
      'query ($id: ID!) { organization(id: $id) { notificationChannels(search: "WATCH") { totalCount nodes { name } } } }';
    const see = async (by: Deployer) => (await by.ask(list, { id: acme.organizationId })).organization;
    expect(await see(developer)).toEqual({ notificationChannels: { totalCount: 1, nodes: [{ name: 'watched' }] } });
    expect(await see(viewer)).toEqual({ notificationChannels: null });
    expect(await read(id, developer)).toMatchObject({ name: 'watched' });
    expect(await read(id, viewer)).toBeNull();
    expect(await read(id, rival)).toBeNull();
    const delivery = await test(id);
    const node = 'query ($id: ID!) { node(id: $id) { id } }';
    expect(await developer.ask(node, { id: delivery.id })).toEqual({ node: { id: delivery.id } });
    for (const by of [viewer, rival]) expect(await by.ask(node, { id: delivery.id })).toEqual({ node: null });

    const calls: [string, object][] = [
      [
        'notificationChannelCreate',
        { organizationId: acme.organizationId, name: 'x', configuration: { slack: { url: 'http://a.b/' } } },
      ],
      ['notificationChannelUpdate', { notificationChannelId: id, name: 'x' }],
      ['notificationChannelTest', { notificationChannelId: id }],
      ['notificationChannelDelete', { notificationChannelId: id }],
      ['notificationDeliveryRetry', { notificationDeliveryId: delivery.id }],
    ];
    for (const [field, input] of calls) {
      const type = `${field[0]!.toUpperCase()}${field.slice(1)}`;
      const document = `mutation ($input: ${type}Input!) { ${field}(input: $input) { __typename } }`;
      expect(await developer.refusal(document, { input }), field).toBe('PERMISSION_DENIED');
      expect(await rival.ask(document, { input }), field).toEqual({ [field]: { __typename: 'NotFoundError' } });
    }
  });

  it('should never tell its secrets, nor store them in the clear', async () => {
    const secrets = ['/services/T0/B0/very-secret', SECRET, PASSWORD];
    const [path, secret, password] = secrets as [string, string, string];
    const login = { username: 'robot', password };
    const configurations = [
      { webhook: { url: sink.url(path), secret } },
      { slack: { url: sink.url(path) } },
      {
        email: {
          ...{ to: ['a@example.com'], from: 'b@example.com', host: '127.0.0.1', port: mail.port },
          ...{ security: 'NONE', ...login },
        },
      },
    ];
    sink.answers[path] = [{ status: 404 }];
    const told = [];
    for (const configuration of configurations) {
      const created = await create({ configuration });
      told.push(created, await test(created.channel.id), await read(created.channel.id));
    }
    const { rows } = await app.database.pool.query(
      `select to_jsonb(c)::text as row from notification_channels c union all select to_jsonb(d)::text from notification_deliveries d
       union all select to_jsonb(e)::text from events e union all select to_jsonb(k)::text from idempotency_keys k`,
    );
    const everything = JSON.stringify([told, rows]);
    for (const one of [...secrets, secret.slice(6)]) expect(everything).not.toContain(one);
  });
});

describe('a test', () => {
  it('should send a webhook that its receiver can verify', async () => {
    const { channel, secret } = await create({ configuration: { webhook: { url: sink.url('/signed') } } });
    const delivery = await test(channel.id);
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
    const { channel, secret } = await create();
    const verified = async (path: string, used: string) => {
      expect(await test(channel.id)).toMatchObject({ status: 'SENT' });
      const { headers, body } = sink.under(path)[0]!;
      const signed = createHmac('sha256', Buffer.from(used.slice(6), 'base64'));
      signed.update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`);
      return headers['webhook-signature'] === `v1,${signed.digest('base64')}`;
    };
    await update(channel.id, { configuration: { webhook: { url: sink.url('/moved') } } });
    expect(await verified('/moved', secret)).toBe(true);
    await update(channel.id, { configuration: { webhook: { url: sink.url('/rotated'), secret: SECRET } } });
    expect(await verified('/rotated', SECRET)).toBe(true);
  });

  it('should write to Slack and Discord as they want it', async () => {
    for (const kind of ['slack', 'discord']) {
      const { channel } = await create({ configuration: { [kind]: { url: sink.url(`/${kind}`) } } });
      expect(await test(channel.id)).toMatchObject({ status: 'SENT' });
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
    const { channel } = await create(mailTo({ username: 'robot', password: PASSWORD }));
    expect(channel).toMatchObject({ kind: 'EMAIL', target: 'one@example.com, two@example.com' });
    const delivery = await test(channel.id);
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
    const { channel } = await create(mailTo({ username: 'robot', password: PASSWORD }));
    mail.answers = { 'AUTH PLAIN': `535 not with ${PASSWORD}` };
    const refusal = { status: 'FAILED', error: 'the mail server refused the username or password' };
    expect(await test(channel.id)).toMatchObject(refusal);
    mail.answers = { 'RCPT TO:<two': '550 no such mailbox' };
    expect(await test(channel.id)).toMatchObject({ status: 'SENT', error: 'the mail server refused two@example.com' });
    mail.answers = { 'MAIL FROM': '451 not now' };
    expect(await test(channel.id)).toMatchObject({ status: 'PENDING', error: expect.stringContaining('451 not now') });
    mail.answers = { 'MAIL FROM': '553 not you' };
    expect(await test(channel.id)).toMatchObject({ status: 'FAILED', error: expect.stringContaining('553 not you') });
    mail.answers = {};
  });

  it('should not speak to a mail server in the clear unless it was told to', async () => {
    const to = ['nobody@example.com'];
    for (const security of ['STARTTLS', 'TLS', null]) {
      const { channel } = await create(mailTo({ to, security, username: 'robot', password: PASSWORD }));
      expect(await test(channel.id)).toMatchObject({ sentAt: null, error: expect.stringMatching(/TLS|ended|clos/i) });
    }
    expect(mail.mails.filter(({ to: [first] }) => first === to[0])).toEqual([]);
  });

  it('should reach nothing that is not public, whatever protocol', async () => {
    const [http, smtp] = [
      await create({ configuration: { slack: { url: 'http://10.0.0.1/' } } }),
      await create(mailTo({ host: '169.254.169.254' })),
    ];
    for (const { channel } of [http, smtp])
      expect(await test(channel.id)).toMatchObject({
        status: 'FAILED',
        error: expect.stringContaining('not one of the public internet'),
      });
  });
});

describe('events', () => {
  const newStack = (name: string) => acme.newStack('services: { web: { command: [sleep, "1"] } }', name);
  const headings = (path: string) => sink.under(path).map(({ body }) => JSON.parse(body).message.split('\n')[0]);

  it('should be told once, in order, with what they are about', async () => {
    await newStack('before');
    const id = await newChannel('/events', { eventTypes: ['stack.*'] });
    const names = Array.from({ length: 10 }, (_, index) => `stack ${index}`);
    const stacks: string[] = [];
    for (const name of names) stacks.push(await newStack(name));
    await acme.mutate('stackDelete', 'Deleted { id }', { stackId: stacks[0] });
    const all = [...names.map((name) => `stack.created: ${name}`), 'stack.deleted'];
    await eventually('all are told', () => sink.under('/events').length >= all.length);
    expect(headings('/events')).toEqual(all);
    const [first] = sink.under('/events').map(({ body }) => JSON.parse(body));
    expect(first).toMatchObject({ type: 'stack.created', subjectId: stacks[0], data: { name: 'stack 0' } });
    const node = 'query ($id: ID!) { node(id: $id) { ... on Event { type occurredAt } } }';
    expect(await acme.ask(node, { id: first.eventId })).toEqual({
      node: { type: first.type, occurredAt: first.occurredAt },
    });
    await eventually('all are stored as sent', async () => (await deliveries(id, ['SENT'])).length === all.length);
    expect(await deliveries(id)).toHaveLength(all.length);
  });

  it('should be told of deployments, with names and reasons', async () => {
    await newChannel('/deployments', { eventTypes: ['deployment.failed'] });
    const stackId = await acme.newStack('services: { web: { command: ["/nowhere/at-all"] } }', 'broken');
    const failed = await acme.deploy(stackId);
    expect(failed.status).toBe('FAILED');
    await eventually('it is told', () => sink.under('/deployments').length > 0);
    const { message, data } = JSON.parse(sink.under('/deployments')[0]!.body);
    expect(message.split('\n')[0]).toBe('deployment.failed: deployment 1 of broken in dev');
    expect(message).toContain(failed.statusReason);
    expect(data).toMatchObject({ status: 'FAILED', stackId, environmentId: acme.environmentId });
  });

  it('should not be told to a channel that is disabled, nor later', async () => {
    const id = await newChannel('/switched', { eventTypes: ['stack.created'] });
    await newStack('on 1');
    await eventually('it is told', () => sink.under('/switched').length === 1);
    await update(id, { isEnabled: false });
    await newStack('off');
    await update(id, { isEnabled: true });
    await newStack('on 2');
    await eventually('it is told again', () => sink.under('/switched').length > 1);
    expect(headings('/switched')).toEqual(['stack.created: on 1', 'stack.created: on 2']);
  });
});

describe('a delivery', () => {
  it('should be tried again after a 500 until it is taken', async () => {
    sink.answers['/weak'] = [{ status: 500 }, { status: 200 }];
    const id = await newChannel('/weak');
    const first = await test(id);
    expect(first).toMatchObject({ status: 'PENDING', error: 'it answered 500 Internal Server Error', attempts: 1 });
    await hasten(first.id);
    await eventually('it is sent', async () => (await deliveries(id, ['SENT'])).length === 1);
    expect(await deliveries(id)).toMatchObject([{ id: first.id, attempts: 2, error: null }]);
    expect(sink.under('/weak').map(({ headers }) => headers['webhook-id'])).toEqual([first.id, first.id]);
  });

  it('should fail with the reason, and be sent again on demand', async () => {
    sink.answers['/picky'] = [{ status: 400 }, { status: 204 }];
    const id = await newChannel('/picky');
    const failed = await test(id);
    expect(failed).toMatchObject({ status: 'FAILED', error: 'it answered 400 Bad Request', sentAt: null });
    expect(await retry(failed.id)).toMatchObject({ id: failed.id, status: 'PENDING', attempts: 0 });
    await eventually('it is sent', async () => (await deliveries(id, ['SENT'])).length === 1);
    expect(await deliveries(id)).toMatchObject([{ id: failed.id, attempts: 1, error: null }]);
    expect(await retry(failed.id)).toMatchObject({ code: 'CONFLICT' });
  });

  it('should not follow a redirect, which would lose the message', async () => {
    sink.answers['/moved-away'] = [{ status: 302, headers: { location: '/elsewhere' } }];
    expect(await test(await newChannel('/moved-away'))).toMatchObject({
      status: 'FAILED',
      error: 'it answered 302 Found',
    });
    expect(sink.under('/elsewhere')).toEqual([]);
  });

  it('should fail where its channel is disabled, and go where that is deleted', async () => {
    sink.answers['/down'] = [{ status: 503 }];
    const id = await newChannel('/down');
    const pending = await test(id);
    expect(pending).toMatchObject({ status: 'PENDING' });
    await update(id, { isEnabled: false });
    const disabled = { status: 'FAILED', error: 'the channel is disabled' };
    expect(await deliveries(id)).toMatchObject([{ id: pending.id, ...disabled }]);
    expect(await test(id)).toMatchObject(disabled);
    expect(await retry(pending.id)).toMatchObject({ code: 'CONFLICT' });
    await remove(id);
    expect(await acme.ask('query ($id: ID!) { node(id: $id) { id } }', { id: pending.id })).toEqual({ node: null });
  });
});
