import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeEventCursor } from '../../src/realtime/cursor.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { leastQueries, type Registered } from '../support/api.ts';
import { connectSocket, type Heard, listen, openEventStream, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

const CHANGED = `subscription ($org: ID!, $env: ID, $after: String) {
  deploymentsChanged(organizationId: $org, environmentId: $env, after: $after) {
    deployment { id number status } previousStatus status endCursor } }`;
const DETAILS = `subscription ($org: ID!, $after: String) { deploymentsChanged(organizationId: $org, after: $after) {
  status deployment { status stack { name } stackVersion { number } environment { name } steps { name }
    supersededBy { number } createdBy { ... on User { username } } } } }`;
const SLEEPER = stack(service('web', 'exec sleep 1000'));
const OTHER = stack(service('web', 'exec sleep 2000'));
const UP = ['QUEUED', 'PREPARING', 'DEPLOYING', 'VERIFYING', 'RUNNING'];

type Change = {
  deployment: { id: string; number: number; status: string };
  previousStatus: string | null;
  status: string;
  endCursor: string;
};

let app: TestApp;
let root: Registered;
let acme: Deployer;
let rival: Deployer;
let client: SocketClient;
let beginning: string;
beforeAll(async () => {
  app = await startApp();
  root = await app.register();
  acme = await Deployer.create(app, root, 'Acme');
  rival = await acme.newTenant('Rival');
  client = app.connect(acme.token);
  beginning = encodeEventCursor(decodeIdOf('Organization', acme.organizationId)!, 0);
});
afterAll(async () => {
  await client?.dispose();
  await app[Symbol.asyncDispose]();
});

const changesOf = ({ results }: Heard): Change[] => results.map(({ data }) => data.deploymentsChanged);
const told = (changes: Change[]) => changes.map(({ deployment, status }) => `${deployment.id} ${status}`);
const follow = (args: object = {}, by = client) => listen(by, CHANGED, { org: acme.organizationId, ...args });
const isHeard = (heard: Heard, id: string, status: string) =>
  eventually(`${status} of a deployment`, () => told(changesOf(heard)).includes(`${id} ${status}`));
const codeOf = ({ end }: Heard) =>
  (end as { errors?: { extensions: { code?: unknown } }[] } | null)?.errors?.[0]?.extensions.code;
const ended = async (heard: Heard) => {
  await eventually('the end of a subscription', () => heard.end !== null);
  return codeOf(heard);
};

/** Everything after a cursor, up to the newest change that is stored. */
async function replay({ env, ...args }: { env?: string; after?: string } = {}, by = client): Promise<Change[]> {
  const organizationId = decodeIdOf('Organization', acme.organizationId)!;
  const { rows } = await app.database.pool.query<{ sequence: string }>(
    `select max(sequence) as sequence from events e join deployments d on d.id = e.subject_id
     where e.organization_id = $1 and ($2::uuid is null or d.environment_id = $2)`,
    [organizationId, env === undefined ? null : decodeIdOf('Environment', env)],
  );
  const newest = encodeEventCursor(organizationId, Number(rows[0]!.sequence));
  const { heard, stop } = follow({ after: beginning, env, ...args }, by);
  await eventually('the newest change', () => changesOf(heard).at(-1)?.endCursor === newest);
  stop();
  return changesOf(heard);
}

describe('deploymentsChanged', () => {
  it('should tell every change of all deployments, in order, with what was before', async () => {
    const { heard, stop } = follow({ after: beginning });
    const { stackId, ...first } = await acme.deployNew(SLEEPER);
    await acme.changeStack(stackId, OTHER);
    const second = await acme.deploy(stackId);
    const elsewhere = acme.as(acme.token, (await acme.newEnvironment('other')).id);
    const third = await elsewhere.deployNew(SLEEPER);
    const failed = await acme.deployNew(stack(service('web', 'exit 3')));
    await acme.stop(second.id);
    await isHeard(heard, second.id, 'STOPPED');
    stop();
    const changes = changesOf(heard);
    const chainOf = ({ id }: { id: string }) => changes.filter(({ deployment }) => deployment.id === id);
    const statusesOf = (deployment: { id: string }) => chainOf(deployment).map(({ status }) => status);
    expect(statusesOf(first)).toEqual([...UP, 'SUPERSEDED']);
    expect(statusesOf(second)).toEqual([...UP, 'STOPPING', 'STOPPED']);
    expect(statusesOf(third)).toEqual(UP);
    expect(statusesOf(failed)).toEqual([...UP.slice(0, statusesOf(failed).length - 1), 'FAILED']);
    expect(changes.length).toBe([first, second, third, failed].flatMap(statusesOf).length);
    for (const deployment of [first, second, third, failed]) {
      const before = chainOf(deployment).map(({ previousStatus }) => previousStatus);
      expect(before).toEqual([null, ...statusesOf(deployment).slice(0, -1)]);
    }
    expect(told(changes).indexOf(`${first.id} SUPERSEDED`)).toBe(told(changes).indexOf(`${second.id} RUNNING`) + 1);
    // The deployment is never behind the change that is told of it.
    for (const { deployment, status } of changes)
      expect(UP.indexOf(deployment.status) === -1 || UP.indexOf(deployment.status) >= UP.indexOf(status)).toBe(true);
    expect(told(await replay())).toEqual(told(changes));
  });

  it('should leave out other environments where one is named', async () => {
    const all = await replay();
    const { environments } = (
      await acme.ask('query ($id: ID!) { organization(id: $id) { environments { nodes { id name } } } }', {
        id: acme.organizationId,
      })
    ).organization;
    const env = environments.nodes.find(({ name }: { name: string }) => name === 'other').id;
    const there = await replay({ env });
    expect(there.map(({ status }) => status)).toEqual(UP);
    expect(told(all).filter((change) => told(there).includes(change))).toEqual(told(there));
    // A cursor is a position, whatever the environment.
    expect(told(await replay({ after: there[1]!.endCursor }))).toEqual(
      told(all.slice(told(all).indexOf(told(there)[1]!) + 1)),
    );
    expect(told(await replay({ env, after: there[1]!.endCursor }))).toEqual(told(there.slice(2)));
  });

  it('should begin with what happens from now on, where no cursor says otherwise', async () => {
    const known = told(await replay());
    const stackId = await acme.newStack(SLEEPER);
    const { heard, stop } = follow();
    // When it began, only what it tells shows.
    await eventually('a first change', async () => {
      await acme.begin(stackId);
      return heard.results.length > 0;
    });
    const last = await acme.deploy(stackId);
    await isHeard(heard, last.id, 'RUNNING');
    await acme.stop(last.id);
    await isHeard(heard, last.id, 'STOPPED');
    stop();
    const changes = told(changesOf(heard));
    expect(changes.filter((change) => known.includes(change))).toEqual([]);
    expect(told(await replay()).slice(-changes.length)).toEqual(changes);
  });

  it('should go on after a cursor, also across a reconnect, with nothing missing or doubled', async () => {
    const all = await replay();
    for (const index of [0, 3, all.length - 2])
      expect(told(await replay({ after: all[index]!.endCursor }))).toEqual(told(all.slice(index + 1)));
    const { stackId, ...first } = await acme.deployNew(SLEEPER);
    const own = app.connect(acme.token);
    const before = follow({ after: all.at(-1)!.endCursor }, own);
    await isHeard(before.heard, first.id, 'PREPARING');
    await own.dispose();
    await acme.stop(first.id);
    const heardBefore = changesOf(before.heard);
    const after = follow({ after: heardBefore.at(-1)!.endCursor });
    const second = await acme.deploy(stackId);
    await acme.stop(second.id);
    await isHeard(after.heard, second.id, 'STOPPED');
    after.stop();
    const chain = [...UP, 'STOPPING', 'STOPPED'];
    expect(told([...heardBefore, ...changesOf(after.heard)])).toEqual(
      [first, second].flatMap(({ id }) => chain.map((status) => `${id} ${status}`)),
    );
  });

  it('should be refused to who may not see it, and for cursors of elsewhere', async () => {
    const refusalOf = async (args: object, by = client) => {
      const { heard } = follow(args, by);
      const code = await ended(heard);
      expect(heard.results).toEqual([]);
      return code;
    };
    const stranger = app.connect(rival.token);
    expect(await refusalOf({}, stranger)).toBe('NOT_FOUND');
    expect(await refusalOf({ after: beginning, env: acme.environmentId }, stranger)).toBe('NOT_FOUND');
    expect(await refusalOf({ env: acme.environmentId, org: rival.organizationId }, stranger)).toBe('NOT_FOUND');
    await stranger.dispose();
    for (const id of [rival.environmentId, acme.organizationId, 'garbage'])
      expect(await refusalOf({ env: id })).toBe('NOT_FOUND');
    for (const id of [rival.organizationId, acme.environmentId, 'garbage'])
      expect(await refusalOf({ org: id })).toBe('NOT_FOUND');
    const ofRival = encodeEventCursor(decodeIdOf('Organization', rival.organizationId)!, 0);
    const ofLog = await acme.ask(
      'query ($id: ID!) { organization(id: $id) { stacks(first: 1) { nodes { deployments(first: 1) { nodes { logs(first: 1) { pageInfo { endCursor } } } } } } } }',
      { id: acme.organizationId },
    );
    const { endCursor } = ofLog.organization.stacks.nodes[0].deployments.nodes[0].logs.pageInfo;
    for (const after of ['', 'garbage', ofRival, endCursor]) expect(await refusalOf({ after })).toBe('BAD_REQUEST');
    const anonymous = connectSocket(app);
    expect(await refusalOf({}, anonymous)).toBe('UNAUTHENTICATED');
    await anonymous.dispose();
  });

  it('should let viewers follow, over server-sent events too, until they are members no more', async () => {
    const viewer = await acme.addMember('VIEWER');
    const own = app.connect(viewer.token);
    const all = await replay({}, own);
    const after = all.at(-2)!.endCursor;
    const { heard } = follow({ after }, own);
    const stream = await openEventStream(app.url, {
      method: 'POST',
      headers: {
        accept: 'text/event-stream',
        'content-type': 'application/json',
        authorization: `Bearer ${viewer.token}`,
      },
      body: JSON.stringify({ query: CHANGED, variables: { org: acme.organizationId, after } }),
    });
    await eventually('both to have begun', () => heard.results.length === 1 && stream.events.length === 1);
    expect(stream.events[0]!.data.data.deploymentsChanged).toEqual(all.at(-1));
    const removal = { organizationId: acme.organizationId, userId: viewer.userId };
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', removal);
    expect(await ended(heard)).toBe('NOT_FOUND');
    await stream.done;
    expect(stream.events.slice(1)).toMatchObject([
      { event: 'next', data: { errors: [{ extensions: { code: 'NOT_FOUND' } }] } },
      { event: 'complete' },
    ]);
    expect(heard.results.length).toBe(1);
    await own.dispose();
  });

  it('should end when the environment or the organization is deleted', async () => {
    const brief = await Deployer.create(app, root, 'Brief');
    const start = encodeEventCursor(decodeIdOf('Organization', brief.organizationId)!, 0);
    const { id: env } = await brief.newEnvironment('brief');
    const stackId = await brief.newStack(stack(service('web', 'exit 1')));
    const { id } = await brief.deploy(stackId, { environmentId: env });
    const [inside, whole] = [{ env }, {}].map((args) => follow({ org: brief.organizationId, after: start, ...args }));
    await Promise.all([isHeard(inside!.heard, id, 'FAILED'), isHeard(whole!.heard, id, 'FAILED')]);
    await brief.mutate('environmentDelete', 'Deleted { id }', { environmentId: env });
    expect(await ended(inside!.heard)).toBe('NOT_FOUND');
    expect(whole!.heard.end).toBe(null);
    await brief.mutate('organizationDelete', 'Deleted { id }', { organizationId: brief.organizationId });
    expect(await ended(whole!.heard)).toBe('NOT_FOUND');
  });

  it('should leave out deployments that were deleted since', async () => {
    const { stackId, id } = await acme.deployNew(stack(service('web', 'exit 1')));
    const kept = await acme.deployNew(stack(service('web', 'exit 1')));
    const before = told(await replay());
    expect(before.some((change) => change.startsWith(id))).toBe(true);
    await acme.mutate('stackDelete', 'Deleted { id }', { stackId });
    const after = told(await replay());
    expect(after).toEqual(before.filter((change) => !change.startsWith(id)));
    expect(after.at(-1)).toBe(`${kept.id} FAILED`);
  });

  it('should cost queries by the page, not by the change', async () => {
    const all = await replay();
    expect(all.length).toBeGreaterThan(40);
    const replayed = async (count: number) => {
      const after = all.at(-1 - count)!.endCursor;
      const { heard, stop } = listen(client, DETAILS, { org: acme.organizationId, after });
      await eventually('all of them', () => heard.results.length === count);
      stop();
      expect(heard.results.flatMap(({ errors }) => errors ?? [])).toEqual([]);
      expect(heard.results.at(-1).data.deploymentsChanged.deployment.steps.length).toBeGreaterThan(0);
    };
    const cost = (count: number) => leastQueries(() => replayed(count));
    const few = await cost(2);
    expect(few).toBeLessThanOrEqual(14);
    expect(await cost(40)).toBeLessThanOrEqual(few + 2);
  });
});
