import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { ask, EXECUTION, WorkflowRuns } from '../support/workflow-runs.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

const DEPTH = 20_000;
const DEEP = '['.repeat(DEPTH) + ']'.repeat(DEPTH);

/** Answers with lists in lists in lists; the path says with which status. */
const web = createServer(({ url }, response) => {
  asked.push(url!);
  const status = statuses.get(url!) ?? Number(url!.slice(1));
  response.writeHead(status, { 'content-type': 'application/json' }).end(url!.length > 4 ? '{}' : DEEP);
});
const asked: string[] = [];
const statuses = new Map<string, number>();
let app: TestApp;
let acme: Deployer;
let runs: WorkflowRuns;
let address: string;
beforeAll(async () => {
  await once(web.listen(0, '127.0.0.1'), 'listening');
  address = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  app = await startApp({ allowedAddresses: ['127.0.0.1'] });
  acme = await Deployer.create(app, null, 'Acme');
  runs = new WorkflowRuns(acme);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  web.closeAllConnections();
  web.close();
});

const statesOf = ({ steps }: Data) => Object.fromEntries(steps.nodes.map(({ key, state }: Data) => [key, state]));
const stepOf = ({ steps }: Data, key: string) => steps.nodes.find((step: Data) => step.key === key);

describe('what came of a step and cannot be stored', () => {
  it('should fail the step, and say why', async () => {
    const done = await runs.runToEnd({ steps: { call: { kind: 'http', url: `${address}/200` } } });
    const error = 'what came of it cannot be stored: it is nested more than 500 deep';
    expect(done).toMatchObject({ status: 'FAILED', statusReason: `call: ${error}` });
    expect(stepOf(done, 'call')).toMatchObject({ state: 'FAILED', output: null, error });
  });

  it('should not hide what the step failed with', async () => {
    const done = await runs.runToEnd({ steps: { call: { kind: 'http', url: `${address}/404` } } });
    expect(stepOf(done, 'call')).toMatchObject({ state: 'FAILED', output: null, error: 'the answer was 404' });
  });
});

it('should refuse the number of a version that can be none', async () => {
  const stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'versioned');
  const { environmentId } = acme;
  const stackVersion = '${{ 99999999999 }}';
  const done = await runs.runToEnd({ steps: { go: { kind: 'deploy', stackId, environmentId, stackVersion } } });
  expect(stepOf(done, 'go')).toMatchObject({
    state: 'FAILED',
    error: expect.stringContaining('stackVersion: there is no such version'),
  });
});

it('should repeat the entries of a list that did not succeed, and no others', async () => {
  for (const [path, status] of [
    ['/each/0', 200],
    ['/each/1', 404],
    ['/each/2', 200],
  ] as const)
    statuses.set(path, status);
  const each = { kind: 'http', forEach: '[0, 1, 2]', maxParallel: 3, url: `${address}/each/\${{ item }}` };
  const output = '${{ steps.each.output.map(one, one.status) }}';
  const failed = await runs.runToEnd({ steps: { each }, output });
  expect(failed.status).toBe('FAILED');
  const before = statesOf(failed);
  statuses.set('/each/1', 201);
  asked.length = 0;
  const again = await acme.mutate('executionRetry', `Execution { ${EXECUTION} }`, { executionId: failed.id });
  expect(await runs.end(again.id)).toMatchObject({ status: 'COMPLETED', output: [200, 201, 200] });
  const open = [0, 1, 2].filter((index) => before[`each[${index}]`] !== 'SUCCEEDED');
  expect(asked.sort()).toEqual(open.map((index) => `/each/${index}`));
});

it('should take back what an attempt began whose time is over', async () => {
  const inner = await runs.create({ steps: { ask: ask() } });
  const retry = { attempts: 2, delaySeconds: 0 };
  const step = { kind: 'workflow', workflowId: inner.id, timeoutSeconds: 1, retry };
  const done = await runs.runToEnd({ steps: { step } });
  const error = expect.stringMatching(/^(nothing came of it within|it took longer than) 1 s$/);
  expect(stepOf(done, 'step')).toMatchObject({ state: 'FAILED', attempt: 2, error });
  await eventually('both are cancelled', async () => {
    const { workflow } = await acme.ask('query ($id: ID!) { workflow(id: $id) { executions { nodes { status } } } }', {
      id: inner.id,
    });
    return workflow.executions.nodes.every(({ status }: Data) => status === 'CANCELLED');
  });
});

it('should wait anew, as often as it is to be tried, where time runs out', async () => {
  const more = { timeoutSeconds: 1, retry: { attempts: 2, delaySeconds: 0 } };
  const pause = { kind: 'delay', seconds: 60, ...more };
  const done = await runs.runToEnd({ steps: { pause, ask: ask('Quick!', more) } });
  expect(stepOf(done, 'pause')).toMatchObject({ state: 'FAILED', attempt: 2, error: 'it took longer than 1 s' });
  expect(stepOf(done, 'ask')).toMatchObject({ state: 'FAILED', attempt: 2, error: 'nothing came of it within 1 s' });
});
