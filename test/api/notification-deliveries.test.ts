import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HttpSink } from '../support/http-sink.ts';
import { NotificationChannels } from '../support/notification-channels.ts';

let app: TestApp;
let sink: HttpSink;
let acme: Deployer;
let channels: NotificationChannels;
beforeAll(async () => {
  sink = await HttpSink.start();
  app = await startApp({ allowedAddresses: ['127.0.0.1'] });
  acme = await Deployer.create(app, null, 'Acme');
  channels = new NotificationChannels(acme, sink);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await sink?.[Symbol.asyncDispose]();
});

/** What is to be tried again later is due now. */
const hasten = (deliveryId: string) =>
  app.database.pool.query('update notification_deliveries set next_attempt_at = now() where id = $1', [
    decodeIdOf('NotificationDelivery', deliveryId),
  ]);

describe('events', () => {
  const newStack = (name: string) => acme.newStack('services: { web: { command: [sleep, "1"] } }', name);
  const headings = (path: string) => sink.under(path).map(({ body }) => JSON.parse(body).message.split('\n')[0]);

  it('should be told once, in order, with what they are about', async () => {
    await newStack('before');
    const id = await channels.newWebhook('/events', { eventTypes: ['stack.*'] });
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
    await eventually(
      'all are stored as sent',
      async () => (await channels.deliveries(id, ['SENT'])).length === all.length,
    );
    expect(await channels.deliveries(id)).toHaveLength(all.length);
  });

  it('should be told of deployments, with names and reasons', async () => {
    await channels.newWebhook('/deployments', { eventTypes: ['deployment.failed'] });
    const stackId = await acme.newStack('services: { web: { command: ["/nowhere/at-all"] } }', 'broken');
    const failed = await acme.deploy(stackId);
    expect(failed.status).toBe('FAILED');
    await eventually('it is told', () => sink.under('/deployments').length > 0);
    const { message, data } = JSON.parse(sink.under('/deployments')[0]!.body);
    expect(message.split('\n')[0]).toBe('deployment.failed: deployment 1 of broken in dev');
    expect(message).toContain(failed.statusReason);
    expect(data).toMatchObject({ status: 'FAILED', stackId, environmentId: acme.environmentId });
  });

  it('should be told with the name of what they are about, and of what is asked', async () => {
    const told =
      'workflow.updated agent.updated environment.updated variable.set execution.waiting execution.failed'.split(' ');
    const id = await channels.newWebhook('/named', { eventTypes: [...told, 'notificationChannel.updated'] });
    await channels.update(id, { name: 'On call' });
    const { organizationId } = acme;
    const { id: agentId } = await acme.mutate('agentCreate', 'Agent { id }', { organizationId, name: 'reviewer' });
    await acme.mutate('agentUpdate', 'Agent { id }', { agentId, name: 'Reviewer' });
    const environmentId = (await acme.newEnvironment('before')).id;
    await acme.mutate('environmentUpdate', 'Environment { id }', { environmentId, name: 'After' });
    await acme.as(acme.token, environmentId).setVariable('LOG_LEVEL', 'debug');
    const definition = { steps: { golive: { kind: 'approval', message: 'Version ${{ 1 + 1 }} to production?' } } };
    const values = { organizationId, name: 'release', definition };
    const { id: workflowId } = await acme.mutate('workflowCreate', 'Workflow { id }', values);
    await acme.mutate('workflowUpdate', 'Workflow { id }', { workflowId, name: 'Release' });
    const { id: executionId } = await acme.mutate('workflowRun', 'Execution { id }', { workflowId });
    await eventually('it waits', () => headings('/named').includes('execution.waiting: Release (workflow)'));
    const decision = { executionId, step: 'golive', approved: false };
    await acme.mutate('executionApprove', 'Execution { id }', decision);
    await eventually('it has failed', () => headings('/named').includes('execution.failed: Release (workflow)'));
    expect(headings('/named').toSorted()).toEqual([
      'agent.updated: Reviewer',
      'environment.updated: After',
      'execution.failed: Release (workflow)',
      'execution.waiting: Release (workflow)',
      'notificationChannel.updated: On call',
      'variable.set: LOG_LEVEL in After',
      'workflow.updated: Release',
    ]);
    const messages: string[] = sink.under('/named').map(({ body }) => JSON.parse(body).message);
    expect(messages).toContainEqual(expect.stringMatching(/\ngolive: Version 2 to production\?$/));
  });

  it('should not be told to a channel that is disabled, nor later', async () => {
    const id = await channels.newWebhook('/switched', { eventTypes: ['stack.created'] });
    await newStack('on 1');
    await eventually('it is told', () => sink.under('/switched').length === 1);
    await channels.update(id, { isEnabled: false });
    await newStack('off');
    await channels.update(id, { isEnabled: true });
    await newStack('on 2');
    await eventually('it is told again', () => sink.under('/switched').length > 1);
    expect(headings('/switched')).toEqual(['stack.created: on 1', 'stack.created: on 2']);
  });
});

