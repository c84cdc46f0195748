import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HttpReceiver } from '../support/http-receiver.ts';
import { ModelServer } from '../support/model-server.ts';
import { ask, EXECUTION, WorkflowRuns, wait } from '../support/workflow-runs.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let models: ModelServer;
let web: HttpReceiver;
let acme: Deployer;
let runs: WorkflowRuns;
/** What the web server answers to the next requests; then 200. */
let statuses: number[] = [];
beforeAll(async () => {
  [web, models] = [await HttpReceiver.start(), await ModelServer.start()];
  web.statusOf = () => statuses.shift() ?? 200;
  app = await startApp({
    llm: { baseUrl: models.url, apiKey: null, model: 'test/model' },
    allowedAddresses: ['127.0.0.1'],
  });
  acme = await Deployer.create(app, null, 'Acme');
  runs = new WorkflowRuns(acme);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
  await web?.[Symbol.asyncDispose]();
});

const statesOf = ({ steps }: Data) => Object.fromEntries(steps.nodes.map(({ key, state }: Data) => [key, state]));
const stepOf = ({ steps }: Data, key: string) => steps.nodes.find((step: Data) => step.key === key);
const http = (more: object = {}) => ({ kind: 'http', url: web.url, ...more });

describe('a run of a workflow', () => {
  it('should do its steps in the order of their needs, and hand outputs on', async () => {
    web.received.length = 0;
    const done = await runs.runToEnd(
      {
        inputs: { path: { type: 'string' } },
        steps: {
          first: http({ url: `${web.url}/\${{ inputs.path }}` }),
          second: http({ needs: ['first'], method: 'POST', body: { got: '${{ steps.first.output.body.answer }}' } }),
          beside: wait(),
        },
        output: { answer: '${{ steps.second.output.body.answer + 1 }}' },
      },
      { path: 'one' },
    );
    expect(done).toMatchObject({ status: 'COMPLETED', kind: 'WORKFLOW', trigger: 'MANUAL', output: { answer: 43 } });
    expect(statesOf(done)).toEqual({ first: 'SUCCEEDED', second: 'SUCCEEDED', beside: 'SUCCEEDED' });
    expect(web.received.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['GET', '/one', ''],
      ['POST', '/', '{"got":42}'],
    ]);
    expect(web.received[1]!.key).toMatch(/:second$/);
  });

  it('should leave out what its conditions leave out', async () => {
    const done = await runs.runToEnd({
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
    web.received.length = 0;
    statuses = [500, 429];
    const done = await runs.runToEnd({ steps: { call: http({ retry: { attempts: 3, delaySeconds: 0 } }) } });
    expect(done.status).toBe('COMPLETED');
    expect(stepOf(done, 'call')).toMatchObject({ attempt: 3, output: { status: 200 } });
    expect(new Set(web.received.map(({ key }) => key)).size).toBe(3);
  });

  it('should fail where a step fails, unless that may', async () => {
    statuses = [404, 404];
    const definition = (continueOnError: boolean) => ({
      steps: { call: http({ continueOnError }), after: wait({ needs: ['call'] }) },
    });
    const failed = await runs.runToEnd(definition(false));
    expect(failed).toMatchObject({ status: 'FAILED', statusReason: 'call: the answer was 404' });
    expect(statesOf(failed)).toEqual({ call: 'FAILED', after: 'SKIPPED' });
    expect(statesOf(await runs.runToEnd(definition(true)))).toEqual({ call: 'FAILED', after: 'SUCCEEDED' });
  });

  it('should do a step for each entry of a list, so many at once', async () => {
    web.received.length = 0;
    const done = await runs.runToEnd({
      steps: {
        each: http({ forEach: '[1, 2, 3, 4, 5]', maxParallel: 2, url: `${web.url}/\${{ item }}/\${{ index }}` }),
      },
      output: '${{ steps.each.output.map(one, one.status) }}',
    });
    expect(done).toMatchObject({ status: 'COMPLETED', output: [200, 200, 200, 200, 200] });
    expect(web.received.map(({ path }) => path).sort()).toEqual(['/1/0', '/2/1', '/3/2', '/4/3', '/5/4']);
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
    const { id } = await runs.create({ steps: { ask: ask('Go live?'), after: wait({ needs: ['ask'] }) } });
    const [yes, no] = [await runs.run(id), await runs.run(id)];
    for (const each of [yes, no])
      expect(await runs.until(each.id, 'WAITING')).toMatchObject({ statusReason: 'it waits for an approval: ask' });
    await runs.approve(yes.id, 'ask');
    await runs.approve(no.id, 'ask', false);
    expect(statesOf(await runs.until(yes.id, 'COMPLETED'))).toEqual({ ask: 'SUCCEEDED', after: 'SUCCEEDED' });
    expect(await runs.until(no.id, 'FAILED')).toMatchObject({ statusReason: 'ask: it was not approved' });
  });

  it('should go on beside what waits, and be decided about meanwhile', async () => {
    const { id } = await runs.create({
      steps: { ask: ask(), pause: wait({ seconds: 1 }), both: wait({ needs: ['ask', 'pause'] }) },
    });
    const { id: execution } = await runs.run(id);
    await runs.until(execution, 'WAITING');
    await runs.approve(execution, 'ask');
    expect(statesOf(await runs.end(execution))).toEqual({
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
    const done = await runs.runToEnd({
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
    const inner = await runs.create({
      inputs: { x: { type: 'integer' } },
      steps: { pause: wait() },
      output: '${{ inputs.x * 2 }}',
    });
    const outer = {
      steps: { inner: { kind: 'workflow', workflowId: inner.id, input: { x: 21 } } },
      output: '${{ steps.inner.output }}',
    };
    expect(await runs.runToEnd(outer)).toMatchObject({ status: 'COMPLETED', output: 42 });

    const waiting = await runs.create({ steps: { ask: ask() } });
    const { id } = await runs.run(
      (await runs.create({ steps: { inner: { kind: 'workflow', workflowId: waiting.id } } })).id,
    );
    await runs.until(id, 'WAITING');
    await acme.mutate('executionCancel', 'Execution { id }', { executionId: id });
    await runs.until(id, 'CANCELLED');
    const child = 'query ($id: ID!) { workflow(id: $id) { executions { nodes { status } } } }';
    await eventually('the inner one is cancelled', async () => {
      const { workflow } = await acme.ask(child, { id: waiting.id });
      return workflow.executions.nodes[0].status === 'CANCELLED';
    });
  });

  it('should deploy, and go back', async () => {
    const stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'flow');
    const { environmentId } = acme;
    const done = await runs.runToEnd({
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
    const done = await runs.runToEnd({
      steps: {
        go: { kind: 'deploy', stackId, environmentId: acme.environmentId },
        tell: http({
          needs: ['go'],
          if: 'steps.go.state == "FAILED"',
          url: `${web.url}/\${{ steps.go.output.status }}`,
        }),
      },
    });
    expect(done).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringMatching(/^go: deployment 1 is failed: /),
    });
    expect(web.received.at(-1)!.path).toBe('/FAILED');
  });

  it('should end a step whose time is over', async () => {
    const done = await runs.runToEnd({ steps: { ask: ask('Quick!', { timeoutSeconds: 1, continueOnError: true }) } });
    expect(stepOf(done, 'ask')).toMatchObject({ state: 'FAILED', error: 'nothing came of it within 1 s' });
  });
});

describe('repeating a run', () => {
  it('should do anew what failed and what comes after it', async () => {
    statuses = [404];
    web.received.length = 0;
    const steps = {
      before: http({ url: `${web.url}/before`, continueOnError: true }),
      call: http({ needs: ['before'] }),
      after: wait({ needs: ['call'] }),
    };
    statuses = [200, 404];
    const failed = await runs.runToEnd({ steps });
    expect(statesOf(failed)).toEqual({ before: 'SUCCEEDED', call: 'FAILED', after: 'SKIPPED' });
    const again = await acme.mutate('executionRetry', `Execution { ${EXECUTION} }`, { executionId: failed.id });
    const done = await runs.end(again.id);
    expect(done).toMatchObject({ status: 'COMPLETED', trigger: 'RETRY', retryOf: { id: failed.id } });
    expect(web.received.map(({ path }) => path)).toEqual(['/before', '/', '/']);
  });
});
