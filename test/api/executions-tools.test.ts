import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentRuns } from '../support/agent-runs.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { ModelServer } from '../support/model-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let runs: AgentRuns;
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: null, model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
  runs = new AgentRuns(acme);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  models.requests.length = 0;
  models.answers = [{ text: 'hello' }];
});

describe('the tools of an agent', () => {
  const call = (name: string, input: object) => ({ toolCalls: [{ name, arguments: JSON.stringify(input) }] });
  const toolNamed = (name: string) => name.replaceAll('.', '_');
  let stackId: string;
  beforeAll(async () => {
    stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'tools');
  });

  it('should be carried out, each call a step, and their answers told to the model', async () => {
    const agent = await runs.newAgent({ configuration: { tools: ['stacks.read'] } });
    models.answers = [call(toolNamed('stacks.read'), { stackId }), { text: 'it sleeps' }];
    const done = await runs.end((await runs.execute(agent, 'What does it do?')).id);
    expect(done).toMatchObject({
      status: 'COMPLETED',
      output: 'it sleeps',
      usage: { inputTokens: 22, outputTokens: 14 },
    });
    expect(done.steps.nodes).toMatchObject([
      { key: 'turn1', state: 'SUCCEEDED' },
      {
        key: 'turn1.call1',
        kind: 'tool',
        dependsOn: ['turn1'],
        output: { slug: 'tools', version: 1 },
        input: { tool: 'stacks.read' },
      },
      { key: 'turn2', dependsOn: ['turn1.call1'] },
    ]);
    expect(models.requests[0]!.body.tools!.map(({ function: { name } }) => name)).toEqual(['stacks_read']);
    expect(JSON.stringify(models.requests[1]!.body.messages)).toContain('sleep');
  });

  it('should tell the model what is wrong with a call', async () => {
    const agent = await runs.newAgent({ configuration: { tools: ['http.fetch', 'stacks.read'] } });
    models.answers = [
      call('http_fetch', { url: 'http://127.0.0.1:1/' }),
      call('stacks_read', { stack: 'none' }),
      call('nothing', {}),
      { text: 'I give up' },
    ];
    const done = await runs.end((await runs.execute(agent, 'hi')).id);
    const errors = done.steps.nodes.filter(({ kind }: Data) => kind === 'tool').map(({ error }: Data) => error);
    expect(errors).toEqual([
      'the address is not one of the public internet: it may not be asked',
      expect.stringContaining('stackId'),
      'there is no tool "nothing": there are http.fetch, stacks.read',
    ]);
    expect(done.output).toBe('I give up');
  });

  it('should act once somebody has approved, with the agent’s key', async () => {
    const agent = await runs.newAgent({ configuration: { tools: ['deployments.create'] } });
    models.answers = [call('deployments_create', { stackId, environmentId: acme.environmentId }), { text: 'done' }];
    const { id } = await runs.execute(agent, 'Deploy it');
    const waiting = await runs.until(id, 'WAITING');
    expect(waiting).toMatchObject({ statusReason: 'it waits for an approval: turn1.call1', finishedAt: null });
    expect(waiting.steps.nodes[1]).toMatchObject({
      ...{ state: 'WAITING', approval: { role: 'DEVELOPER', message: expect.stringContaining(stackId) } },
    });
    const viewer = await acme.addMember('VIEWER');
    const approve = `mutation ($input: ExecutionApproveInput!) { executionApprove(input: $input) { __typename ... on Error { code } } }`;
    const decision = { executionId: id, step: 'turn1.call1', approved: true };
    expect(await viewer.refusal(approve, { input: decision })).toBe('PERMISSION_DENIED');
    await acme.mutate('executionApprove', 'Execution { id }', decision);
    const done = await runs.end(id);
    expect(done).toMatchObject({ status: 'COMPLETED', output: 'done' });
    const made = done.steps.nodes[1].output;
    expect((await acme.until(made.id, ['RUNNING'])).status).toBe('RUNNING');
    const twice = await acme.mutate('executionApprove', 'ConflictError { code }', decision);
    expect(twice).toMatchObject({ code: 'CONFLICT' });
    await acme.stop(made.id);
  });

  it('should not act where somebody has refused', async () => {
    const agent = await runs.newAgent({ configuration: { tools: ['deployments.create'] } });
    models.answers = [call('deployments_create', { stackId, environmentId: acme.environmentId }), { text: 'a pity' }];
    const { id } = await runs.execute(agent, 'Deploy it');
    await runs.until(id, 'WAITING');
    await acme.mutate('executionApprove', 'Execution { id }', {
      ...{ executionId: id, step: 'turn1.call1', approved: false, comment: 'not today' },
    });
    const done = await runs.end(id);
    expect(done.steps.nodes[1]).toMatchObject({ state: 'FAILED', error: 'a person did not approve it: not today' });
    expect(done.output).toBe('a pity');
  });

  it('should have no more rights than whoever made the agent, and whoever began the run', async () => {
    const production = await acme.newEnvironment('live', 'PRODUCTION');
    const developer = await acme.addMember('DEVELOPER');
    const configuration = { tools: ['deployments.create'], withoutApproval: ['deployments.create'] };
    const ask = async (agent: string, by: Deployer) => {
      models.answers = [call('deployments_create', { stackId, environmentId: production.id }), { text: 'tried' }];
      const { id } = await new AgentRuns(by).execute(agent, 'Deploy it');
      return (await runs.end(id)).steps.nodes[1];
    };
    const denied = { state: 'FAILED', error: expect.stringContaining('needs the role ADMIN') };
    expect(await ask(await new AgentRuns(developer).newAgent({ configuration }), acme)).toMatchObject(denied);
    expect(await ask(await runs.newAgent({ configuration }), developer)).toMatchObject(denied);
  });

  it('should not reach what another organization of its maker has', async () => {
    const elsewhere = await acme.mutate('organizationCreate', 'Organization { id }', { name: 'Elsewhere' });
    const there = new Deployer(app, acme.token, elsewhere.id, '');
    const foreign = await there.newStack('services: { web: { command: [sleep, "1000"] } }', 'foreign');
    const agent = await runs.newAgent({ configuration: { tools: ['stacks.read'] } });
    models.answers = [call('stacks_read', { stackId: foreign }), { text: 'tried' }];
    const done = await runs.end((await runs.execute(agent, 'hi')).id);
    expect(done.steps.nodes[1]).toMatchObject({ state: 'FAILED', error: 'it is not one of this organization' });
  });
});
