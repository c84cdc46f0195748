import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { pathsOf } from '../support/field-paths.ts';
import { HttpSink } from '../support/http-sink.ts';
import { NotificationChannels, SECRET } from '../support/notification-channels.ts';
import { SmtpServer } from '../support/smtp-server.ts';

const PASSWORD = 'mail-server-password';

let app: TestApp;
let sink: HttpSink;
let acme: Deployer;
let developer: Deployer;
let viewer: Deployer;
let rival: Deployer;
let channels: NotificationChannels;
beforeAll(async () => {
  sink = await HttpSink.start();
  app = await startApp({ allowedAddresses: ['127.0.0.1'] });
  acme = await Deployer.create(app, null, 'Acme');
  [developer, viewer] = [await acme.addMember('DEVELOPER'), await acme.addMember('VIEWER')];
  rival = await acme.newTenant('Rival');
  channels = new NotificationChannels(acme, sink);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await sink?.[Symbol.asyncDispose]();
});

describe('a channel', () => {
  it('should be made, read, changed and deleted', async () => {
    const name = 'to be changed';
    const { channel, secret } = await channels.create({
      name,
      eventTypes: ['stack.*', 'deployment.failed', 'stack.*'],
    });
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
    expect(await channels.read(channel.id)).toEqual(channel);

    const configuration = { webhook: { url: 'https://hooks.example.com/of/acme' } };
    const changed = await channels.update(channel.id, {
      name: 'changed',
      isEnabled: false,
      eventTypes: [],
      configuration,
    });
    const values = { name: 'changed', isEnabled: false, eventTypes: [], target: 'https://hooks.example.com' };
    expect(changed).toEqual({ __typename: 'NotificationChannel', ...channel, ...values });
    expect(await channels.update(channel.id, {})).toEqual(changed);

    expect(await channels.remove(channel.id)).toEqual({ __typename: 'Deleted', id: channel.id });
    expect(await channels.remove(channel.id)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await channels.read(channel.id)).toBeNull();
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
    const [first, second] = [await channels.create(input), await channels.create(input)];
    expect(second).toEqual({ ...first, secret: null });
    expect(first.secret).toEqual(expect.any(String));
    const other = { ...input, configuration: { webhook: { url: sink.url('/hook'), secret: SECRET } } };
    expect(await channels.tryCreate(other)).toMatchObject({ code: 'CONFLICT' });
  });

  it('should have a name of its own in the organization', async () => {
    const { channel } = await channels.create({ name: 'taken' });
    expect(await channels.tryCreate({ name: 'taken' })).toMatchObject({ code: 'CONFLICT' });
    expect(await channels.update(await channels.newWebhook('/x'), { name: 'taken' })).toMatchObject({
      code: 'CONFLICT',
    });
    expect(await channels.update(channel.id, { name: 'taken' })).toMatchObject({ name: 'taken' });
  });

  it('should stay of its kind', async () => {
    const { channel } = await channels.create({ configuration: { slack: { url: sink.url('/slack') } } });
    const refused = await channels.update(channel.id, { configuration: { discord: { url: sink.url('/discord') } } });
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
    const refused = await channels.tryCreate(input);
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
    const id = await channels.newWebhook('/hook', { name: 'watched' });
    const list =
      'query ($id: ID!) { organization(id: $id) { notificationChannels(search: "WATCH") { totalCount nodes { name } } } }';
    const see = async (by: Deployer) => (await by.ask(list, { id: acme.organizationId })).organization;
    expect(await see(developer)).toEqual({ notificationChannels: { totalCount: 1, nodes: [{ name: 'watched' }] } });
    expect(await see(viewer)).toEqual({ notificationChannels: null });
    expect(await channels.read(id, developer)).toMatchObject({ name: 'watched' });
    expect(await channels.read(id, viewer)).toBeNull();
    expect(await channels.read(id, rival)).toBeNull();
    const delivery = await channels.test(id);
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
    await using mail = await SmtpServer.start();
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
      const created = await channels.create({ configuration });
      told.push(created, await channels.test(created.channel.id), await channels.read(created.channel.id));
    }
    const { rows } = await app.database.pool.query(
      `select to_jsonb(c)::text as row from notification_channels c union all select to_jsonb(d)::text from notification_deliveries d
       union all select to_jsonb(e)::text from events e union all select to_jsonb(k)::text from idempotency_keys k`,
    );
    const everything = JSON.stringify([told, rows]);
    for (const one of [...secrets, secret.slice(6)]) expect(everything).not.toContain(one);
  });
});
