import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { ModelServer } from '../support/model-server.ts';

const EXECUTION = `id kind status statusReason output workflowVersion trigger workflow { id } retryOf { id }
  steps(first: 100) { nodes { key kind state attempt dependsOn input output error } }`;
const READ = `query ($id: ID!) { execution(id: $id) { ${EXECUTION} } }`;
const WORKFLOW = 'id name version definition schedule';
const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;
type Asked = { method: string; url: string; key: string | undefined; body: string };

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let web: Server;
let url: string;
const asked: Asked[] = [];
/** What the web server answers to the next requests; then 200. */
let statuses: number[] = [];
beforeAll(async () => {
  web = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const key = request.headers['idempotency-key'] as string | undefined;
    asked.push({ method: request.method!, url: request.url!, key, body: Buffer.concat(chunks).toString() });
    response.writeHead(statuses.shift() ?? 200, { 'content-type': 'application/json' }).end('{"answer":42}');
  }).listen(0, '127.0.0.1');
  await once(web, 'listening');
  url = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  models = await ModelServer.start();
  app = await startApp({
    llm: { baseUrl: models.url, apiKey: null, model: 'test/model' },
    allowedAddresses: ['127.0.0.1'],
  });
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
  web?.close();
});

let workflows = 0;
const create = (definition: unknown, more: object = {}, by = acme): Promise<Data> =>
  by.mutate('workflowCreate', `Workflow { ${WORKFLOW} }`, {
    ...{ organizationId: by.organizationId, name: `workflow ${++workflows}`, definition, ...more },
  });
const run = (workflowId: string, input: object = {}, more: object = {}, by = acme): Promise<Data> =>
  by.mutate('workflowRun', `Execution { ${EXECUTION} }`, { workflowId, input, ...more });
const until = (id: string, ...statuses: string[]): Promise<Data> =>
  eventually(`it is ${statuses.join(' or ')}`, async () => {
    const { execution } = await acme.ask(READ, { id });
    return statuses.includes(execution.status) ? execution : null;
  });
const runToEnd = async (definition: unknown, input: object = {}): Promise<Data> =>
  until((await run((await create(definition)).id, input)).id, ...FINAL);
const statesOf = ({ steps }: Data) => Object.fromEntries(steps.nodes.map(({ key, state }: Data) => [key, state]));
const stepOf = ({ steps }: Data, key: string) => steps.nodes.find((step: Data) => step.key === key);
const http = (more: object = {}) => ({ kind: 'http', url, ...more });
const wait = (more: object = {}) => ({ kind: 'delay', seconds: 0, ...more });
const ask = (message = 'Go on?', more: object = {}) => ({ kind: 'approval', message, ...more });
const approve = (executionId: string, step: string, approved = true) =>
  acme.mutate('executionApprove', 'Execution { id }', { executionId, step, approved });

