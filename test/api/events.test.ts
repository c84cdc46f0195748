import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EVENTS_BATCH } from '../../src/modules/events/service.ts';
import { encodeEventCursor } from '../../src/realtime/cursor.ts';
import type { NewEvent } from '../../src/realtime/event-log.ts';
import { ALL_EVENT_TYPES, EVENT_TYPES, type EventType } from '../../src/realtime/event-types.ts';
import { decodeGlobalId, decodeIdOf } from '../../src/shared/global-id.ts';
import { leastQueries, type Registered } from '../support/api.ts';
import { connectSocket, type Heard, listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { storeEvents } from '../support/stored-events.ts';

const EVENT = `id type occurredAt data actor { ... on User { id username } }
  subject { __typename id ... on Deployment { number stack { name } } ... on Stack { name currentVersion { number } }
    ... on User { username } ... on Environment { name } ... on Organization { name } }`;
const EVENTS = `subscription ($org: ID!, $after: String, $types: [String!]) {
  events(organizationId: $org, after: $after, types: $types) { events { ${EVENT} } endCursor live } }`;
const CHANGES = `subscription ($org: ID!, $after: String) {
  deploymentsChanged(organizationId: $org, after: $after) { deployment { id } status endCursor } }`;
const CURSOR = 'query ($id: ID!) { organization(id: $id) { eventCursor } }';
const NODE = `query ($id: ID!) { node(id: $id) { ... on Event { ${EVENT} } } }`;
const SECRET = 'correct horse battery staple';
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;

type Event = {
  id: string;
  type: EventType;
  occurredAt: string;
  data: Record<string, unknown>;
  actor: { id: string; username: string } | null;
  // biome-ignore lint/suspicious/noExplicitAny: any node.
  subject: any;
};
type Batch = { events: Event[]; endCursor: string; live: boolean };

let app: TestApp;
let root: Registered;
let acme: Deployer;
let rival: Deployer;
let client: SocketClient;
beforeAll(async () => {
  app = await startApp();
  root = await app.register();
  acme = await Deployer.create(app, root, 'Acme');
  rival = await acme.newTenant('Rival');
  client = app.connect(acme.token);
});
afterAll(async () => {
  await client?.dispose();
  await app[Symbol.asyncDispose]();
});

const beginningOf = ({ organizationId }: Deployer) => encodeEventCursor(decodeIdOf('Organization', organizationId)!, 0);
const cursorOf = async (deployer = acme): Promise<string> =>
  (await deployer.ask(CURSOR, { id: deployer.organizationId })).organization.eventCursor;
const batchesOf = ({ results }: Heard): Batch[] => results.map(({ data }) => data.events);
const eventsOf = (heard: Heard): Event[] => batchesOf(heard).flatMap(({ events }) => events);
const typesOf = (heard: Heard) => eventsOf(heard).map(({ type }) => type);
const follow = (args: object = {}, by = client) => listen(by, EVENTS, { org: acme.organizationId, ...args });
const isLive = (heard: Heard) =>
  eventually('the turn to live', () => batchesOf(heard).some(({ live }) => live) || heard.end !== null);
const ended = async (heard: Heard) => {
  await eventually('the end of a subscription', () => heard.end !== null);
  return (heard.end as { errors?: { message: string; extensions: { code?: unknown } }[] }).errors?.[0];
};

/** Everything after a cursor, up to now. */
async function replay(args: object = {}, by = client): Promise<Event[]> {
  const { heard, stop } = follow({ after: beginningOf(acme), ...args }, by);
  await isLive(heard);
  stop();
  expect(heard.end).toBe(null);
  expect(heard.results.flatMap(({ errors }) => errors ?? [])).toEqual([]);
  return eventsOf(heard);
}

/** What nobody did, in numbers: each names itself. */
const append = (count: number, event: Partial<NewEvent> = {}, { organizationId } = acme) =>
  storeEvents(
    app.database.pool,
    Array.from({ length: count }, (_, index) => ({
      organizationId: decodeIdOf('Organization', organizationId)!,
      type: 'variable.set' as const,
      actor: null,
      subject: { type: 'environment', id: decodeIdOf('Environment', acme.environmentId)! },
      data: { name: `V${index}`, isSecret: false },
      ...event,
    })),
  );

describe('events', () => {
  it('should tell what happens, once and in order, with actor, subject and data', async () => {
    const { heard, stop } = follow();
    await isLive(heard);
    await acme.setVariable('TOKEN', SECRET, true);
    const { id, stackId } = await acme.deployNew(stack(service('web', 'exec sleep 1000')));
    await acme.changeStack(stackId, stack(service('web', 'exec sleep 2000')));
    await acme.stop(id);
    const check = 'healthcheck: { test: ["CMD-SHELL", "echo $TOKEN >&2; exit 1"], interval: 100ms, retries: 2 }';
    const failed = await acme.deployNew(stack(service('web', 'exec sleep 1000', check)));
    expect(failed.status).toBe('FAILED');
    const { organizationId, environmentId } = acme;
    const { invitation } = await acme.mutate('organizationInvite', 'InvitationCreated { invitation { id } }', {
      organizationId,
      email: 'guest@example.com',
    });
    await acme.mutate('invitationRevoke', 'Deleted { id }', { invitationId: invitation.id });
    const { userId } = await acme.addMember('VIEWER');
    const member = { organizationId, userId };
    await acme.mutate('organizationMemberUpdate', 'OrganizationMember { id }', { ...member, role: 'DEVELOPER' });
    await acme.mutate('organizationUpdate', 'Organization { id }', { organizationId, description: 'Anvils' });
    const inside = await acme.newEnvironment('brief');
    await acme.mutate('environmentUpdate', 'Environment { id }', { environmentId: inside.id, name: 'Brief' });
    await acme.mutate('environmentVariableDelete', 'Environment { id }', { environmentId, name: 'TOKEN' });
    await acme.mutate('environmentDelete', 'Deleted { id }', { environmentId: inside.id });
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', member);
    await eventually('the last event', () => typesOf(heard).at(-1) === 'member.removed');
    stop();

    const up = ['preparing', 'deploying', 'verifying', 'running'].map((status) => `deployment.${status}`);
    const end = typesOf(heard).indexOf('deployment.failed');
    expect(typesOf(heard).slice(0, 10)).toEqual([
      'variable.set',
      'stack.created',
      'deployment.created',
      ...up,
      'stack.updated',
      'deployment.stopping',
      'deployment.stopped',
    ]);
    expect(typesOf(heard).slice(end)).toEqual([
      'deployment.failed',
      'invitation.created',
      'invitation.revoked',
      'member.updated',
      'organization.updated',
      'environment.created',
      'environment.updated',
      'variable.deleted',
      'environment.deleted',
      'member.removed',
    ]);
    expect(batchesOf(heard).every(({ live, events }) => live && events.length < EVENTS_BATCH)).toBe(true);
    const last = (type: EventType) => eventsOf(heard).findLast((event) => event.type === type)!;
    const me = { id: root.userId, username: root.username };
    expect(last('variable.set')).toMatchObject({
      data: { name: 'TOKEN', isSecret: true },
      actor: me,
      subject: { __typename: 'Environment', id: environmentId, name: 'dev' },
    });
    expect(last('deployment.running')).toMatchObject({
      data: { status: 'RUNNING', previousStatus: 'VERIFYING', number: 1, stackId, environmentId },
      actor: null,
      subject: { __typename: 'Deployment', id, number: 1, stack: { name: 'web' } },
    });
    expect(last('deployment.stopping').actor).toEqual(me);
    expect(last('deployment.failed').data).toMatchObject({ reason: expect.stringContaining('***') });
    expect(last('stack.updated')).toMatchObject({ data: { fields: ['compose'], version: 2 } });
    expect(last('invitation.created')).toMatchObject({ data: { email: 'guest@example.com', role: 'DEVELOPER' } });
    expect(last('member.updated').data).toEqual({ role: 'DEVELOPER', previousRole: 'VIEWER' });
    expect(last('organization.updated').subject).toMatchObject({ __typename: 'Organization', name: 'Acme' });
    expect(JSON.stringify(heard.results)).not.toContain(SECRET);
    expect(JSON.stringify(heard.results)).not.toMatch(UUID);
    const times = eventsOf(heard).map(({ occurredAt }) => Date.parse(occurredAt));
    expect(Math.abs(times.at(-1)! - Date.now())).toBeLessThan(60_000);
    expect(new Set(eventsOf(heard).map((event) => event.id)).size).toBe(
      heard.results.length ? typesOf(heard).length : 0,
    );

    // The same again, from storage; what is gone since, and only that, has no subject.
    const again = await replay();
    expect(again.slice(-typesOf(heard).length).map((event) => event.id)).toEqual(
      eventsOf(heard).map((event) => event.id),
    );
    const gone = new Set(again.filter(({ subject }) => subject === null).map(({ type }) => type));
    expect([...gone].sort()).toEqual(
      [
        'environment.created',
        'environment.deleted',
        'environment.updated',
        'invitation.created',
        'invitation.revoked',
      ].sort(),
    );
  });

  it('should have stored nothing but what is documented', async () => {
    const { rows } = await app.database.pool.query<{ type: EventType; subject: string; data: Record<string, unknown> }>(
      'select distinct on (type) type, subject_type as subject, data from events order by type, sequence desc',
    );
    expect(rows.length).toBeGreaterThan(20);
    for (const { type, subject, data } of rows) {
      expect(ALL_EVENT_TYPES).toContain(type);
      expect(subject.toLowerCase(), type).toBe(EVENT_TYPES[type].subject.toLowerCase());
      expect(Object.keys(EVENT_TYPES[type].data), type).toEqual(expect.arrayContaining(Object.keys(data)));
      for (const [name, value] of Object.entries(data)) {
        const isId = 'idOf' in (EVENT_TYPES[type].data as Record<string, object>)[name]!;
        expect(UUID.test(JSON.stringify(value)), `${type} ${name}`).toBe(isId);
      }
    }
  });

  it('should give a cursor before anything happens, so that nothing is lost with a connection', async () => {
    const own = app.connect(acme.token);
    const before = follow({}, own);
    await isLive(before.heard);
    expect(batchesOf(before.heard)).toEqual([{ events: [], endCursor: await cursorOf(), live: true }]);
    await own.dispose();
    await append(3);
    const { endCursor: after } = batchesOf(before.heard)[0]!;
    expect((await replay({ after })).map(({ data }) => data.name)).toEqual(['V0', 'V1', 'V2']);
  });

  it('should come in batches, not live until all that was stored is told', async () => {
    const after = await cursorOf();
    await append(2 * EVENTS_BATCH + 1);
    const { heard, stop } = follow({ after });
    await isLive(heard);
    expect(batchesOf(heard).map(({ events, live }) => [events.length, live])).toEqual([
      [EVENTS_BATCH, false],
      [EVENTS_BATCH, false],
      [1, false],
      [0, true],
    ]);
    await append(1);
    await eventually('one more', () => heard.results.length === 5);
    expect(batchesOf(heard)[4]).toMatchObject({ events: [{ data: { name: 'V0' } }], live: true });
    stop();
    const all = await replay({ after });
    for (const [index, { endCursor }] of batchesOf(heard).slice(0, 2).entries())
      expect(await replay({ after: endCursor })).toEqual(all.slice((index + 1) * EVENTS_BATCH));
    expect(await replay({ after: batchesOf(heard).at(-1)!.endCursor })).toEqual([]);
  });

  it('should show subjects as they are by then, also what belongs to them', async () => {
    const stackId = await acme.newStack(stack(service('web', 'exit 1')), 'former name');
    const { heard, stop } = follow({ types: ['deployment.*'] });
    await isLive(heard);
    const untilFailed = async () => {
      const { id } = await acme.deploy(stackId);
      const told = () => eventsOf(heard).find(({ type, subject }) => type === 'deployment.failed' && subject.id === id);
      return (await eventually('the failure', told)).subject.stack.name;
    };
    expect(await untilFailed()).toBe('former name');
    await acme.mutate('stackUpdate', 'Stack { id }', { stackId, name: 'new name' });
    expect(await untilFailed()).toBe('new name');
    stop();
  });

  it('should be narrowed to types, and refuse those that there are none of', async () => {
    const all = await replay();
    for (const types of [['stack.created'], ['deployment.*'], ['member.*', 'variable.deleted']]) {
      const isMeant = ({ type }: Event) => types.includes(type) || types.includes(`${type.split('.')[0]}.*`);
      const some = await replay({ types });
      expect(some.length).toBeGreaterThan(0);
      expect(some).toEqual(all.filter(isMeant));
    }
    const refused = async (types: string[]) => {
      const error = await ended(follow({ types }).heard);
      expect(error?.extensions.code).toBe('BAD_REQUEST');
      return error?.message;
    };
    expect(await refused(['stack.created', 'stack.made', 'pods.*'])).toMatch('"stack.made", "pods.*"');
    expect(await refused([])).toMatch('"types" is empty');
  });

  it('should be refused to who may not see it, and for cursors of elsewhere', async () => {
    const codeOf = async (args: object, by = client) => {
      const { heard } = follow(args, by);
      const error = await ended(heard);
      expect(heard.results).toEqual([]);
      return error?.extensions.code;
    };
    const stranger = app.connect(rival.token);
    expect(await codeOf({}, stranger)).toBe('NOT_FOUND');
    expect(await codeOf({ after: beginningOf(acme), types: ['none'] }, stranger)).toBe('NOT_FOUND');
    await stranger.dispose();
    for (const org of [rival.organizationId, acme.environmentId, 'garbage'])
      expect(await codeOf({ org })).toBe('NOT_FOUND');
    for (const after of ['', 'garbage', beginningOf(rival)]) expect(await codeOf({ after })).toBe('BAD_REQUEST');
    const anonymous = connectSocket(app);
    expect(await codeOf({}, anonymous)).toBe('UNAUTHENTICATED');
    await anonymous.dispose();
  });
});

describe('who may see an event', () => {
  it('should change with the role, within seconds, until membership ends', async () => {
    const viewer = await acme.addMember('VIEWER');
    const own = app.connect(viewer.token);
    const { organizationId } = acme;
    const hidden = (await replay()).filter(({ type }) => type.startsWith('invitation.'));
    expect(hidden.length).toBeGreaterThan(1);
    const seen = (await replay()).filter(({ type }) => !type.startsWith('invitation.'));
    expect((await replay({}, own)).map(({ id }) => id)).toEqual(seen.map(({ id }) => id));
    expect(await replay({ types: ['invitation.*'] }, own)).toEqual([]);
    const node = async (by: Deployer, { id }: Event) => (await by.ask(NODE, { id })).node;
    expect(await node(viewer, hidden[0]!)).toBe(null);
    expect(await node(acme, hidden[0]!)).toEqual(hidden[0]);
    expect(await node(viewer, seen[0]!)).toMatchObject({ id: seen[0]!.id, type: seen[0]!.type });
    expect(await node(rival, seen[0]!)).toBe(null);

    const { heard } = follow({}, own);
    await isLive(heard);
    const invited = (email: string) =>
      acme.mutate('organizationInvite', 'InvitationCreated { invitation { id } }', { organizationId, email });
    const member = { organizationId, userId: viewer.userId };
    const become = (role: string) =>
      acme.mutate('organizationMemberUpdate', 'OrganizationMember { id }', { ...member, role });
    const told = (count: number) =>
      eventually(
        `${count} changes of role`,
        () => typesOf(heard).filter((type) => type === 'member.updated').length === count,
      );
    await invited('one@example.com');
    await become('ADMIN');
    await told(1);
    await invited('two@example.com');
    await eventually('an invitation', () => typesOf(heard).includes('invitation.created'));
    await become('DEVELOPER');
    await told(2);
    await invited('three@example.com');
    await append(1);
    await eventually('what comes after', () => typesOf(heard).at(-1) === 'variable.set');
    const emails = eventsOf(heard).flatMap(({ data }) => (data.email === undefined ? [] : [data.email]));
    expect(emails).toEqual(['two@example.com']);
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', member);
    const { length } = heard.results;
    expect((await ended(heard))?.extensions.code).toBe('NOT_FOUND');
    expect(heard.results.length).toBe(length);
    await own.dispose();
  });

  it('should see the deeds of former members, and of those who are gone the deeds alone', async () => {
    const former = await acme.addMember('DEVELOPER');
    const after = await cursorOf();
    const stackId = await former.newStack(stack(service('web', 'true')), 'brief');
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', {
      organizationId: acme.organizationId,
      userId: former.userId,
    });
    const first = (await replay({ after }))[0]!;
    expect(first).toMatchObject({ type: 'stack.created', actor: { id: former.userId }, subject: { id: stackId } });
    await acme.mutate('stackDelete', 'Deleted { id }', { stackId });
    await app.database.prisma.user.delete({ where: { id: decodeIdOf('User', former.userId)! } });
    const later = await replay({ after });
    expect(later.map(({ type }) => type)).toEqual(['stack.created', 'member.removed', 'stack.deleted']);
    expect(later[0]).toMatchObject({ id: first.id, data: { name: 'brief' }, actor: null, subject: null });
    expect(later[2]).toMatchObject({ actor: { id: root.userId }, subject: null });
  });
});

