import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentRuns } from '../support/agent-runs.ts';
import { listen } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { ModelServer } from '../support/model-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

const WELL = 'services: { web: { command: [sleep, "1000"] } }';
const ACTOR = '__typename ... on User { id } ... on Agent { id } ... on Workflow { id }';
const DEPLOYMENTS = `query ($id: ID!) { deployments(organizationId: $id) { nodes { trigger createdBy { ${ACTOR} } execution { id } } } }`;
const CHILDREN = `query ($id: ID!, $parentId: ID!) {
  executions(organizationId: $id, parentId: $parentId) { nodes { id parent { id } createdBy { ${ACTOR} } } }
  execution(id: $parentId) { steps { nodes { key execution { id kind } } } } }`;
const RUNS = 'query ($id: ID!) { workflow(id: $id) { executions { nodes { trigger } } } }';
const APPROVAL = `query ($id: ID!) { execution(id: $id) { steps { nodes { approval { approved comment decidedBy { id } } } } } }`;
const CURSOR = 'query ($id: ID!) { organization(id: $id) { eventCursor } }';
const EVENTS = `subscription ($organizationId: ID!, $after: String, $types: [String!]) {
  events(organizationId: $organizationId, after: $after, types: $types) { events { type actor { ${ACTOR} } } live } }`;

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: null, model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
});

const deploymentsOf = async (by: Deployer): Promise<Data[]> =>
  (await by.ask(DEPLOYMENTS, { id: by.organizationId })).deployments.nodes;
const cursorOf = async (by: Deployer): Promise<string> =>
  (await by.ask(CURSOR, { id: by.organizationId })).organization.eventCursor;

/** Who did what was told since. */
async function actorsOf(by: Deployer, after: string, type: string): Promise<Data[]> {
  const client = app.connect(by.token);
  const { heard, stop } = listen(client, EVENTS, { organizationId: by.organizationId, after, types: [type] });
  await eventually('the turn to live', () => heard.results.some(({ data }) => data.events.live));
  stop();
  await client.dispose();
  return heard.results.flatMap(({ data }) => data.events.events).map(({ actor }: Data) => actor);
}

describe('what an agent does', () => {
  it('should name the agent, and nobody once that is gone', async () => {
    const tenant = await acme.newTenant('Agents');
    const runs = new AgentRuns(tenant);
    const after = await cursorOf(tenant);
    const { environmentId } = tenant;
    const stackId = await tenant.newStack(WELL);
    const configuration = { tools: ['deployments.create'], withoutApproval: ['deployments.create'] };
    const agentId = await runs.newAgent({ configuration });
    models.answers = [
      { toolCalls: [{ name: 'deployments.create', arguments: JSON.stringify({ stackId, environmentId }) }] },
      { text: 'done' },
    ];
    const id = await runs.begin('Deploy it', { agentId });
    expect(await runs.end(id)).toMatchObject({ output: 'done' });
    const actor = { __typename: 'Agent', id: agentId };
    const made = { trigger: 'MANUAL', createdBy: actor, execution: { id } };
    expect(await deploymentsOf(tenant)).toEqual([made]);
    expect(await actorsOf(tenant, after, 'deployment.created')).toEqual([actor]);
    await tenant.mutate('agentDelete', 'Deleted { id }', { agentId });
    expect(await deploymentsOf(tenant)).toEqual([{ ...made, createdBy: null }]);
    expect(await actorsOf(tenant, after, 'deployment.created')).toEqual([null]);
  });
});