describe('a workflow', () => {
  it('should be stored as versions, from JSON or YAML', async () => {
    const made = await create('steps: { pause: { kind: delay, seconds: 1 } }', { schedule: '0 3 * * *' });
    expect(made).toMatchObject({
      version: 1,
      schedule: '0 3 * * *',
      definition: { steps: { pause: { kind: 'delay', needs: [] } } },
    });
    const update = (input: object) =>
      acme.mutate('workflowUpdate', `Workflow { ${WORKFLOW} }`, { workflowId: made.id, ...input });
    expect(await update({ definition: { steps: { pause: wait({ seconds: 1 }) } } })).toMatchObject({ version: 1 });
    expect(await update({ definition: { steps: { pause: wait({ seconds: 2 }) } }, schedule: null })).toMatchObject({
      ...{ version: 2, schedule: null, definition: { steps: { pause: { seconds: 2 } } } },
    });
    await acme.mutate('workflowDelete', 'Deleted { id }', { workflowId: made.id });
    expect((await acme.ask('query ($id: ID!) { workflow(id: $id) { id } }', { id: made.id })).workflow).toBeNull();
  });

  it('should be refused with every fault and its place', async () => {
    const definition = { steps: { a: http({ needs: ['b'] }), b: wait({ needs: ['a'] }), c: { kind: 'nothing' } } };
    const refused = await acme.mutate('workflowCreate', 'ValidationError { fields { path message } }', {
      ...{ organizationId: acme.organizationId, name: 'faulty', definition },
    });
    const paths = refused.fields.map(({ path }: Data) => path.join('.'));
    expect(paths).toEqual(['definition.steps.c.kind', 'definition.steps.a.needs']);
  });

  it('should take what its inputs say, and nothing else', async () => {
    const inputs = { name: { type: 'string' }, count: { type: 'integer', default: 2 } };
    const { id } = await create({ inputs, steps: { pause: wait() }, output: '${{ inputs }}' });
    const refused = await acme.mutate('workflowRun', 'ValidationError { fields { path } }', {
      ...{ workflowId: id, input: { count: 'two', other: 1 } },
    });
    expect(refused.fields.map(({ path }: Data) => path.join('.'))).toEqual(['input.other']);
    const missing = await acme.mutate('workflowRun', 'ValidationError { fields { path } }', {
      workflowId: id,
      input: { count: 1.5 },
    });
    expect(missing.fields.map(({ path }: Data) => path.join('.'))).toEqual(['input.name', 'input.count']);
    expect((await until((await run(id, { name: 'x' })).id, ...FINAL)).output).toEqual({ name: 'x', count: 2 });
  });
});

