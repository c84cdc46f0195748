import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HeldLock } from '../support/held-lock.ts';
import { ModelServer } from '../support/model-server.ts';

const READ = `query ($id: ID!) { execution(id: $id) { id status output steps { nodes { key state error output } } } }`;

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let models: ModelServer;
let acme: Deployer;
let stackId: string;
let agentId: string;
beforeAll(async () => {
  models = await ModelServer.start();
  app = await startApp({ llm: { baseUrl: models.url, apiKey: null, model: 'test/model' } });
  acme = await Deployer.create(app, null, 'Acme');
  stackId = await acme.newStack('services: { web: { command: [sleep, "1000"] } }', 'races');
  const { organizationId } = acme;
  const configuration = { tools: ['deployments.create', 'stacks.read'] };
  ({ id: agentId } = await acme.mutate('agentCreate', 'Agent { id }', {
    organizationId,
    name: 'deployer',
    configuration,
  }));
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
});

const read = async (id: string): Promise<Data> => (await acme.ask(READ, { id })).execution;
const until = (id: string, status: string): Promise<Data> =>
  eventually(`it is ${status}`, async () => {
    const execution = await read(id);
    return execution.status === status ? execution : null;
  });
const stepOf = ({ steps }: Data, key: string) => steps.nodes.find((step: Data) => step.key === key);
const lockOf = (sql: string) => new HeldLock(app.database.connection, sql);
const rowOf = (id: string) =>
  lockOf(`select 1 from executions where id = '${decodeIdOf('Execution', id)}' for no key update`);
const decide = (executionId: string, approved: boolean): Promise<Data> =>
  acme.try('executionApprove', 'Execution { id }', { executionId, step: 'turn1.call1', approved });

/** A run whose model wants a deployment, which waits for an approval, and then whatever else. */
async function begin(...others: string[]): Promise<string> {
  const environmentId = 'none: it is refused';
  const wanted = ['deployments_create', ...others].map((name) => ({
    name,
    arguments: JSON.stringify({ stackId, environmentId }),
  }));
  models.answers = [{ toolCalls: wanted }, { text: 'done' }];
  return (await acme.mutate('agentExecute', 'Execution { id }', { agentId, input: 'Deploy it' })).id;
}

describe('decisions that meet', () => {
  it('should be taken once, the first of them', async () => {
    const id = await begin();
    await until(id, 'WAITING');
    await using row = rowOf(id);
    await row.take();
    const approved = decide(id, true);
    await row.isWaitedFor(1);
    const refused = decide(id, false);
    await row.isWaitedFor(2);
    await row[Symbol.asyncDispose]();
    expect([await approved, await refused]).toMatchObject([
      { __typename: 'Execution' },
      { __typename: 'ConflictError' },
    ]);
    const done = await until(id, 'COMPLETED');
    expect(stepOf(done, 'turn1.call1').error).not.toContain('approve');
  });

  it('should be found by what is recorded at the same time', async () => {
    await using table = lockOf('lock table stacks in access exclusive mode');
    await table.take();
    const id = await begin('stacks_read');
    await table.isWaitedFor(1);
    await using row = rowOf(id);
    await row.take();
    const approved = decide(id, true);
    await table.isWaitedFor(2);
    await table[Symbol.asyncDispose]();
    await row.isWaitedFor(2);
    await row[Symbol.asyncDispose]();
    expect((await approved).__typename).toBe('Execution');
    expect((await until(id, 'COMPLETED')).output).toBe('done');
  });

  it('should not be lost to a cancellation, nor revive what is cancelled', async () => {
    const id = await begin();
    await until(id, 'WAITING');
    await using row = rowOf(id);
    await row.take();
    const cancelled = acme.try('executionCancel', 'Execution { status }', { executionId: id });
    await row.isWaitedFor(1);
    const approved = decide(id, true);
    await row.isWaitedFor(2);
    await row[Symbol.asyncDispose]();
    expect([(await cancelled).status, (await approved).__typename]).toEqual(['CANCELLED', 'ConflictError']);
    expect(stepOf(await read(id), 'turn1.call1').state).toBe('CANCELLED');
  });
});
