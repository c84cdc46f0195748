import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leastQueries, type Registered } from '../support/api.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView } from '../support/deployer.ts';

const SLEEPER = stack(service('web', 'exec sleep 1000'), service('db', 'exec sleep 1000'));
const READ = 'query ($id: ID!) { deployment(id: $id) { id } node(id: $id) { id __typename } }';
const LIST = `query ($org: ID!, $filter: DeploymentFilter, $order: DeploymentOrder, $first: Int, $after: String, $last: Int, $before: String) {
  deployments(organizationId: $org, filter: $filter, orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
    totalCount nodes { id number } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`;

let app: TestApp;
let root: Registered;
let acme: Deployer;
let rival: Deployer;
let live: DeploymentView & { stackId: string };
beforeAll(async () => {
  app = await startApp();
  root = await app.register();
  acme = await Deployer.create(app, root, 'Acme');
  rival = await acme.newTenant('Rival');
  live = await acme.deployNew(SLEEPER);
});
afterAll(() => app[Symbol.asyncDispose]());

describe('roles', () => {
  it('should let viewers read and no more', async () => {
    const viewer = await acme.addMember('VIEWER');
    expect(await viewer.read(live.id)).toMatchObject({ id: live.id, status: 'RUNNING' });
    expect((await viewer.log(live.id)).length).toBeGreaterThan(0);
    const denied = { __typename: 'TopLevelError', code: 'PERMISSION_DENIED' };
    expect(await viewer.tryDeploy(live.stackId)).toMatchObject(denied);
    expect(await viewer.tryStop(live.id)).toMatchObject(denied);
    expect(await viewer.tryCancel(live.id)).toMatchObject(denied);
  });

  it('should let developers deploy, but not to PRODUCTION, where admins do', async () => {
    const production = await acme.newEnvironment('production', 'PRODUCTION');
    const developer = await acme.addMember('DEVELOPER');
    const admin = await acme.addMember('ADMIN');
    const inProduction = { environmentId: production.id };
    const refused = await developer.tryDeploy(live.stackId, inProduction);
    expect(refused).toMatchObject({ __typename: 'TopLevelError', code: 'PERMISSION_DENIED' });
    expect(refused.message).toContain('PRODUCTION');
    const deployed = await admin.deploy(live.stackId, inProduction);
    expect(deployed).toMatchObject({ status: 'RUNNING', number: 1 });
    for (const attempt of [developer.tryStop(deployed.id), developer.tryCancel(deployed.id)])
      expect(await attempt).toMatchObject({ code: 'PERMISSION_DENIED' });
    await admin.stop(deployed.id);
    const stackId = await developer.newStack(SLEEPER, 'mine');
    const own = await developer.deploy(stackId);
    expect(own.status).toBe('RUNNING');
    await developer.stop(own.id);
  });

  it('should need a caller', async () => {
    const { errors } = await app.execute(READ, { id: live.id });
    expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
});

describe('another tenant', () => {
  const absent = { __typename: 'NotFoundError', code: 'NOT_FOUND' };

  it('should find nothing under an id that it cannot have', async () => {
    const ids = [live.id, live.stackId, acme.environmentId, 'garbage', Buffer.from('Deployment:1').toString('base64')];
    for (const id of ids) {
      const { data, errors } = await app.execute(READ, { id }, { token: rival.token });
      expect([data, errors]).toEqual([{ deployment: null, node: null }, []]);
      expect(await rival.tryStop(id)).toMatchObject(absent);
      expect(await rival.tryCancel(id)).toMatchObject(absent);
      expect(await rival.tryDeploy(id)).toMatchObject(absent);
    }
    const { data } = await app.execute(LIST, { org: acme.organizationId }, { token: rival.token });
    expect(data).toEqual({ deployments: null });
  });

  it('should not bring its stack into an environment of others, nor theirs into its own', async () => {
    const own = await rival.newStack(SLEEPER);
    expect(await rival.tryDeploy(own, { environmentId: acme.environmentId })).toMatchObject(absent);
    expect(await rival.tryDeploy(live.stackId)).toMatchObject(absent);
    await app.database.prisma.$executeRaw`insert into organization_members (id, organization_id, user_id, role)
      select gen_random_uuid(), o.id, u.id, 'OWNER' from organizations o, users u where o.name = 'Rival' and u.is_superadmin`;
    expect(await rival.as(root.accessToken).tryDeploy(live.stackId)).toMatchObject(absent);
  });

  it('should not learn whose port it is that it may not have', async () => {
    const port = live.services[0]!.replicas[0]!.ports[0]!.published;
    const failed = await rival.deployNew(`services: { web: { command: [sleep, "9"], ports: ["${port}:${port}"] } }`);
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: `service web: port ${port}/tcp is taken by another stack on this host`,
    });
  });
});