describe('a run of a workflow', () => {
  it('should do its steps in the order of their needs, and hand outputs on', async () => {
    asked.length = 0;
    const done = await runToEnd(
      {
        inputs: { path: { type: 'string' } },
        steps: {
          first: http({ url: `${url}/\${{ inputs.path }}` }),
          second: http({ needs: ['first'], method: 'POST', body: { got: '${{ steps.first.output.body.answer }}' } }),
          beside: wait(),
        },
        output: { answer: '${{ steps.second.output.body.answer + 1 }}' },
      },
      { path: 'one' },
    );
    expect(done).toMatchObject({ status: 'COMPLETED', kind: 'WORKFLOW', trigger: 'MANUAL', output: { answer: 43 } });
    expect(statesOf(done)).toEqual({ first: 'SUCCEEDED', second: 'SUCCEEDED', beside: 'SUCCEEDED' });
    expect(asked.map(({ method, url: path, body }) => [method, path, body])).toEqual([
      ['GET', '/one', ''],
      ['POST', '/', '{"got":42}'],
    ]);
    expect(asked[1]!.key).toMatch(/:second$/);
  });

  it('should leave out what its conditions leave out', async () => {
    const done = await runToEnd({
      inputs: { wanted: { type: 'boolean', default: false } },
      steps: {
        asked: wait({ if: 'inputs.wanted' }),
        after: wait({ needs: ['asked'] }),
        anyway: wait({ needs: ['asked'], if: 'steps.asked.state == "SKIPPED"' }),
      },
    });
    expect(done.status).toBe('COMPLETED');
    expect(statesOf(done)).toEqual({ asked: 'SKIPPED', after: 'SKIPPED', anyway: 'SUCCEEDED' });
  });

  it('should try again as its policy says, under another key each time', async () => {
    asked.length = 0;
    statuses = [500, 429];
    const done = await runToEnd({ steps: { call: http({ retry: { attempts: 3, delaySeconds: 0 } }) } });
    expect(done.status).toBe('COMPLETED');
    expect(stepOf(done, 'call')).toMatchObject({ attempt: 3, output: { status: 200 } });
    expect(new Set(asked.map(({ key }) => key)).size).toBe(3);
  });

  it('should fail where a step fails, unless that may', async () => {
    statuses = [404, 404];
    const definition = (continueOnError: boolean) => ({
      steps: { call: http({ continueOnError }), after: wait({ needs: ['call'] }) },
    });
    const failed = await runToEnd(definition(false));
    expect(failed).toMatchObject({ status: 'FAILED', statusReason: 'call: the answer was 404' });
    expect(statesOf(failed)).toEqual({ call: 'FAILED', after: 'SKIPPED' });
    expect(statesOf(await runToEnd(definition(true)))).toEqual({ call: 'FAILED', after: 'SUCCEEDED' });
  });

  it('should do a step for each entry of a list, so many at once', async () => {
    asked.length = 0;
    const done = await runToEnd({
      steps: { each: http({ forEach: '[1, 2, 3, 4, 5]', maxParallel: 2, url: `${url}/\${{ item }}/\${{ index }}` }) },
      output: '${{ steps.each.output.map(one, one.status) }}',
    });
    expect(done).toMatchObject({ status: 'COMPLETED', output: [200, 200, 200, 200, 200] });
    expect(asked.map(({ url: path }) => path).sort()).toEqual(['/1/0', '/2/1', '/3/2', '/4/3', '/5/4']);
    expect(done.steps.nodes.map(({ key }: Data) => key)).toEqual([
      'each',
      'each[0]',
      'each[1]',
      'each[2]',
      'each[3]',
      'each[4]',
    ]);
  });

  it('should wait for an approval, and end as that says', async () => {
    const { id } = await create({ steps: { ask: ask('Go live?'), after: wait({ needs: ['ask'] }) } });
    const [yes, no] = [await run(id), await run(id)];
    for (const each of [yes, no])
      expect(await until(each.id, 'WAITING')).toMatchObject({ statusReason: 'it waits for an approval: ask' });
    await approve(yes.id, 'ask');
    await approve(no.id, 'ask', false);
    expect(statesOf(await until(yes.id, 'COMPLETED'))).toEqual({ ask: 'SUCCEEDED', after: 'SUCCEEDED' });
    expect(await until(no.id, 'FAILED')).toMatchObject({ statusReason: 'ask: it was not approved' });
  });

  it('should go on beside what waits, and be decided about meanwhile', async () => {
    const { id } = await create({
      steps: { ask: ask(), pause: wait({ seconds: 1 }), both: wait({ needs: ['ask', 'pause'] }) },
    });
    const { id: execution } = await run(id);
    await until(execution, 'WAITING');
    await approve(execution, 'ask');
    expect(statesOf(await until(execution, ...FINAL))).toEqual({
      ask: 'SUCCEEDED',
      pause: 'SUCCEEDED',
      both: 'SUCCEEDED',
    });
  });

  it('should ask agents, each in an execution of its own', async () => {
    const agent = await acme.mutate('agentCreate', 'Agent { id }', {
      organizationId: acme.organizationId,
      name: 'reviewer',
    });
    models.answers = [{ text: 'all is well' }];
    const done = await runToEnd({
      steps: { review: { kind: 'agent', agentId: agent.id, input: 'Look at it.' } },
      output: '${{ steps.review.output }}',
    });
    expect(done).toMatchObject({ status: 'COMPLETED', output: 'all is well' });
    const { executions } = await acme.ask(
      'query ($org: ID!, $agent: ID) { executions(organizationId: $org, agentId: $agent) { nodes { trigger parent { id } } } }',
      { org: acme.organizationId, agent: agent.id },
    );
    expect(executions.nodes).toEqual([{ trigger: 'WORKFLOW', parent: { id: done.id } }]);
  });

  it('should run other workflows, and take them back with itself', async () => {
    const inner = await create({
      inputs: { x: { type: 'integer' } },
      steps: { pause: wait() },
      output: '${{ inputs.x * 2 }}',
    });
    const outer = {
      steps: { inner: { kind: 'workflow', workflowId: inner.id, input: { x: 21 } } },
      output: '${{ steps.inner.output }}',
    };
    expect(await runToEnd(outer)).toMatchObject({ status: 'COMPLETED', output: 42 });

    const waiting = await create({ steps: { ask: ask() } });
    const { id } = await run((await create({ steps: { inner: { kind: 'workflow', workflowId: waiting.id } } })).id);
    await until(id, 'WAITING');
    await acme.mutate('executionCancel', 'Execution { id }', { executionId: id });
    await until(id, 'CANCELLED');
    const child = 'query ($id: ID!) { workflow(id: $id) { executions { nodes { status } } } }';
    await eventually('the inner one is cancelled', async () => {
      const { workflow } = await acme.ask(child, { id: waiting.id });
      return workflow.executions.nodes[0].status === 'CANCELLED';
    });
  });

  it('should deploy, and go back', async () => {
    const stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'flow');
    const { environmentId } = acme;
    const done = await runToEnd({
      steps: {
        first: { kind: 'deploy', stackId, environmentId },
        second: { kind: 'deploy', needs: ['first'], stackId, environmentId },
        back: { kind: 'rollback', needs: ['second'], deploymentId: '${{ steps.second.output.deploymentId }}' },
      },
    });
    expect(done.statusReason).toBeNull();
    const { deploymentId } = stepOf(done, 'back').output;
    const back = await acme.ask('query ($id: ID!) { deployment(id: $id) { status trigger rollbackOf { id } } }', {
      id: deploymentId,
    });
    expect(back.deployment).toMatchObject({ status: 'RUNNING', trigger: 'ROLLBACK' });
    await acme.stop(deploymentId);
  });

  it('should stop where a deployment fails, and say which', async () => {
    const stackId = await acme.newStack('services: { web: { command: ["false"], restart: "no" } }', 'flawed');
    const done = await runToEnd({
      steps: {
        go: { kind: 'deploy', stackId, environmentId: acme.environmentId },
        tell: http({ needs: ['go'], if: 'steps.go.state == "FAILED"', url: `${url}/\${{ steps.go.output.status }}` }),
      },
    });
    expect(done).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringMatching(/^go: deployment 1 is failed: /),
    });
    expect(asked.at(-1)!.url).toBe('/FAILED');
  });

  it('should end a step whose time is over', async () => {
    const done = await runToEnd({ steps: { ask: ask('Quick!', { timeoutSeconds: 1, continueOnError: true }) } });
    expect(stepOf(done, 'ask')).toMatchObject({ state: 'FAILED', error: 'nothing came of it within 1 s' });
  });
});

