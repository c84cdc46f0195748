import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Heard, listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { ModelServer } from '../support/model-server.ts';

const EXECUTION = `id revision kind status statusReason input output startedAt finishedAt agent { id } retryOf { id } continues { id }
  usage { inputTokens outputTokens } createdBy { ... on User { id } }
  steps { nodes { key kind state attempt dependsOn input output error approval { message role } startedAt finishedAt } }`;
const READ = `query ($id: ID!) { execution(id: $id) { ${EXECUTION} } }`;
const STATUS = `subscription ($id: ID!) { executionStatus(executionId: $id) { revision status steps { nodes { key state attempt } } } }`;
const OUTPUT = `subscription ($id: ID!, $after: String) { executionOutput(executionId: $id, after: $after) {
  chunks { sequence step attempt text } endCursor live } }`;
const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let client: SocketClient;
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: 'the-installations', model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
  client = app.connect(acme.token);
});
afterAll(async () => {
  await client?.dispose();
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  models.requests.length = 0;
  models.answers = [{ text: 'hello' }];
});

let agents = 0;
const newAgent = async (input: object = {}, by = acme): Promise<string> => {
  const values = { organizationId: by.organizationId, name: `agent ${++agents}`, ...input };
  return (await by.mutate('agentCreate', 'Agent { id }', values)).id;
};
const execute = (agentId: string, input: string, more: object = {}, by = acme): Promise<Data> =>
  by.mutate('agentExecute', `Execution { ${EXECUTION} }`, { agentId, input, ...more });
const read = async (id: string, by = acme): Promise<Data> => (await by.ask(READ, { id })).execution;
const until = (id: string, ...statuses: string[]): Promise<Data> =>
  eventually(`it is ${statuses.join(' or ')}`, async () => {
    const execution = await read(id);
    return statuses.includes(execution.status) ? execution : null;
  });
const chunksOf = ({ results }: Heard): { sequence: number; attempt: number; text: string }[] =>
  results.flatMap(({ data }) => data.executionOutput.chunks);
const textOf = (chunks: { text: string }[]) => chunks.map(({ text }) => text).join('');

