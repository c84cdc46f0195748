import { isObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';
import { removeDeletedLogs } from '../../src/modules/log-removal.ts';
import { systemLine } from '../../src/realtime/log-store.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { type Registered, startTestApi, type TestApi } from '../support/api.ts';
import type { TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { COMPOSE, createTenantObjects } from '../support/tenant-objects.ts';

const NODE = 'query ($id: ID!) { node(id: $id) { __typename id } }';
const DEFAULT_PAGE = 20;

// No server works for its host here: what is created stays QUEUED.
let api: TestApi;
let root: Registered;
let acme: Deployer;
let stranger: Deployer;
beforeAll(async () => {
  api = await startTestApi();
  const host = { id: newId(), machineId: 'test', runtimeDirectory: '/nowhere', name: 'stage-1' };
  await api.database.prisma.host.create({ data: host });
  const connect = () => {
    throw new Error('not needed here');
  };
  const app: TestApp = { ...api, runtimeDirectory: host.runtimeDirectory, connect };
  root = await api.register();
  acme = await Deployer.create(app, root, 'Acme');
  stranger = acme.as((await api.register()).accessToken);
});
afterAll(() => api[Symbol.asyncDispose]());

const count = async (table: string, column: string, id: string): Promise<number> =>
  (await api.database.pool.query(`select count(*)::int as n from ${table} where ${column} = $1`, [id])).rows[0].n;
const invite = (by: Deployer, email: string) =>
  by.mutate('organizationInvite', 'InvitationCreated { token invitation { id role createdAt expiresAt } }', {
    organizationId: by.organizationId,
    email,
  });

describe('node', () => {
  it('should resolve every type that implements Node, to those who may see it alone', async () => {
    const objects = await createTenantObjects(acme.app, acme, root);
    const types = Object.values(schema.getTypeMap()).filter(isObjectType);
    const nodeTypes = types.filter((type) => type.getInterfaces().some(({ name }) => name === 'Node'));
    expect(nodeTypes.length).toBeGreaterThan(8);
    for (const { name: __typename } of nodeTypes) {
      const id = objects[__typename];
      expect(await acme.ask(NODE, { id })).toEqual({ node: { __typename, id } });
      expect(await stranger.ask(NODE, { id }), __typename).toEqual({ node: null });
    }
  });
});

describe('lists', () => {
  const lists = {
    organizations: '{ organizations(ARGS) { nodes { id } } }',
    'viewer.organizations': '{ viewer { organizations(ARGS) { nodes { id } } } }',
    'viewer.sessions': '{ viewer { sessions(ARGS) { nodes { id } } } }',
    members: '{ organization(id: "ORG") { members(ARGS) { nodes { id } } } }',
    invitations: '{ organization(id: "ORG") { invitations(ARGS) { nodes { id } } } }',
    environments: '{ organization(id: "ORG") { environments(ARGS) { nodes { id } } } }',
    stacks: '{ organization(id: "ORG") { stacks(ARGS) { nodes { id } } } }',
    'environment.deployments': '{ environment(id: "ENV") { deployments(ARGS) { nodes { id } } } }',
    'stack.versions': '{ stack(id: "STACK") { versions(ARGS) { nodes { id } } } }',
    'stack.deployments': '{ stack(id: "STACK") { deployments(ARGS) { nodes { id } } } }',
    deployments: '{ deployments(organizationId: "ORG", ARGS) { nodes { id } } }',
    'deployment.logs': '{ deployment(id: "DEPLOYMENT") { logs(ARGS) { nodes { sequence } } } }',
  };
  const places: Record<string, string> = {};
  beforeAll(async () => {
    const stackId = await acme.newStack(COMPOSE);
    const { id } = await acme.begin(stackId);
    Object.assign(places, { ORG: acme.organizationId, ENV: acme.environmentId, STACK: stackId, DEPLOYMENT: id });
    for (let index = 0; index < DEFAULT_PAGE; index++)
      await systemLine(api.database.pool, decodeIdOf('Deployment', id)!, `line ${index}`, 'INFO');
    for (let version = 1; version <= DEFAULT_PAGE; version++)
      await acme.changeStack(stackId, `${COMPOSE}\n# ${version}`);
  });
  const of = (query: string, args: string) =>
    Object.entries(places).reduce(
      (text, [name, id]) => text.replace(`"${name}"`, `"${id}"`),
      query.replace('ARGS', args),
    );

  it.each(Object.entries(lists))('should refuse too large and contradictory pages: %s', async (_name, query) => {
    for (const args of ['first: 101', 'last: 101', 'first: 0', 'first: 1, last: 1', 'after: "x"'])
      expect(await acme.refusal(of(query, args)), args).toBe('BAD_REQUEST');
    expect(await acme.refusal(of(query, 'first: 100'))).toBeUndefined();
  });

  it('should have 20 entries unless asked otherwise', async () => {
    const { deployment } = await acme.ask(of(lists['deployment.logs'], 'filter: null'));
    expect(deployment.logs.nodes).toHaveLength(DEFAULT_PAGE);
    const { stack } = await acme.ask(of(lists['stack.versions'], 'first: null'));
    expect(stack.versions.nodes).toHaveLength(DEFAULT_PAGE);
  });
});

describe('an e-mail address', () => {
  it('should be shown to oneself, to admins of a shared organization and to a superadmin, to others as null', async () => {
    const owner = await api.register();
    const there = acme.as(owner.accessToken);
    const { id } = await there.mutate('organizationCreate', 'Organization { id }', { name: 'Mail' });
    const mail = new Deployer(acme.app, owner.accessToken, id, '');
    const [admin, developer, viewer] = await Promise.all(
      (['ADMIN', 'DEVELOPER', 'VIEWER'] as const).map((role) => mail.addMember(role)),
    );
    const query = 'query ($id: ID!) { node(id: $id) { ... on User { username email } } }';
    const shown = async (by: Deployer, userId: string) => (await by.ask(query, { id: userId })).node;
    for (const by of [viewer!, admin!, mail, acme])
      expect((await shown(by, viewer!.userId)).email).toMatch(/@example\.com$/);
    for (const [by, of] of [
      [viewer!, admin!],
      [developer!, viewer!],
    ] as const)
      expect(await shown(by, of.userId)).toMatchObject({ username: expect.any(String), email: null });
    // Who is an admin elsewhere is none here.
    expect(await shown(acme.as(stranger.token), viewer!.userId)).toBeNull();
  });
});

describe('an organization that is not active', () => {
  it('should stay readable, with nothing to be changed or deployed in it', async () => {
    const sleepy = await Deployer.create(acme.app, root, 'Sleepy');
    const { organizationId, environmentId } = sleepy;
    const stackId = await sleepy.newStack(COMPOSE);
    const { id: deploymentId } = await sleepy.begin(stackId);
    const member = await sleepy.addMember('DEVELOPER');
    const { invitation } = await invite(sleepy, 'later@example.com');
    await sleepy.mutate('organizationUpdate', 'Organization { id }', { organizationId, isActive: false });
    const changes: Record<string, [string, object]> = {
      organizationUpdate: ['Organization { id }', { organizationId, name: 'Awake' }],
      organizationInvite: ['InvitationCreated { token }', { organizationId, email: 'x@example.com' }],
      invitationRevoke: ['Deleted { id }', { invitationId: invitation.id }],
      organizationMemberUpdate: [
        'OrganizationMember { id }',
        { organizationId, userId: member.userId, role: 'VIEWER' },
      ],
      organizationMemberRemove: ['Deleted { id }', { organizationId, userId: member.userId }],
      environmentCreate: ['Environment { id }', { organizationId, name: 'next' }],
      environmentUpdate: ['Environment { id }', { environmentId, name: 'next' }],
      environmentVariableSet: ['Environment { id }', { environmentId, name: 'A', value: 'b' }],
      environmentVariableDelete: ['Environment { id }', { environmentId, name: 'A' }],
      environmentDelete: ['Deleted { id }', { environmentId }],
      stackCreate: ['Stack { id }', { organizationId, name: 'next', compose: COMPOSE }],
      stackUpdate: ['Stack { id }', { stackId, name: 'next' }],
      stackDelete: ['Deleted { id }', { stackId }],
      deploymentCreate: ['Deployment { id }', { stackId, environmentId }],
      deploymentPlan: ['DeploymentPlan { id }', { stackId, environmentId }],
      deploymentRollback: ['Deployment { id }', { deploymentId }],
      deploymentRedeploy: ['Deployment { id }', { deploymentId }],
      deploymentCancel: ['Deployment { id }', { deploymentId }],
      deploymentStop: ['Deployment { id }', { deploymentId }],
    };
    for (const [field, [selection, input]] of Object.entries(changes))
      expect(await sleepy.try(field, selection, input), field).toMatchObject({ code: 'PERMISSION_DENIED' });
    const all = `query ($org: ID!, $env: ID!, $stack: ID!, $deployment: ID!) {
      organization(id: $org) { isActive members { totalCount } invitations { totalCount } }
      environment(id: $env) { name } stack(id: $stack) { name } deployment(id: $deployment) { number } }`;
    const ids = { org: organizationId, env: environmentId, stack: stackId, deployment: deploymentId };
    expect(await sleepy.ask(all, ids)).toEqual({
      organization: { isActive: false, members: { totalCount: 2 }, invitations: { totalCount: 1 } },
      environment: { name: 'dev' },
      stack: { name: 'web' },
      deployment: { number: 1 },
    });
  });
});

describe('an invitation', () => {
  it('should be for a developer, for 7 days, with a token of 256 bits', async () => {
    const { token, invitation } = await invite(acme, 'someone@example.com');
    expect(invitation.role).toBe('DEVELOPER');
    expect(Date.parse(invitation.expiresAt) - Date.parse(invitation.createdAt)).toBeCloseTo(7 * 86_400_000, -4);
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
  });
});

describe('a secret', () => {
  it('should have up to 64 KiB', async () => {
    const { environmentId } = acme;
    const set = (value: string) =>
      acme.try('environmentVariableSet', 'Environment { id }', { environmentId, name: 'BIG', value, isSecret: true });
    expect(await set('x'.repeat(64 * 1024))).toMatchObject({ __typename: 'Environment' });
    expect(await set('x'.repeat(64 * 1024 + 1))).toMatchObject({
      __typename: 'ValidationError',
      fields: [{ path: ['value'] }],
    });
  });
});

describe('validating a stack', () => {
  it('should change nothing', async () => {
    const organizationId = decodeIdOf('Organization', acme.organizationId)!;
    const stackId = await acme.newStack(COMPOSE);
    const state = async () => [
      await count('stacks', 'organization_id', organizationId),
      await count('stack_versions', 'stack_id', decodeIdOf('Stack', stackId)!),
      await count('events', 'organization_id', organizationId),
    ];
    const before = await state();
    const query = `query ($input: StackValidateInput!) { stackValidate(input: $input) { ... on StackValidation { valid score } } }`;
    const input = { organizationId: acme.organizationId, environmentId: acme.environmentId, stackId };
    expect((await acme.ask(query, { input })).stackValidate).toEqual({ valid: true, score: 100 });
    expect(await state()).toEqual(before);
  });
});

describe('a deployment that waits', () => {
  it('should say for what, and run the version that was current when it was asked for, by whom it was', async () => {
    const stackId = await acme.newStack(COMPOSE);
    const { id, status, statusReason } = await acme.begin(stackId);
    expect(status).toBe('QUEUED');
    expect(statusReason).toMatch(/^waits for a server on the host stage-1/);
    await acme.changeStack(stackId, `${COMPOSE} # changed`);
    const query = `query ($id: ID!) { deployment(id: $id) { trigger strategy stackVersion { number } createdBy { ... on User { id } } } }`;
    expect((await acme.ask(query, { id })).deployment).toEqual({
      trigger: 'MANUAL',
      strategy: 'RECREATE',
      stackVersion: { number: 1 },
      createdBy: { id: root.userId },
    });
  });
});

describe('deleting a stack', () => {
  it('should take its deployments and their logs with it, and leave the events', async () => {
    const stackId = await acme.newStack(COMPOSE);
    const { id } = await acme.begin(stackId);
    const deploymentId = decodeIdOf('Deployment', id)!;
    expect(await acme.try('stackDelete', 'Deleted { id }', { stackId })).toMatchObject({ code: 'CONFLICT' });
    await acme.tryCancel(id);
    expect(await count('log_lines', 'deployment_id', deploymentId)).toBeGreaterThan(0);
    const events = await count('events', 'subject_id', deploymentId);
    expect(events).toBeGreaterThan(0);
    await acme.mutate('stackDelete', 'Deleted { id }', { stackId });
    expect(await acme.read(id)).toBeNull();
    await removeDeletedLogs(api.database.pool, { signal: new AbortController().signal });
    for (const table of ['log_lines', 'log_heads'])
      expect(await count(table, 'deployment_id', deploymentId), table).toBe(0);
    expect(await count('events', 'subject_id', deploymentId)).toBe(events);
  });
});
