import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { pathsOf } from '../support/field-paths.ts';
import { ask, WORKFLOW, WorkflowRuns, wait } from '../support/workflow-runs.ts';

let app: TestApp;
let acme: Deployer;
let runs: WorkflowRuns;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  runs = new WorkflowRuns(acme);
});
afterAll(() => app?.[Symbol.asyncDispose]());

describe('a workflow', () => {
  it('should be stored as versions, from JSON or YAML', async () => {
    const made = await runs.create('steps: { pause: { kind: delay, seconds: 1 } }', { schedule: '0 3 * * *' });
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
    const definition = {
      steps: {
        a: { kind: 'http', url: 'http://127.0.0.1/', needs: ['b'] },
        b: wait({ needs: ['a'] }),
        c: { kind: 'nothing' },
      },
    };
    const refused = await acme.mutate('workflowCreate', 'ValidationError { fields { path message } }', {
      ...{ organizationId: acme.organizationId, name: 'faulty', definition },
    });
    const paths = pathsOf(refused);
    expect(paths).toEqual(['definition.steps.c.kind', 'definition.steps.a.needs']);
  });

  it('should take what its inputs say, and nothing else', async () => {
    const inputs = { name: { type: 'string' }, count: { type: 'integer', default: 2 } };
    const { id } = await runs.create({ inputs, steps: { pause: wait() }, output: '${{ inputs }}' });
    const refused = await acme.mutate('workflowRun', 'ValidationError { fields { path } }', {
      ...{ workflowId: id, input: { count: 'two', other: 1 } },
    });
    expect(pathsOf(refused)).toEqual(['input.other', 'input.name', 'input.count']);
    const missing = await acme.mutate('workflowRun', 'ValidationError { fields { path } }', {
      workflowId: id,
      input: { count: 1.5 },
    });
    expect(pathsOf(missing)).toEqual(['input.name', 'input.count']);
    expect((await runs.end((await runs.run(id, { name: 'x' })).id)).output).toEqual({ name: 'x', count: 2 });
  });
});

describe('a schedule of the workflow’s own', () => {
  const steps = { pause: wait() };
  const needy = { inputs: { who: { type: 'string' } }, steps };
  const easy = { inputs: { who: { type: 'string', default: 'all' } }, steps };
  const schedule = '0 3 * * *';

  it('should be refused where a run has to be given something', async () => {
    const { organizationId } = acme;
    const refusal = 'ValidationError { fields { path message } }';
    const values = { organizationId, name: 'needy', definition: needy, schedule };
    const refused = await acme.mutate('workflowCreate', refusal, values);
    expect(refused.fields).toEqual([{ path: ['schedule'], message: expect.stringContaining('"who"') }]);
    const { id: workflowId } = await runs.create(needy);
    const update = (input: object) => acme.mutate('workflowUpdate', refusal, { workflowId, ...input });
    expect(pathsOf(await update({ schedule }))).toEqual(['schedule']);
    const made = await acme.mutate('workflowUpdate', 'Workflow { version schedule }', {
      ...{ workflowId, definition: easy, schedule },
    });
    expect(made).toEqual(expect.objectContaining({ version: 2, schedule }));
    expect(pathsOf(await update({ definition: needy }))).toEqual(['definition.inputs']);
    const none = { workflowId, definition: needy, schedule: null };
    expect((await acme.mutate('workflowUpdate', 'Workflow { version }', none)).version).toBe(3);
  });
});

describe('a step', () => {
  const errorOf = async (definition: object, input: object = {}): Promise<string> =>
    (await runs.runToEnd(definition, input)).steps.nodes[0].error;

  it('should say what is wrong with what it gives to another workflow', async () => {
    const { id: workflowId } = await runs.create({ inputs: { n: { type: 'integer' } }, steps: { pause: wait() } });
    const steps = { inner: { kind: 'workflow', workflowId, input: { n: 'one', m: 1 } } };
    expect(await errorOf({ steps })).toBe(
      'the input is not what the workflow takes; input.m: the workflow has no such input; input.n: must be of the type integer',
    );
  });

  it('should not send an empty message', async () => {
    const configuration = { webhook: { url: 'https://example.com/' } };
    const values = { organizationId: acme.organizationId, name: 'silent', configuration };
    const made = 'NotificationChannelCreated { channel { id } }';
    const { channel } = await acme.mutate('notificationChannelCreate', made, values);
    const tell = { kind: 'notify', channelId: channel.id, message: '${{ inputs.text }}' };
    const definition = { inputs: { text: { type: 'string' } }, steps: { tell } };
    expect(await errorOf(definition, { text: ' ' })).toBe('message: is empty: there is nothing to send');
  });
});

describe('runs of the same concurrency key', () => {
  const definition = (policy: string) => ({
    inputs: { key: { type: 'string' } },
    concurrency: { key: '${{ inputs.key }}', policy },
    steps: { ask: ask() },
  });

  it('should wait for each other', async () => {
    const { id } = await runs.create(definition('queue'));
    const first = await runs.run(id, { key: 'a' });
    await runs.until(first.id, 'WAITING');
    const [second, other] = [await runs.run(id, { key: 'a' }), await runs.run(id, { key: 'b' })];
    await runs.until(other.id, 'WAITING');
    expect((await runs.until(second.id, 'QUEUED', 'RUNNING', 'WAITING')).status).toBe('QUEUED');
    await runs.approve(first.id, 'ask');
    await runs.until(second.id, 'WAITING');
  });

  it('should take back the earlier one', async () => {
    const { id } = await runs.create(definition('cancel-running'));
    const first = await runs.run(id, { key: 'a' });
    await runs.until(first.id, 'WAITING');
    const second = await runs.run(id, { key: 'a' });
    await runs.until(first.id, 'CANCELLED');
    await runs.until(second.id, 'WAITING');
  });

  it('should be left out', async () => {
    const { id } = await runs.create(definition('skip'));
    await runs.run(id, { key: 'a' });
    const refused = await acme.mutate('workflowRun', 'ConflictError { code }', { workflowId: id, input: { key: 'a' } });
    expect(refused.code).toBe('CONFLICT');
  });
});