describe('an execution of an agent', () => {
  it('should need no provider with the echo, and be told live to its end', async () => {
    const agent = await newAgent({ model: 'builtin/echo' });
    const input = Array.from({ length: 300 }, (_, index) => `word${index}`).join(' ');
    const { id, status, kind, createdBy } = await execute(agent, input);
    expect({ status, kind, hasCreator: createdBy.id !== null }).toEqual({
      status: 'QUEUED',
      kind: 'AGENT',
      hasCreator: true,
    });
    const [states, output] = [listen(client, STATUS, { id }).heard, listen(client, OUTPUT, { id }).heard];
    await eventually('both to end', () => states.end !== null && output.end !== null);
    const done = await read(id);
    expect(done).toMatchObject({
      status: 'COMPLETED',
      output: input,
      agent: { id: agent },
      usage: { inputTokens: 300, outputTokens: 300 },
      steps: {
        nodes: [{ key: 'turn1', kind: 'turn', state: 'SUCCEEDED', attempt: 1, output: { text: input, toolCalls: [] } }],
      },
    });
    const chunks = chunksOf(output);
    expect(textOf(chunks)).toBe(input);
    expect(chunks.map(({ sequence }) => sequence)).toEqual(chunks.map((_, index) => index + 1));
    expect(states.results.at(-1)!.data.executionStatus).toMatchObject({ status: 'COMPLETED', revision: done.revision });
  });

  it('should ask the provider with the agent’s own key, or the installation’s', async () => {
    const settings = { systemPrompt: 'Be brief.', configuration: { temperature: 0.5, maxTokens: 100 } };
    const own = await newAgent({ ...settings, credential: 'secret-of-acme' });
    await until((await execute(own, 'hi')).id, 'COMPLETED');
    await until((await execute(await newAgent(), 'hi')).id, 'COMPLETED');
    const [first, second] = models.requests;
    expect(first!.headers.authorization).toBe('Bearer secret-of-acme');
    expect(second!.headers.authorization).toBe('Bearer the-installations');
    expect(first!.body).toMatchObject({
      model: 'test/model',
      temperature: 0.5,
      max_tokens: 100,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hi' },
      ],
    });
  });

  it('should go on with a conversation', async () => {
    const agent = await newAgent();
    models.answers = [{ text: 'Paris' }, { text: 'two million' }];
    const first = await until((await execute(agent, 'The capital of France?')).id, 'COMPLETED');
    const second = await execute(agent, 'How many live there?', { continueFrom: first.id });
    await until(second.id, 'COMPLETED');
    expect(second.continues).toEqual({ id: first.id });
    expect(models.requests.at(-1)!.body.messages).toEqual([
      { role: 'user', content: 'The capital of France?' },
      { role: 'assistant', content: 'Paris' },
      { role: 'user', content: 'How many live there?' },
    ]);
    const other = await acme.mutate('agentExecute', 'NotFoundError { code }', {
      ...{ agentId: await newAgent(), input: 'hi', continueFrom: first.id },
    });
    expect(other).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('should be tried again after what may pass, and keep what each attempt wrote apart', async () => {
    const agent = await newAgent({ configuration: { retry: { attempts: 3, delaySeconds: 0 } } });
    models.answers = [{ status: 429, retryAfter: '0' }, { breaksAfter: 'not this' }, { text: 'but that' }];
    const { id } = await execute(agent, 'hi');
    const { heard: output } = listen(client, OUTPUT, { id });
    const done = await until(id, ...FINAL);
    expect(done).toMatchObject({
      status: 'COMPLETED',
      output: 'but that',
      steps: { nodes: [{ attempt: 3, state: 'SUCCEEDED' }] },
    });
    await eventually('its end', () => output.end !== null);
    const written = (attempt: number) => textOf(chunksOf(output).filter((chunk) => chunk.attempt === attempt));
    expect([written(2), written(3)]).toEqual(['not this', 'but that']);
  });

  it('should fail in words where it cannot go on', async () => {
    const agent = await newAgent({ configuration: { retry: { attempts: 1 } } });
    models.answers = [{ status: 401, message: 'bad key' }];
    expect(await until((await execute(agent, 'hi')).id, ...FINAL)).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringContaining('refuses the key (401): bad key'),
      steps: { nodes: [{ state: 'FAILED', error: expect.stringContaining('bad key') }] },
    });
  });

  it('should answer as its schema says', async () => {
    const outputSchema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
    const agent = await newAgent({ configuration: { outputSchema } });
    models.answers = [{ text: 'It is Paris.' }, { text: '{"city": "Paris"}' }];
    const done = await until((await execute(agent, 'The capital of France?')).id, ...FINAL);
    expect(done).toMatchObject({ status: 'COMPLETED', output: { city: 'Paris' } });
  });

  it('should be cancelled at once, and let go of its provider', async () => {
    const agent = await newAgent();
    models.answers = [{ hangsAfter: 'thinking' }];
    const { id } = await execute(agent, 'hi');
    await eventually('it thinks', () => models.requests.length > 0);
    const cancelled = await acme.mutate('executionCancel', 'Execution { status }', { executionId: id });
    expect(['CANCELLING', 'CANCELLED']).toContain(cancelled.status);
    const done = await until(id, ...FINAL);
    expect(done).toMatchObject({ status: 'CANCELLED', steps: { nodes: [{ state: 'CANCELLED' }] } });
    await eventually('the connection is closed', () => models.requests[0]!.isCut);
    const again = await acme.mutate('executionCancel', 'Execution { status }', { executionId: id });
    expect(again.status).toBe('CANCELLED');
  });

  it('should end when its time is over', async () => {
    const agent = await newAgent({ configuration: { timeoutSeconds: 1 } });
    models.answers = [{ hangsAfter: 'thinking' }];
    expect(await until((await execute(agent, 'hi')).id, ...FINAL)).toMatchObject({
      status: 'FAILED',
      statusReason: 'it did not end within its time',
    });
  });

  it('should be made once under an idempotency key', async () => {
    const agent = await newAgent({ model: 'builtin/echo' });
    const [one, other] = await Promise.all([1, 2].map(() => execute(agent, 'hi', { idempotencyKey: 'once' })));
    expect(one.id).toBe(other.id);
  });

  it('should not begin where the organization has used up its budget', async () => {
    const tenant = await acme.newTenant('Thrifty');
    const agent = await newAgent({ model: 'builtin/echo' }, tenant);
    await tenant.mutate('organizationUpdate', 'Organization { id }', {
      ...{ organizationId: tenant.organizationId, settings: { monthlyTokenBudget: 4 } },
    });
    const first = await execute(agent, 'one two', {}, tenant);
    await eventually('it is done', async () => FINAL.includes((await read(first.id, tenant)).status));
    const refused = await tenant.mutate('agentExecute', 'QuotaExceededError { code limit used }', {
      agentId: agent,
      input: 'three',
    });
    expect(refused).toMatchObject({ code: 'QUOTA_EXCEEDED', limit: 4, used: 4 });
  });
});

