import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentRuns } from '../support/agent-runs.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { ModelServer } from '../support/model-server.ts';

const ECHO = { model: 'builtin/echo' };
const OWN_KEY = 'installation-key/123';

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let runs: AgentRuns;
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: OWN_KEY, model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
  runs = new AgentRuns(acme);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
});

describe('a run of an agent', () => {
  it('should be the same one under its idempotency key, also when it has used up the budget', async () => {
    const thrifty = new AgentRuns(await acme.newTenant('Thrifty'));
    const { by } = thrifty;
    await by.mutate('organizationUpdate', 'Organization { id }', {
      ...{ organizationId: by.organizationId, settings: { monthlyTokenBudget: 4 } },
    });
    const agentId = await thrifty.newAgent(ECHO);
    const ask = (input: object) =>
      by.try('agentExecute', 'Execution { id status }', { agentId, input: 'one two', ...input });
    const first = await ask({ idempotencyKey: 'once' });
    await thrifty.end(first.id);
    expect(await ask({})).toMatchObject({ code: 'QUOTA_EXCEEDED' });
    expect(await ask({ idempotencyKey: 'once' })).toMatchObject({ id: first.id, status: 'COMPLETED' });
    expect(await ask({ idempotencyKey: 'once', input: 'else' })).toMatchObject({ code: 'CONFLICT' });
  });

  it('should ask nobody about a tool that the agent has not', async () => {
    const environmentId = acme.environmentId;
    models.answers = [
      { toolCalls: [{ name: 'deployments.create', arguments: JSON.stringify({ environmentId }) }] },
      { text: 'I may not' },
    ];
    const agent = { configuration: { tools: ['stacks.read'] } };
    const { output, steps } = await runs.end(await runs.begin('Deploy it', { agent }));
    expect(output).toBe('I may not');
    expect(steps.nodes[1]).toMatchObject({ state: 'FAILED', error: expect.stringContaining('there is no tool') });
  });

  it.each([
    ['the agent’s own', 'agent key/456'],
    ['the installation’s', null],
  ])('should tell nobody the key that the provider says back: %s', async (_, credential) => {
    const key = credential ?? OWN_KEY;
    models.answers = [{ status: 401, message: `bad key ${key}, in the form ${encodeURIComponent(key)}` }];
    const viewer = new AgentRuns(await acme.addMember('VIEWER'));
    const id = await runs.begin('hi', { agent: { credential } });
    await runs.end(id);
    const error = "the model's server refuses the key (401): bad key ***, in the form ***";
    expect(await viewer.read(id)).toMatchObject({
      ...{ status: 'FAILED', statusReason: `turn1: ${error}`, steps: { nodes: [{ error }] } },
    });
  });

  it('should tell that an answer was cut', async () => {
    models.answers = [{ text: 'one two', finishReason: 'length' }];
    const cut = await runs.end(await runs.begin('Count', { agent: { configuration: { maxTokens: 2 } } }));
    expect(cut).toMatchObject({ status: 'COMPLETED', output: 'one two' });
    expect(cut.steps.nodes[0].output).toEqual({ text: 'one two', toolCalls: [], isCut: true });
    models.answers = [{ text: '{"one', finishReason: 'length' }];
    const configuration = { maxTokens: 2, outputSchema: { type: 'object' } };
    const { status, statusReason } = await runs.end(await runs.begin('Count', { agent: { configuration } }));
    expect(status).toBe('FAILED');
    expect(statusReason).toContain('cut off at maxTokens (2)');
  });
});

describe('the executions of an organization', () => {
  const LIST = `query ($organizationId: ID!, $agentId: ID, $createdById: ID) {
    executions(organizationId: $organizationId, agentId: $agentId, createdById: $createdById) { totalCount nodes { id } } }`;

  it('should be narrowed to an agent and to who began them', async () => {
    const tenant = new AgentRuns(await acme.newTenant('Many'));
    const developer = await tenant.by.addMember('DEVELOPER');
    const { organizationId } = tenant.by;
    const agents = [await tenant.newAgent(ECHO), await tenant.newAgent(ECHO)];
    const mine = await tenant.begin('mine', { agentId: agents[0]! });
    const theirs = await new AgentRuns(developer).begin('theirs', { agentId: agents[1]! });
    const ids = async (filter: object) => {
      const { executions } = await developer.ask(LIST, { organizationId, ...filter });
      expect(executions.totalCount).toBe(executions.nodes.length);
      return executions.nodes.map(({ id }: { id: string }) => id);
    };
    expect(await ids({})).toEqual([theirs, mine]);
    expect(await ids({ agentId: agents[0] })).toEqual([mine]);
    expect(await ids({ createdById: developer.userId })).toEqual([theirs]);
    expect(await ids({ agentId: agents[0], createdById: developer.userId })).toEqual([]);
  });

  it('should be repeated once under an idempotency key, and cancelled in any state but an end', async () => {
    models.answers = [{ hangsAfter: 'thinking' }];
    const id = await runs.begin('hi');
    const retry = (input: object) => acme.try('executionRetry', 'Execution { id }', { executionId: id, ...input });
    expect(await retry({})).toMatchObject({ code: 'CONFLICT' });
    await acme.mutate('executionCancel', 'Execution { id }', { executionId: id });
    await runs.until(id, 'CANCELLED');
    models.answers = [{ text: 'done' }];
    const [one, other] = await Promise.all([1, 2].map(() => retry({ idempotencyKey: 'again' })));
    expect(one.id).toBe(other.id);
    expect(await runs.end(one.id)).toMatchObject({ status: 'COMPLETED', output: 'done' });
    const over = await acme.try('executionCancel', 'Execution { id }', { executionId: one.id });
    expect(over).toMatchObject({ code: 'CONFLICT' });
    expect(await retry({ fromStep: 'turn9' })).toMatchObject({ __typename: 'ValidationError' });
  });
});