describe('a delivery', () => {
  it('should be tried again after a 500 until it is taken', async () => {
    sink.answers['/weak'] = [{ status: 500 }, { status: 200 }];
    const id = await channels.newWebhook('/weak');
    const first = await channels.test(id);
    expect(first).toMatchObject({ status: 'PENDING', error: 'it answered 500 Internal Server Error', attempts: 1 });
    await hasten(first.id);
    await eventually('it is sent', async () => (await channels.deliveries(id, ['SENT'])).length === 1);
    expect(await channels.deliveries(id)).toMatchObject([{ id: first.id, attempts: 2, error: null }]);
    expect(sink.under('/weak').map(({ headers }) => headers['webhook-id'])).toEqual([first.id, first.id]);
  });

  it('should fail with the reason, and be sent again on demand', async () => {
    sink.answers['/picky'] = [{ status: 400 }, { status: 204 }];
    const id = await channels.newWebhook('/picky');
    const failed = await channels.test(id);
    expect(failed).toMatchObject({ status: 'FAILED', error: 'it answered 400 Bad Request', sentAt: null });
    expect(await channels.retry(failed.id)).toMatchObject({ id: failed.id, status: 'PENDING', attempts: 0 });
    await eventually('it is sent', async () => (await channels.deliveries(id, ['SENT'])).length === 1);
    expect(await channels.deliveries(id)).toMatchObject([{ id: failed.id, attempts: 1, error: null }]);
    expect(await channels.retry(failed.id)).toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching('was sent'),
    });
  });

  it('should be sent at once on demand where it waits for its next attempt', async () => {
    sink.answers['/hasty'] = [{ status: 503, headers: { 'retry-after': '3000' } }, { status: 204 }];
    const id = await channels.newWebhook('/hasty');
    const waiting = await channels.test(id);
    expect(await channels.retry(waiting.id)).toMatchObject({ id: waiting.id, status: 'PENDING', attempts: 1 });
    await eventually('it is sent', async () => (await channels.deliveries(id, ['SENT'])).length === 1);
    expect(await channels.deliveries(id)).toMatchObject([{ id: waiting.id, attempts: 2, error: null }]);
  });

  it('should not follow a redirect, which would lose the message', async () => {
    sink.answers['/moved-away'] = [{ status: 302, headers: { location: '/elsewhere' } }];
    expect(await channels.test(await channels.newWebhook('/moved-away'))).toMatchObject({
      status: 'FAILED',
      error: 'it answered 302 Found',
    });
    expect(sink.under('/elsewhere')).toEqual([]);
  });

  it('should fail where its channel is disabled, and go where that is deleted', async () => {
    sink.answers['/down'] = [{ status: 503 }];
    const id = await channels.newWebhook('/down');
    const pending = await channels.test(id);
    expect(pending).toMatchObject({ status: 'PENDING' });
    await channels.update(id, { isEnabled: false });
    const disabled = { status: 'FAILED', error: 'the channel is disabled' };
    expect(await channels.deliveries(id)).toMatchObject([{ id: pending.id, ...disabled }]);
    expect(await channels.test(id)).toMatchObject(disabled);
    const refused = { code: 'CONFLICT', message: expect.stringMatching('its channel is disabled') };
    expect(await channels.retry(pending.id)).toMatchObject(refused);
    await channels.remove(id);
    expect(await acme.ask('query ($id: ID!) { node(id: $id) { id } }', { id: pending.id })).toEqual({ node: null });
  });
});