describe('the tools of an agent', () => {
  const call = (name: string, input: object) => ({ toolCalls: [{ name, arguments: JSON.stringify(input) }] });
  const toolNamed = (name: string) => name.replaceAll('.', '_');
  let stackId: string;
  beforeAll(async () => {
    stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'tools');
  });

  it('should be carried out, each call a step, and their answers told to the model', async () => {
    const agent = await newAgent({ configuration: { tools: ['stacks.read'] } });
    models.answers = [call(toolNamed('stacks.read'), { stackId }), { text: 'it sleeps' }];
    const done = await until((await execute(agent, 'What does it do?')).id, ...FINAL);
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
    const agent = await newAgent({ configuration: { tools: ['http.fetch', 'stacks.read'] } });
    models.answers = [
      call('http_fetch', { url: 'http://127.0.0.1:1/' }),
      call('stacks_read', { stack: 'none' }),
      call('nothing', {}),
      { text: 'I give up' },
    ];
    const done = await until((await execute(agent, 'hi')).id, ...FINAL);
    const errors = done.steps.nodes.filter(({ kind }: Data) => kind === 'tool').map(({ error }: Data) => error);
    expect(errors).toEqual([
      'the address is not one of the public internet: it may not be asked',
      expect.stringContaining('stackId'),
      'there is no tool "nothing": there are http.fetch, stacks.read',
    ]);
    expect(done.output).toBe('I give up');
  });

  it('should act once somebody has approved, with the agent’s key', async () => {
    const agent = await newAgent({ configuration: { tools: ['deployments.create'] } });
    models.answers = [call('deployments_create', { stackId, environmentId: acme.environmentId }), { text: 'done' }];
    const { id } = await execute(agent, 'Deploy it');
    const waiting = await until(id, 'WAITING');
    expect(waiting).toMatchObject({ statusReason: 'it waits for an approval: turn1.call1', finishedAt: null });
    expect(waiting.steps.nodes[1]).toMatchObject({
      ...{ state: 'WAITING', approval: { role: 'DEVELOPER', message: expect.stringContaining(stackId) } },
    });
    const viewer = await acme.addMember('VIEWER');
    const approve = `mutation ($input: ExecutionApproveInput!) { executionApprove(input: $input) { __typename ... on Error { code } } }`;
    const decision = { executionId: id, step: 'turn1.call1', approved: true };
    expect(await viewer.refusal(approve, { input: decision })).toBe('PERMISSION_DENIED');
    await acme.mutate('executionApprove', 'Execution { id }', decision);
    const done = await until(id, ...FINAL);
    expect(done).toMatchObject({ status: 'COMPLETED', output: 'done' });
    const made = done.steps.nodes[1].output;
    expect((await acme.until(made.id, ['RUNNING'])).status).toBe('RUNNING');
    const twice = await acme.mutate('executionApprove', 'ConflictError { code }', decision);
    expect(twice).toMatchObject({ code: 'CONFLICT' });
    await acme.stop(made.id);
  });

  it('should not act where somebody has refused', async () => {
    const agent = await newAgent({ configuration: { tools: ['deployments.create'] } });
    models.answers = [call('deployments_create', { stackId, environmentId: acme.environmentId }), { text: 'a pity' }];
    const { id } = await execute(agent, 'Deploy it');
    await until(id, 'WAITING');
    await acme.mutate('executionApprove', 'Execution { id }', {
      ...{ executionId: id, step: 'turn1.call1', approved: false, comment: 'not today' },
    });
    const done = await until(id, ...FINAL);
    expect(done.steps.nodes[1]).toMatchObject({ state: 'FAILED', error: 'a person did not approve it: not today' });
    expect(done.output).toBe('a pity');
  });

  it('should have no more rights than whoever made the agent, and whoever began the run', async () => {
    const production = await acme.newEnvironment('live', 'PRODUCTION');
    const developer = await acme.addMember('DEVELOPER');
    const configuration = { tools: ['deployments.create'], withoutApproval: ['deployments.create'] };
    const ask = async (agent: string, by: Deployer) => {
      models.answers = [call('deployments_create', { stackId, environmentId: production.id }), { text: 'tried' }];
      const { id } = await execute(agent, 'Deploy it', {}, by);
      return (await until(id, ...FINAL)).steps.nodes[1];
    };
    const denied = { state: 'FAILED', error: expect.stringContaining('needs the role ADMIN') };
    expect(await ask(await newAgent({ configuration }, developer), acme)).toMatchObject(denied);
    expect(await ask(await newAgent({ configuration }), developer)).toMatchObject(denied);
  });

  it('should not reach what another organization of its maker has', async () => {
    const elsewhere = await acme.mutate('organizationCreate', 'Organization { id }', { name: 'Elsewhere' });
    const there = new Deployer(app, acme.token, elsewhere.id, '');
    const foreign = await there.newStack('services: { web: { command: [sleep, "1000"] } }', 'foreign');
    const agent = await newAgent({ configuration: { tools: ['stacks.read'] } });
    models.answers = [call('stacks_read', { stackId: foreign }), { text: 'tried' }];
    const done = await until((await execute(agent, 'hi')).id, ...FINAL);
    expect(done.steps.nodes[1]).toMatchObject({ state: 'FAILED', error: 'it is not one of this organization' });
  });
});