describe('runs of the same concurrency key', () => {
  const definition = (policy: string) => ({
    inputs: { key: { type: 'string' } },
    concurrency: { key: '${{ inputs.key }}', policy },
    steps: { ask: ask() },
  });

  it('should wait for each other', async () => {
    const { id } = await create(definition('queue'));
    const first = await run(id, { key: 'a' });
    await until(first.id, 'WAITING');
    const [second, other] = [await run(id, { key: 'a' }), await run(id, { key: 'b' })];
    await until(other.id, 'WAITING');
    expect((await until(second.id, 'QUEUED', 'RUNNING', 'WAITING')).status).toBe('QUEUED');
    await approve(first.id, 'ask');
    await until(second.id, 'WAITING');
  });

  it('should take back the earlier one', async () => {
    const { id } = await create(definition('cancel-running'));
    const first = await run(id, { key: 'a' });
    await until(first.id, 'WAITING');
    const second = await run(id, { key: 'a' });
    await until(first.id, 'CANCELLED');
    await until(second.id, 'WAITING');
  });

  it('should be left out', async () => {
    const { id } = await create(definition('skip'));
    await run(id, { key: 'a' });
    const refused = await acme.mutate('workflowRun', 'ConflictError { code }', { workflowId: id, input: { key: 'a' } });
    expect(refused.code).toBe('CONFLICT');
  });
});

describe('repeating a run', () => {
  it('should do anew what failed and what comes after it', async () => {
    statuses = [404];
    asked.length = 0;
    const steps = {
      before: http({ url: `${url}/before`, continueOnError: true }),
      call: http({ needs: ['before'] }),
      after: wait({ needs: ['call'] }),
    };
    statuses = [200, 404];
    const failed = await runToEnd({ steps });
    expect(statesOf(failed)).toEqual({ before: 'SUCCEEDED', call: 'FAILED', after: 'SKIPPED' });
    const again = await acme.mutate('executionRetry', `Execution { ${EXECUTION} }`, { executionId: failed.id });
    const done = await until(again.id, ...FINAL);
    expect(done).toMatchObject({ status: 'COMPLETED', trigger: 'RETRY', retryOf: { id: failed.id } });
    expect(asked.map(({ url: path }) => path)).toEqual(['/before', '/', '/']);
  });
});