describe('Organization.eventCursor', () => {
  it('should stand where the list in the same answer ends, however much happens meanwhile', async () => {
    const { organizationId } = acme;
    const there = new Set<string>();
    const makers = Array.from({ length: 3 }, async (_, maker) => {
      for (let index = 0; index < 12; index++)
        there.add(await acme.newStack('services: { a: { command: x } }', `s${maker}-${index}`));
    });
    const LIST = `query ($id: ID!) { organization(id: $id) { stacks(first: 100) { nodes { id } } eventCursor } }`;
    let isOver = false;
    const over = Promise.all(makers).then(() => {
      isOver = true;
    });
    const readings: { ids: string[]; eventCursor: string }[] = [];
    while (!isOver) {
      const { organization } = await acme.ask(LIST, { id: organizationId });
      readings.push({
        ids: organization.stacks.nodes.map(({ id }: { id: string }) => id),
        eventCursor: organization.eventCursor,
      });
    }
    await over;
    expect(readings.length).toBeGreaterThan(1);
    for (const { ids, eventCursor } of readings) {
      const later = await replay({ after: eventCursor, types: ['stack.created'] });
      const known = new Set([...ids, ...later.map(({ subject }) => subject.id)]);
      expect([...there].filter((id) => !known.has(id))).toEqual([]);
    }
  });

  it('should stand before whatever the same operation changes, over HTTP and on a socket', async () => {
    const CREATE = `mutation ($input: StackCreateInput!) {
      stackCreate(input: $input) { ... on Stack { id organization { eventCursor } } } }`;
    const input = { organizationId: acme.organizationId, name: 'made', compose: 'services: { a: { command: x } }' };
    const { heard } = listen(client, CREATE, { input });
    await eventually('the answer', () => heard.end !== null);
    for (const { stackCreate } of [await acme.ask(CREATE, { input }), heard.results[0].data]) {
      const told = await replay({ after: stackCreate.organization.eventCursor });
      expect(told[0]).toMatchObject({ type: 'stack.created', subject: { id: stackCreate.id } });
    }
  });

  it('should begin deploymentsChanged without a gap, too, and take its cursors', async () => {
    const after = await cursorOf();
    const stackId = await acme.newStack(stack(service('web', 'exit 1')));
    const { id } = await acme.deploy(stackId);
    const { heard, stop } = listen(client, CHANGES, { org: acme.organizationId, after });
    const changes = () => heard.results.map(({ data }) => data.deploymentsChanged);
    await eventually('the end of the deployment', () => changes().some(({ status }) => status === 'FAILED'));
    stop();
    expect(changes()[0]).toMatchObject({ deployment: { id }, status: 'QUEUED' });
    const told = await replay({ after });
    expect(told.map(({ type }) => type).slice(0, 2)).toEqual(['stack.created', 'deployment.created']);
    const rest = await replay({ after: changes()[0].endCursor });
    expect(rest).toEqual(told.slice(2));
  });

  it('should be where an organization’s feed begins, when it is made, and nothing to others', async () => {
    const owner = acme.as((await app.register()).accessToken);
    const { id, eventCursor } = await owner.mutate('organizationCreate', 'Organization { id eventCursor }', {
      name: 'New',
    });
    expect(decodeGlobalId(id)).not.toBe(null);
    const socket = app.connect(owner.token);
    const { heard, stop } = follow({ org: id, after: eventCursor }, socket);
    await isLive(heard);
    stop();
    await socket.dispose();
    expect(typesOf(heard).filter((type) => type !== 'organization.created')).toEqual([]);
    expect((await rival.ask(CURSOR, { id })).organization).toBe(null);
  });
});