describe('repeating an execution', () => {
  it('should take over what succeeded before the step that failed', async () => {
    const agent = await newAgent({ configuration: { tools: ['stacks.read'], retry: { attempts: 1 } } });
    const stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'repeat');
    const asked = { toolCalls: [{ name: 'stacks_read', arguments: JSON.stringify({ stackId }) }] };
    models.answers = [asked, { status: 400, message: 'no' }, { text: 'now it works' }];
    const failed = await until((await execute(agent, 'hi')).id, ...FINAL);
    expect(failed.status).toBe('FAILED');
    const again = await acme.mutate('executionRetry', `Execution { ${EXECUTION} }`, { executionId: failed.id });
    expect(again).toMatchObject({ status: 'QUEUED', retryOf: { id: failed.id }, input: 'hi' });
    const done = await until(again.id, ...FINAL);
    expect(done).toMatchObject({ status: 'COMPLETED', output: 'now it works' });
    expect(models.requests).toHaveLength(3);
    expect(done.steps.nodes[1].output).toEqual(failed.steps.nodes[1].output);
  });

  it('should begin with any step that is named', async () => {
    const agent = await newAgent();
    models.answers = [{ text: 'one' }, { text: 'two' }];
    const first = await until((await execute(agent, 'hi')).id, 'COMPLETED');
    const unnamed = await acme.mutate('executionRetry', 'ValidationError { fields { path } }', {
      executionId: first.id,
    });
    expect(unnamed).toMatchObject({ fields: [{ path: ['fromStep'] }] });
    const again = await acme.mutate('executionRetry', 'Execution { id }', { executionId: first.id, fromStep: 'turn1' });
    expect(await until(again.id, ...FINAL)).toMatchObject({ output: 'two' });
  });
});

describe('lists of executions', () => {
  it('should be those of an organization or an agent, as asked for', async () => {
    const tenant = await acme.newTenant('Lists');
    const agent = await newAgent({ model: 'builtin/echo' }, tenant);
    const ids: string[] = [];
    for (const word of ['a', 'b', 'c']) ids.unshift((await execute(agent, word, {}, tenant)).id);
    await eventually('all are done', async () =>
      (await Promise.all(ids.map((id) => read(id, tenant)))).every(({ status }) => FINAL.includes(status)),
    );
    const { executions, agent: own } = await tenant.ask(
      `query ($org: ID!, $agent: ID!) {
         executions(organizationId: $org, kind: AGENT, status: [COMPLETED], first: 2) { totalCount nodes { id } pageInfo { hasNextPage } }
         agent(id: $agent) { executions(status: [FAILED]) { totalCount } } }`,
      { org: tenant.organizationId, agent },
    );
    expect(executions).toEqual({
      totalCount: 3,
      nodes: ids.slice(0, 2).map((id) => ({ id })),
      pageInfo: { hasNextPage: true },
    });
    expect(own.executions.totalCount).toBe(0);
    expect((await acme.ask(READ, { id: ids[0] })).execution).toBeNull();
  });
});