describe('an idempotency key', () => {
  it('should ask for one deployment, also when it comes at once', async () => {
    const input = { idempotencyKey: 'deploy-1' };
    const asked = await Promise.all(Array.from({ length: 3 }, () => acme.begin(live.stackId, input)));
    expect(new Set(asked.map(({ id }) => id)).size).toBe(1);
    const done = await acme.until(asked[0]!.id, ['RUNNING']);
    expect(await acme.begin(live.stackId, input)).toMatchObject({ id: done.id, status: 'RUNNING' });
    expect(await acme.tryDeploy(live.stackId, { ...input, healthTimeoutSeconds: 7 })).toMatchObject({
      __typename: 'ConflictError',
    });
    live = { ...done, stackId: live.stackId };
  });
});

describe('lists', () => {
  const list = async (variables: object) =>
    (await acme.ask(LIST, { org: acme.organizationId, ...variables })).deployments;

  beforeAll(async () => {
    for (let count = 0; count < 4; count++) live = { ...(await acme.deploy(live.stackId)), stackId: live.stackId };
  });

  it('should be filtered and ordered', async () => {
    const all = await list({ first: 100 });
    expect(all.totalCount).toBe(all.nodes.length);
    const oldest = await list({ order: 'CREATED_AT_ASC', first: 100 });
    expect(oldest.nodes).toEqual(all.nodes.toReversed());
    const here = { environmentId: acme.environmentId, stackId: live.stackId };
    expect((await list({ filter: { ...here, status: ['RUNNING', 'DEGRADED'] } })).nodes).toMatchObject([
      { id: live.id },
    ]);
    const superseded = await list({ filter: { ...here, status: ['SUPERSEDED'] } });
    expect(superseded.totalCount).toBe(5);
    expect((await list({ filter: { trigger: 'ROLLBACK' } })).nodes).toEqual([]);
    expect((await list({ filter: { stackId: 'garbage' } })).nodes).toEqual([]);
    const { createdAt } = (await acme.ask('query ($id: ID!) { deployment(id: $id) { createdAt } }', { id: live.id }))
      .deployment;
    expect((await list({ filter: { createdAfter: createdAt } })).nodes).toEqual([]);
    expect((await list({ filter: { createdBefore: createdAt } })).totalCount).toBe(all.totalCount - 1);
  });

  it('should be walked through in both directions without a gap', async () => {
    const all = (await list({ first: 100 })).nodes;
    const forth: unknown[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const page: { nodes: unknown[]; pageInfo: { endCursor: string; hasNextPage: boolean } } = await list({
        first: 3,
        after,
      });
      forth.push(...page.nodes);
      ({ endCursor: after, hasNextPage: more } = page.pageInfo);
    }
    expect(forth).toEqual(all);
    const lastTwo = await list({ last: 2 });
    expect(lastTwo.nodes).toEqual(all.slice(-2));
    const before = await list({ last: 2, before: lastTwo.pageInfo.startCursor });
    expect(before.nodes).toEqual(all.slice(-4, -2));
    for (const variables of [{ first: 101 }, { first: 1, last: 1 }, { after: 'nonsense' }])
      expect(await acme.refusal(LIST, { org: acme.organizationId, ...variables })).toBe('BAD_REQUEST');
  });

  it('should tell what runs, of a stack and in an environment', async () => {
    const query = `query ($stack: ID!, $environment: ID!) {
      stack(id: $stack) { liveDeployments { id environment { id } } deployments(first: 1) { totalCount nodes { id } } }
      environment(id: $environment) { liveDeployments { id stack { id } } deployments(filter: { status: SUPERSEDED }) { totalCount } } }`;
    const { stack: ofStack, environment } = await acme.ask(query, {
      stack: live.stackId,
      environment: acme.environmentId,
    });
    expect(ofStack.liveDeployments).toEqual([{ id: live.id, environment: { id: acme.environmentId } }]);
    expect(ofStack.deployments.nodes).toEqual([{ id: live.id }]);
    expect(environment.liveDeployments).toEqual([{ id: live.id, stack: { id: live.stackId } }]);
    expect(environment.deployments.totalCount).toBe(5);
    const { node } = await acme.ask(
      'query ($id: ID!) { node(id: $id) { __typename ... on Deployment { status number } } }',
      {
        id: live.id,
      },
    );
    expect(node).toEqual({ __typename: 'Deployment', status: 'RUNNING', number: live.number });
  });

  it('should cost queries by the page, not by the row', async () => {
    const query = `query ($org: ID!, $first: Int!) { deployments(organizationId: $org, first: $first) { nodes {
      id status stack { name } stackVersion { number } environment { name } createdBy { ... on User { username } }
      services { name state replicas { state ports { published } } } steps { name state } supersededBy { number } } } }`;
    const cost = (first: number) => leastQueries(() => acme.ask(query, { org: acme.organizationId, first }));
    const few = await cost(2);
    expect(few).toBeLessThanOrEqual(14);
    expect(await cost(20)).toBeLessThanOrEqual(few);
  });
});
