import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';
import { encodeEventCursor } from '../../src/realtime/cursor.ts';
import { decodeGlobalId, decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { type Registered, startTestApi, type TestApi } from '../support/api.ts';
import { connectSocket, listen, type SocketClient } from '../support/api-clients.ts';
import type { TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { fieldsWithIds, type IdField } from '../support/id-arguments.ts';
import { COMPOSE, createTenantObjects, rowsAbout, type TenantObjects } from '../support/tenant-objects.ts';

type Variables = Record<string, unknown>;

/**
 * What each field that takes IDs is asked with, where all is well. A field without an entry fails the walk: give it one, with every
 * other argument as a successful call needs it. IDs that are left out here are tried all the same.
 */
const VALID: Record<string, (own: TenantObjects) => Variables> = {
  'Query.node': (own) => ({ id: own.Stack }),
  'Query.nodes': (own) => ({ ids: [own.Stack] }),
  'Query.organization': (own) => ({ id: own.Organization }),
  'Query.environment': (own) => ({ id: own.Environment }),
  'Query.stack': (own) => ({ id: own.Stack }),
  'Query.deployment': (own) => ({ id: own.Deployment }),
  'Query.deployments': (own) => ({ organizationId: own.Organization, filter: placeOf(own) }),
  'Query.agent': (own) => ({ id: own.Agent }),
  'Query.execution': (own) => ({ id: own.Execution }),
  'Query.executions': (own) => ({ organizationId: own.Organization, agentId: own.Agent }),
  'Query.workflow': (own) => ({ id: own.Workflow }),
  'Query.agentTemplate': (own) => ({ organizationId: own.Organization, slug: 'reviewer' }),
  'Query.stackValidate': (own) => ({ input: { organizationId: own.Organization, ...placeOf(own) } }),
  'Organization.stacks': (own) => ({ filter: { environmentId: own.Environment } }),
  'Environment.deployments': (own) => ({ filter: placeOf(own) }),
  'Stack.deployments': (own) => ({ filter: placeOf(own) }),
  'Mutation.sessionRevoke': (own) => ({ input: { sessionId: own.Session } }),
  'Mutation.organizationUpdate': (own) => ({ input: { organizationId: own.Organization, name: 'New name' } }),
  'Mutation.organizationDelete': (own) => ({ input: { organizationId: own.Organization } }),
  'Mutation.organizationRuntimesUpdate': (own) => ({
    input: { organizationId: own.Organization, allowedRuntimes: ['PROCESS'] },
  }),
  'Mutation.organizationInvite': (own) => ({
    input: { organizationId: own.Organization, email: 'other@example.com' },
  }),
  'Mutation.invitationRevoke': (own) => ({ input: { invitationId: own.Invitation } }),
  'Mutation.organizationMemberUpdate': (own) => ({
    input: { organizationId: own.Organization, userId: own.User, role: 'DEVELOPER' },
  }),
  'Mutation.organizationMemberRemove': (own) => ({ input: { organizationId: own.Organization, userId: own.User } }),
  'Mutation.environmentCreate': (own) => ({ input: { organizationId: own.Organization, name: 'next' } }),
  'Mutation.environmentUpdate': (own) => ({ input: { environmentId: own.Environment, name: 'New name' } }),
  'Mutation.environmentVariableSet': (own) => ({ input: { environmentId: own.Environment, name: 'A', value: '1' } }),
  'Mutation.environmentVariableDelete': (own) => ({ input: { environmentId: own.Environment, name: 'KNOWN' } }),
  'Mutation.environmentDelete': (own) => ({ input: { environmentId: own.Environment } }),
  'Mutation.stackCreate': (own) => ({ input: { organizationId: own.Organization, name: 'next', compose: COMPOSE } }),
  'Mutation.stackUpdate': (own) => ({ input: { stackId: own.Stack, name: 'New name' } }),
  'Mutation.stackDelete': (own) => ({ input: { stackId: own.Stack } }),
  'Mutation.agentTemplateCreate': (own) => ({
    input: { organizationId: own.Organization, slug: 'next', name: 'next', type: 'reviewer', definition: {} },
  }),
  'Mutation.agentTemplateUpdate': (own) => ({ input: { agentTemplateId: own.AgentTemplate, name: 'New name' } }),
  'Mutation.agentCreate': (own) => ({ input: { organizationId: own.Organization, name: 'next' } }),
  'Mutation.agentUpdate': (own) => ({ input: { agentId: own.Agent, name: 'New name' } }),
  'Mutation.agentDelete': (own) => ({ input: { agentId: own.Agent } }),
  'Mutation.agentExecute': (own) => ({ input: { agentId: own.Agent, input: 'hello' } }),
  'Mutation.workflowCreate': (own) => ({
    input: {
      organizationId: own.Organization,
      name: 'next',
      definition: { steps: { a: { kind: 'delay', seconds: 1 } } },
    },
  }),
  'Mutation.workflowUpdate': (own) => ({ input: { workflowId: own.Workflow, name: 'New name' } }),
  'Mutation.workflowDelete': (own) => ({ input: { workflowId: own.Workflow } }),
  'Mutation.workflowRun': (own) => ({ input: { workflowId: own.Workflow } }),
  'Mutation.workflowWebhookSecretRotate': (own) => ({ input: { workflowId: own.Workflow } }),
  'Mutation.executionCancel': (own) => ({ input: { executionId: own.Execution } }),
  'Mutation.executionRetry': (own) => ({ input: { executionId: own.Execution } }),
  'Mutation.executionApprove': (own) => ({ input: { executionId: own.Execution, step: 'turn1', approved: true } }),
  'Query.notificationChannel': (own) => ({ id: own.NotificationChannel }),
  'Mutation.notificationChannelCreate': (own) => ({
    input: {
      organizationId: own.Organization,
      name: 'next',
      configuration: { slack: { url: 'https://hooks.example.com/next' } },
    },
  }),
  'Mutation.notificationChannelUpdate': (own) => ({
    input: { notificationChannelId: own.NotificationChannel, name: 'New name' },
  }),
  'Mutation.notificationChannelDelete': (own) => ({ input: { notificationChannelId: own.NotificationChannel } }),
  'Mutation.notificationChannelTest': (own) => ({ input: { notificationChannelId: own.NotificationChannel } }),
  'Mutation.notificationDeliveryRetry': (own) => ({ input: { notificationDeliveryId: own.NotificationDelivery } }),
  'Mutation.deploymentPlan': (own) => ({ input: placeOf(own) }),
  'Mutation.deploymentCreate': (own) => ({ input: placeOf(own) }),
  'Mutation.deploymentCancel': (own) => ({ input: { deploymentId: own.Deployment } }),
  'Mutation.deploymentStop': (own) => ({ input: { deploymentId: own.Deployment } }),
  'Mutation.deploymentRollback': (own) => ({
    input: { deploymentId: own.Deployment, toDeploymentId: own.FormerDeployment },
  }),
  'Mutation.deploymentRedeploy': (own) => ({ input: { deploymentId: own.Deployment } }),
  'Subscription.deploymentLogs': (own) => ({ deploymentId: own.Deployment }),
  'Subscription.deploymentStatus': (own) => ({ deploymentId: own.Deployment }),
  'Subscription.serviceStats': (own) => ({ deploymentId: own.Deployment }),
  'Subscription.executionStatus': (own) => ({ executionId: own.Execution }),
  'Subscription.executionOutput': (own) => ({ executionId: own.Execution }),
  'Subscription.deploymentsChanged': (own) => ({
    organizationId: own.Organization,
    environmentId: own.Environment,
    after: encodeEventCursor(decodeIdOf('Organization', own.Organization!)!, 0),
  }),
  'Subscription.events': (own) => ({
    organizationId: own.Organization,
    after: encodeEventCursor(decodeIdOf('Organization', own.Organization!)!, 0),
    types: ['stack.*'],
  }),
};
const placeOf = (own: TenantObjects) => ({ stackId: own.Stack, environmentId: own.Environment });

/** Of which type the ID under an argument's name is. */
const TYPES: Record<string, string> = {
  organizationId: 'Organization',
  environmentId: 'Environment',
  stackId: 'Stack',
  deploymentId: 'Deployment',
  toDeploymentId: 'Deployment',
  planId: 'DeploymentPlan',
  agentId: 'Agent',
  workflowId: 'Workflow',
  agentTemplateId: 'AgentTemplate',
  executionId: 'Execution',
  continueFrom: 'Execution',
  parentId: 'Execution',
  notificationChannelId: 'NotificationChannel',
  notificationDeliveryId: 'NotificationDelivery',
  userId: 'User',
  createdById: 'User',
  sessionId: 'Session',
  invitationId: 'Invitation',
};
const NODE_TYPES = schema.getPossibleTypes(schema.getType('Node') as never).map(({ name }) => name);
/** Arguments that only narrow a list. */
const FILTERS = new Set(['agentId', 'workflowId', 'createdById', 'parentId']);
/** What a superadmin does in any organization: none is foreign to them. */
const BY_SUPERADMIN = new Set(['Mutation.organizationRuntimesUpdate']);

const fields = fieldsWithIds(schema);
const nameOf = ({ owner, name }: IdField) => `${owner}.${name}`;

// No server works for its host here: what is created stays QUEUED.
let api: TestApi;
let app: TestApp;
let superadmin: Registered;
let stranger: Registered;
let root: Deployer;
let socket: SocketClient;
let foreign: TenantObjects;
/** Of the stranger, for whatever only reads. */
let own: TenantObjects;
beforeAll(async () => {
  api = await startTestApi();
  const host = { id: newId(), machineId: 'test', runtimeDirectory: '/nowhere', name: 'test' };
  await api.database.prisma.host.create({ data: host });
  const connect = (token: string) => connectSocket(api, { authorization: `Bearer ${token}` });
  app = { ...api, runtimeDirectory: host.runtimeDirectory, connect };
  superadmin = await api.register();
  stranger = await api.register();
  root = new Deployer(app, superadmin.accessToken, '', '');
  foreign = await createTenantObjects(app, root, superadmin);
  own = await createTenantObjects(app, root, stranger);
  socket = connect(stranger.accessToken);
});
afterAll(async () => {
  await socket?.dispose();
  await api[Symbol.asyncDispose]();
});

/** The types that an ID may be of; `node` and `nodes` take any. */
function typesOf(field: IdField, path: string[]): string[] {
  if (field.owner === 'Query' && (field.name === 'node' || field.name === 'nodes')) return NODE_TYPES;
  const name = path.at(-1)!;
  const type = name === 'id' ? field.name[0]!.toUpperCase() + field.name.slice(1) : TYPES[name];
  if (type === undefined || !NODE_TYPES.includes(type))
    throw new Error(`say in TYPES of which type the ID ${path.join('.')} of ${nameOf(field)} is`);
  return [type];
}

/** IDs that lead nowhere for the stranger, by why. The first one is there, and another tenant's. */
function wrongIds(type: string): [string, string][] {
  const mine = own[type]!;
  const otherType = type === 'Environment' ? 'Stack' : 'Environment';
  const uuid = decodeGlobalId(own[otherType]!)!.id;
  return [
    ["another tenant's", foreign[type]!],
    ['absent', encodeGlobalId(type, newId())],
    ['absent, of an object of another type', encodeGlobalId(type, uuid)],
    ['of another type', encodeGlobalId('Deleted', decodeGlobalId(mine)!.id)],
    ['malformed', 'garbage'],
    ['empty', ''],
    ['a number', '42'],
    ['a bare UUID', decodeGlobalId(mine)!.id],
    ['padded', `${mine}=`],
    ['in capitals', encodeGlobalId(type, decodeGlobalId(mine)!.id.toUpperCase())],
    ['with a NUL', Buffer.from(`${type}:\0`).toString('base64url')],
    ['overlong', mine.repeat(100)],
  ];
}

/** Objects that are there, and seen, but are none of the type that is asked for. */
function ofOtherTypes(type: string): [string, string][] {
  const others = Object.keys(own).filter((other) => other !== type && !(other.endsWith(type) || type.endsWith(other)));
  return others.flatMap((other) => [
    [`one's own ${other}`, own[other]!],
    [`another tenant's ${other}`, foreign[other]!],
  ]);
}

function withId(variables: Variables, [key, ...rest]: string[], id: string): Variables {
  const copy = (Array.isArray(variables) ? [...variables] : { ...variables }) as Variables;
  copy[key!] = rest.length === 0 ? id : withId((copy[key!] ?? {}) as Variables, rest, id);
  return copy;
}

/** An answer without what differs from request to request. */
async function answerOf({ owner, document }: IdField, variables: Variables, token: string): Promise<unknown> {
  if (owner !== 'Subscription') {
    const { status, data, errors } = await app.execute(document, variables, { token });
    return { status, data, errors: errors.map(withoutRequest) };
  }
  const { heard, stop } = listen(socket, document, variables);
  await eventually('a result or the end', () => heard.results.length > 0 || heard.end !== null);
  stop();
  const end = heard.end !== null && typeof heard.end === 'object' && 'errors' in heard.end ? heard.end.errors : null;
  return { data: heard.results[0]?.data ?? null, errors: (end ?? []).map(withoutRequest) };
}

const withoutRequest = ({
  message,
  extensions: { requestId: _, ...extensions },
}: {
  message: string;
  extensions: object & { requestId?: unknown };
}) => ({
  message,
  ...extensions,
});

/** What an ID that leads nowhere is answered with. */
function nothingThere(field: IdField, path: string[]): unknown {
  const { owner, name } = field;
  const notFound = { __typename: 'NotFoundError', code: 'NOT_FOUND', message: expect.any(String) };
  const isNothing = { errors: [] };
  if (owner === 'Subscription') return { data: null, errors: [{ code: 'NOT_FOUND', message: expect.any(String) }] };
  const returns = schema.getType(owner) as { getFields?(): Record<string, { type: unknown }> };
  if (/Result$/.test(String(returns.getFields!()[name]!.type))) return { ...isNothing, data: { [name]: notFound } };
  const empty = { totalCount: 0, nodes: [] };
  if (owner !== 'Query') return { ...isNothing, data: { node: { [name]: empty } } };
  if (path.includes('filter') || FILTERS.has(path.join('.'))) return { ...isNothing, data: { [name]: empty } };
  return { ...isNothing, data: { [name]: name === 'nodes' ? [null] : null } };
}

describe("IDs of nothing, of something else, and another tenant's", () => {
  it('should all be walked: each field that takes one has a valid call', () => {
    expect(fields.map(nameOf).filter((name) => !VALID[name])).toEqual([]);
    expect(NODE_TYPES.filter((type) => !own[type])).toEqual([]);
    expect(fields.length).toBeGreaterThan(30);
  });

  describe.each(fields.map((field) => [nameOf(field), field] as const))('%s', (name, field) => {
    const cases = field.paths.flatMap((path) => typesOf(field, path).map((type) => ({ path, type })));
    const parent = () => (NODE_TYPES.includes(field.owner) ? { parent: own[field.owner] } : {});

    it.each(
      cases.map((one) => [`${one.path.join('.')} (${one.type})`, one] as const),
    )('should be answered alike under %s, and change nothing', async (_title, { path, type }) => {
      const base = { ...parent(), ...VALID[name]!(own) };
      const isAny = typesOf(field, path).length > 1;
      const isSuper = BY_SUPERADMIN.has(name);
      const token = (isSuper ? superadmin : stranger).accessToken;
      const all = [...wrongIds(type), ...(isAny ? [] : ofOtherTypes(type))].slice(isSuper ? 1 : 0);
      const before = await rowsAbout(api.database, [...Object.values(foreign), ...Object.values(own)]);
      const answers: Record<string, unknown> = {};
      for (const [why, id] of all) answers[why] = await answerOf(field, withId(base, path, id), token);
      const [first] = Object.values(answers);
      expect(first).toMatchObject(nothingThere(field, path) as object);
      expect(answers).toEqual(Object.fromEntries(all.map(([why]) => [why, first])));
      expect(await rowsAbout(api.database, [...Object.values(foreign), ...Object.values(own)])).toEqual(before);
    });

    it.skipIf(BY_SUPERADMIN.has(name))("should find nothing where all of them are another tenant's", async () => {
      const theirs = NODE_TYPES.includes(field.owner) ? { parent: foreign[field.owner] } : {};
      const before = await rowsAbout(api.database, Object.values(foreign));
      const answer = await answerOf(field, { ...theirs, ...VALID[name]!(foreign) }, stranger.accessToken);
      const nothing = 'parent' in theirs ? { data: { node: null }, errors: [] } : nothingThere(field, []);
      expect(answer).toMatchObject(nothing as object);
      expect(await rowsAbout(api.database, Object.values(foreign))).toEqual(before);
    });

    it('should succeed where the IDs are one’s own', async () => {
      const mine = field.owner === 'Mutation' ? await createTenantObjects(app, root, stranger) : own;
      const token = (BY_SUPERADMIN.has(name) ? superadmin : stranger).accessToken;
      const before = await rowsAbout(api.database, Object.values(foreign));
      const answer = (await answerOf(field, { ...parent(), ...VALID[name]!(mine) }, token)) as {
        data: Record<string, { __typename?: string; totalCount?: number; code?: string } | null>;
        errors: unknown[];
      };
      expect(answer.errors).toEqual([]);
      const [result] = Object.values(answer.data);
      expect(result).toBeTruthy();
      // A conflict with what runs comes after the ID was found.
      if (result!.code !== 'CONFLICT') expect(JSON.stringify(result)).not.toMatch(/"code"|"totalCount":0|null/);
      expect(await rowsAbout(api.database, Object.values(foreign))).toEqual(before);
    });
  });

  it('should not let others than the superadmin ask whether an organization is there', async () => {
    for (const name of BY_SUPERADMIN) {
      const field = fields.find((one) => nameOf(one) === name)!;
      const [path] = field.paths;
      const answers = await Promise.all(
        wrongIds('Organization').map(([, id]) =>
          answerOf(field, withId(VALID[name]!(own), path!, id), stranger.accessToken),
        ),
      );
      expect(answers).toEqual(answers.map(() => answers[0]));
      expect(answers[0]).toMatchObject({ errors: [{ code: 'PERMISSION_DENIED' }] });
    }
  });
});
