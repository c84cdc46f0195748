import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentRuns, EXECUTION } from '../support/agent-runs.ts';
import { type Heard, listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { ModelServer } from '../support/model-server.ts';

const STATUS = `subscription ($id: ID!) { executionStatus(executionId: $id) { revision status steps { nodes { key state attempt } } } }`;
const OUTPUT = `subscription ($id: ID!, $after: String) { executionOutput(executionId: $id, after: $after) {
  chunks { sequence step attempt text } endCursor live } }`;

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let runs: AgentRuns;
let client: SocketClient;
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: 'the-installations', model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
  runs = new AgentRuns(acme);
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

const chunksOf = ({ results }: Heard): { sequence: number; attempt: number; text: string }[] =>
  results.flatMap(({ data }) => data.executionOutput.chunks);
const textOf = (chunks: { text: string }[]) => chunks.map(({ text }) => text).join('');

describe('an execution of an agent', () => {
  it('should need no provider with the echo, and be told live to its end', async () => {
    const agent = await runs.newAgent({ model: 'builtin/echo' });
    const input = Array.from({ length: 300 }, (_, index) => `word${index}`).join(' ');
    const { id, status, kind, createdBy } = await runs.execute(agent, input);
    expect({ status, kind, hasCreator: createdBy.id !== null }).toEqual({
      status: 'QUEUED',
      kind: 'AGENT',
      hasCreator: true,
    });
    const [states, output] = [listen(client, STATUS, { id }).heard, listen(client, OUTPUT, { id }).heard];
    await eventually('both to end', () => states.end !== null && output.end !== null);
    const done = await runs.read(id);
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
    const own = await runs.newAgent({ ...settings, credential: 'secret-of-acme' });
    await runs.until((await runs.execute(own, 'hi')).id, 'COMPLETED');
    await runs.until((await runs.execute(await runs.newAgent(), 'hi')).id, 'COMPLETED');
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
    const agent = await runs.newAgent();
    models.answers = [{ text: 'Paris' }, { text: 'two million' }];
    const first = await runs.until((await runs.execute(agent, 'The capital of France?')).id, 'COMPLETED');
    const second = await runs.execute(agent, 'How many live there?', { continueFrom: first.id });
    await runs.until(second.id, 'COMPLETED');
    expect(second.continues).toEqual({ id: first.id });
    expect(models.requests.at(-1)!.body.messages).toEqual([
      { role: 'user', content: 'The capital of France?' },
      { role: 'assistant', content: 'Paris' },
      { role: 'user', content: 'How many live there?' },
    ]);
    const other = await acme.mutate('agentExecute', 'NotFoundError { code }', {
      ...{ agentId: await runs.newAgent(), input: 'hi', continueFrom: first.id },
    });
    expect(other).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('should be tried again after what may pass, and keep what each attempt wrote apart', async () => {
    const agent = await runs.newAgent({ configuration: { retry: { attempts: 3, delaySeconds: 0 } } });
    models.answers = [{ status: 429, retryAfter: '0' }, { breaksAfter: 'not this' }, { text: 'but that' }];
    const { id } = await runs.execute(agent, 'hi');
    const { heard: output } = listen(client, OUTPUT, { id });
    const done = await runs.end(id);
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
    const agent = await runs.newAgent({ configuration: { retry: { attempts: 1 } } });
    models.answers = [{ status: 401, message: 'bad key' }];
    expect(await runs.end((await runs.execute(agent, 'hi')).id)).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringContaining('refuses the key (401): bad key'),
      steps: { nodes: [{ state: 'FAILED', error: expect.stringContaining('bad key') }] },
    });
  });

  it('should answer as its schema says', async () => {
    const outputSchema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
    const agent = await runs.newAgent({ configuration: { outputSchema } });
    models.answers = [{ text: 'It is Paris.' }, { text: '{"city": "Paris"}' }];
    const done = await runs.end((await runs.execute(agent, 'The capital of France?')).id);
    expect(done).toMatchObject({ status: 'COMPLETED', output: { city: 'Paris' } });
  });

  it('should be cancelled at once, and let go of its provider', async () => {
    const agent = await runs.newAgent();
    models.answers = [{ hangsAfter: 'thinking' }];
    const { id } = await runs.execute(agent, 'hi');
    await eventually('it thinks', () => models.requests.length > 0);
    const cancelled = await acme.mutate('executionCancel', 'Execution { status }', { executionId: id });
    expect(['CANCELLING', 'CANCELLED']).toContain(cancelled.status);
    const done = await runs.end(id);
    expect(done).toMatchObject({ status: 'CANCELLED', steps: { nodes: [{ state: 'CANCELLED' }] } });
    await eventually('the connection is closed', () => models.requests[0]!.isCut);
    const again = await acme.mutate('executionCancel', 'Execution { status }', { executionId: id });
    expect(again.status).toBe('CANCELLED');
  });

  it('should end when its time is over', async () => {
    const agent = await runs.newAgent({ configuration: { timeoutSeconds: 1 } });
    models.answers = [{ hangsAfter: 'thinking' }];
    expect(await runs.end((await runs.execute(agent, 'hi')).id)).toMatchObject({
      status: 'FAILED',
      statusReason: 'it did not end within its time',
    });
  });

  it('should be made once under an idempotency key', async () => {
    const agent = await runs.newAgent({ model: 'builtin/echo' });
    const [one, other] = await Promise.all([1, 2].map(() => runs.execute(agent, 'hi', { idempotencyKey: 'once' })));
    expect(one.id).toBe(other.id);
  });

  it('should not begin where the organization has used up its budget', async () => {
    const tenant = await acme.newTenant('Thrifty');
    const thrifty = new AgentRuns(tenant);
    const agent = await thrifty.newAgent({ model: 'builtin/echo' });
    await tenant.mutate('organizationUpdate', 'Organization { id }', {
      ...{ organizationId: tenant.organizationId, settings: { monthlyTokenBudget: 4 } },
    });
    await thrifty.end((await thrifty.execute(agent, 'one two')).id);
    const refused = await tenant.mutate('agentExecute', 'QuotaExceededError { code limit used }', {
      agentId: agent,
      input: 'three',
    });
    expect(refused).toMatchObject({ code: 'QUOTA_EXCEEDED', limit: 4, used: 4 });
  });
});

describe('repeating an execution', () => {
  it('should take over what succeeded before the step that failed', async () => {
    const agent = await runs.newAgent({ configuration: { tools: ['stacks.read'], retry: { attempts: 1 } } });
    const stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'repeat');
    const asked = { toolCalls: [{ name: 'stacks_read', arguments: JSON.stringify({ stackId }) }] };
    models.answers = [asked, { status: 400, message: 'no' }, { text: 'now it works' }];
    const failed = await runs.end((await runs.execute(agent, 'hi')).id);
    expect(failed.status).toBe('FAILED');
    const again = await acme.mutate('executionRetry', `Execution { ${EXECUTION} }`, { executionId: failed.id });
    expect(again).toMatchObject({ status: 'QUEUED', retryOf: { id: failed.id }, input: 'hi' });
    const done = await runs.end(again.id);
    expect(done).toMatchObject({ status: 'COMPLETED', output: 'now it works' });
    expect(models.requests).toHaveLength(3);
    expect(done.steps.nodes[1].output).toEqual(failed.steps.nodes[1].output);
  });

  it('should begin with any step that is named', async () => {
    const agent = await runs.newAgent();
    models.answers = [{ text: 'one' }, { text: 'two' }];
    const first = await runs.until((await runs.execute(agent, 'hi')).id, 'COMPLETED');
    const unnamed = await acme.mutate('executionRetry', 'ValidationError { fields { path } }', {
      executionId: first.id,
    });
    expect(unnamed).toMatchObject({ fields: [{ path: ['fromStep'] }] });
    const again = await acme.mutate('executionRetry', 'Execution { id }', { executionId: first.id, fromStep: 'turn1' });
    expect(await runs.end(again.id)).toMatchObject({ output: 'two' });
  });
});

describe('lists of executions', () => {
  it('should be those of an organization or an agent, as asked for', async () => {
    const tenant = await acme.newTenant('Lists');
    const theirs = new AgentRuns(tenant);
    const agent = await theirs.newAgent({ model: 'builtin/echo' });
    const ids: string[] = [];
    for (const word of ['a', 'b', 'c']) ids.unshift((await theirs.execute(agent, word)).id);
    await Promise.all(ids.map((id) => theirs.end(id)));
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
    expect(await runs.read(ids[0]!)).toBeNull();
  });
});