describe('what a workflow does', () => {
  it('should name the workflow: deployments, and executions of its steps', async () => {
    const tenant = await acme.newTenant('Workflows');
    const runs = new AgentRuns(tenant);
    const { organizationId, environmentId } = tenant;
    const stackId = await tenant.newStack(WELL);
    const agentId = await runs.newAgent({ model: 'builtin/echo' });
    const steps = {
      deploy: { kind: 'deploy', stackId, environmentId },
      review: { kind: 'agent', needs: ['deploy'], agentId, input: 'well?' },
    };
    const input = { organizationId, name: 'release', definition: { steps } };
    const workflowId = (await tenant.mutate('workflowCreate', 'Workflow { id }', input)).id;
    const after = await cursorOf(tenant);
    const { id } = await tenant.mutate('workflowRun', 'Execution { id }', { workflowId });
    expect(await runs.end(id)).toMatchObject({ status: 'COMPLETED' });
    const actor = { __typename: 'Workflow', id: workflowId };
    expect(await deploymentsOf(tenant)).toEqual([{ trigger: 'WORKFLOW', createdBy: actor, execution: { id } }]);
    expect(await actorsOf(tenant, after, 'deployment.created')).toEqual([actor]);
    const { executions, execution } = await tenant.ask(CHILDREN, { id: organizationId, parentId: id });
    const child = expect.any(String);
    expect(executions.nodes).toEqual([{ id: child, parent: { id }, createdBy: actor }]);
    expect(execution.steps.nodes).toEqual([
      { key: 'deploy', execution: null },
      { key: 'review', execution: { id: executions.nodes[0].id, kind: 'AGENT' } },
    ]);
    expect(await actorsOf(tenant, after, 'execution.created')).toEqual([
      expect.objectContaining({ __typename: 'User' }),
      actor,
    ]);
  });

  it('should not begin it anew, where an event of its own deployment would', async () => {
    const tenant = await acme.newTenant('Loop');
    const { organizationId, environmentId } = tenant;
    const stackId = await tenant.newStack(WELL);
    const triggers = [{ kind: 'event', event: 'deployment.running' }];
    const create = async (name: string, steps: object): Promise<string> => {
      const input = { organizationId, name, definition: { triggers, steps } };
      return (await tenant.mutate('workflowCreate', 'Workflow { id }', input)).id;
    };
    const deploying = await create('deploying', { deploy: { kind: 'deploy', stackId, environmentId } });
    const watching = await create('watching', { pause: { kind: 'delay', seconds: 0 } });
    const runsOf = async (workflowId: string): Promise<Data[]> =>
      (await tenant.ask(RUNS, { id: workflowId })).workflow.executions.nodes;
    await tenant.deploy(stackId);
    await eventually('both deployments are told', async () => (await runsOf(watching)).length === 2);
    expect(await runsOf(deploying)).toEqual([{ trigger: 'EVENT' }]);
  });

  it('should name the workflow where an event began it', async () => {
    const tenant = await acme.newTenant('Events');
    const { organizationId } = tenant;
    const definition = {
      triggers: [{ kind: 'event', event: 'stack.created' }],
      steps: { pause: { kind: 'delay', seconds: 0 } },
    };
    const input = { organizationId, name: 'on-stack', definition };
    const workflowId = (await tenant.mutate('workflowCreate', 'Workflow { id }', input)).id;
    const after = await cursorOf(tenant);
    await tenant.newStack(WELL);
    await eventually('a run has begun', async () => (await actorsOf(tenant, after, 'execution.created')).length > 0);
    expect(await actorsOf(tenant, after, 'execution.created')).toEqual([{ __typename: 'Workflow', id: workflowId }]);
  });
});

describe('a decision about a step', () => {
  it('should name who took it, also once they are no member any more', async () => {
    const tenant = await acme.newTenant('Decisions');
    const { organizationId } = tenant;
    const admin = await tenant.addMember('ADMIN');
    const definition = { steps: { ask: { kind: 'approval', message: 'May I?', role: 'ADMIN' } } };
    const input = { organizationId, name: 'ask', definition };
    const workflowId = (await tenant.mutate('workflowCreate', 'Workflow { id }', input)).id;
    const after = await cursorOf(tenant);
    const { id } = await tenant.mutate('workflowRun', 'Execution { id }', { workflowId });
    const approval = async () => {
      const { execution } = await tenant.ask(APPROVAL, { id });
      return execution.steps.nodes[0]?.approval;
    };
    await eventually('it asks', approval);
    expect(await approval()).toEqual({ approved: null, comment: null, decidedBy: null });
    const decision = { executionId: id, step: 'ask', approved: false, comment: 'not today' };
    await admin.mutate('executionApprove', 'Execution { id }', decision);
    const decided = { approved: false, comment: 'not today', decidedBy: { id: admin.userId } };
    expect(await approval()).toEqual(decided);
    expect(await actorsOf(tenant, after, 'execution.decided')).toEqual([{ __typename: 'User', id: admin.userId }]);
    await tenant.mutate('organizationMemberRemove', 'Deleted { id }', { organizationId, userId: admin.userId });
    expect(await approval()).toEqual(decided);
  });
});