describe('the cost of events', () => {
  it('should be queries by the batch, not by the event', async () => {
    const cost = (after: string, count: number) =>
      leastQueries(async () => {
        const { heard, stop } = follow({ after });
        await isLive(heard);
        stop();
        expect(eventsOf(heard).length).toBe(count);
      });
    const stacks = await Promise.all(
      Array.from({ length: 20 }, (_, index) => acme.newStack('services: { a: { command: x } }', `cost ${index}`)),
    );
    const actor = { type: 'user' as const, id: decodeIdOf('User', root.userId)! };
    const events = (many: string[]) =>
      storeEvents(
        app.database.pool,
        many.map((stackId) => ({
          organizationId: decodeIdOf('Organization', acme.organizationId)!,
          type: 'stack.updated' as const,
          actor,
          subject: { type: 'stack', id: decodeIdOf('Stack', stackId)! },
        })),
      );
    const beforeMany = await cursorOf();
    await events(Array.from({ length: EVENTS_BATCH }, (_, index) => stacks[index % stacks.length]!));
    const many = await cost(beforeMany, EVENTS_BATCH);
    const beforeFew = await cursorOf();
    await events(stacks.slice(0, 2));
    const few = await cost(beforeFew, 2);
    expect(few).toBeLessThanOrEqual(12);
    expect(many).toBeLessThanOrEqual(few + 2);
  });
});
