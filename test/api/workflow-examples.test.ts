import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HttpReceiver } from '../support/http-receiver.ts';
import { ModelServer } from '../support/model-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

const WELL = 'services: { web: { command: [sleep, "1000"] } }';
const BROKEN = 'services: { web: { command: ["false"], restart: "no" } }';
const READ = `query ($id: ID!) { execution(id: $id) { status statusReason output finishedAt
  steps(first: 100) { nodes { key state output error } } } }`;

let app: TestApp;
let models: ModelServer;
let web: HttpReceiver;
let acme: Deployer;
let production: Deployer;
beforeAll(async () => {
  models = await ModelServer.start();
  web = await HttpReceiver.start();
  const llm = { baseUrl: models.url, apiKey: null, model: 'test/model' };
  app = await startApp({ llm, allowedAddresses: ['127.0.0.1'] });
  acme = await Deployer.create(app, null, 'Acme');
  production = acme.as(acme.token, (await acme.newEnvironment('production')).id);
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await models?.[Symbol.asyncDispose]();
  await web?.[Symbol.asyncDispose]();
});

const make = async (field: string, type: string, input: object): Promise<string> =>
  (await acme.mutate(field, `${type} { id }`, { organizationId: acme.organizationId, ...input })).id;
const newWorkflow = (name: string, definition: unknown) => make('workflowCreate', 'Workflow', { name, definition });
const example = (name: string) =>
  newWorkflow(name, readFileSync(new URL(`../../examples/workflows/${name}.yaml`, import.meta.url), 'utf8'));
const newAgent = (name: string, ...tools: string[]) => make('agentCreate', 'Agent', { name, configuration: { tools } });
const run = async (workflowId: string, input: object): Promise<string> =>
  (await acme.mutate('workflowRun', 'Execution { id }', { workflowId, input })).id;
const until = (what: string, id: string, isSo: (execution: Data) => unknown): Promise<Data> =>
  eventually(what, async () => {
    const { execution } = await acme.ask(READ, { id });
    return isSo(execution) ? execution : null;
  });
const untilOver = (id: string) => until('it is over', id, ({ finishedAt }) => finishedAt !== null);
const statesOf = ({ steps }: Data) => Object.fromEntries(steps.nodes.map(({ key, state }: Data) => [key, state]));
const stepOf = ({ steps }: Data, key: string) => steps.nodes.find((step: Data) => step.key === key);
const told = (path: string) => web.of(path).map(({ body }) => JSON.parse(body).message);

async function newChannel(path: string): Promise<string> {
  const configuration = { webhook: { url: `${web.url}${path}` } };
  const input = { organizationId: acme.organizationId, name: path.slice(1), configuration };
  const selection = 'NotificationChannelCreated { channel { id } }';
  return (await acme.mutate('notificationChannelCreate', selection, input)).channel.id;
}

describe('release.yaml', () => {
  let workflowId: string;
  let common: object;
  beforeAll(async () => {
    workflowId = await example('release');
    const places = { stagingId: acme.environmentId, productionId: production.environmentId };
    const reviewerId = await newAgent('reviewer', 'logs.search');
    common = { ...places, reviewerId, checkUrl: `${web.url}/check`, channelId: await newChannel('/release') };
    models.answers = [{ text: 'Nothing speaks against it.' }];
  });
  const approved = async (stackId: string, by: Deployer = acme, change: object = {}): Promise<Data> => {
    const input = { workflowId, input: { ...common, ...change, stackId } };
    const { id } = await by.mutate('workflowRun', 'Execution { id }', input);
    await until('it waits for an approval', id, (read) => stepOf(read, 'approval')?.state === 'WAITING');
    await acme.mutate('executionApprove', 'Execution { id }', { executionId: id, step: 'approval', approved: true });
    return untilOver(id);
  };

  it('should bring the version that was tried to production, its steps in the order of their needs', async () => {
    const stackId = await acme.newStack(WELL, 'released');
    const done = await approved(stackId);
    expect(done).toMatchObject({ status: 'COMPLETED', output: { isReleased: true } });
    expect(Object.entries(statesOf(done)).map(([key, state]) => `${key}: ${state}`)).toEqual([
      ...[
        'staging: SUCCEEDED',
        'review: SUCCEEDED',
        'approval: SUCCEEDED',
        'production: SUCCEEDED',
        'check: SUCCEEDED',
      ],
      ...['rollback: SKIPPED', 'tell: SKIPPED'],
    ]);
    expect(stepOf(done, 'production').output).toMatchObject({ number: 1, status: 'RUNNING', stackVersion: 1 });
  });

  it('should tell of a production that answers wrongly, after it went back', async () => {
    const stackId = await acme.newStack(WELL, 'wrong');
    const first = await production.deploy(stackId);
    await acme.changeStack(stackId, WELL.replace('1000', '1001'));
    web.statusOf = (path) => (path === '/check' ? 503 : 200);
    const done = await approved(stackId);
    expect(done).toMatchObject({ status: 'FAILED', statusReason: 'check: the answer was 503' });
    expect(stepOf(done, 'rollback').output).toMatchObject({ number: 3, status: 'RUNNING', stackVersion: 1 });
    expect(told('/release')).toEqual([
      'The release failed: the answer was 503. Going back to what ran before: SUCCEEDED.',
    ]);
    expect((await acme.read(first.id)).status).toBe('SUPERSEDED');
  });

  it('should go back from nothing where production may not be touched', async () => {
    const developer = await acme.addMember('DEVELOPER');
    const { id: productionId } = await acme.newEnvironment('locked', 'PRODUCTION');
    const done = await approved(await acme.newStack(WELL, 'refused'), developer, { productionId });
    expect(stepOf(done, 'production')).toMatchObject({ state: 'FAILED', output: null });
    expect(statesOf(done)).toMatchObject({ check: 'SKIPPED', rollback: 'SKIPPED', tell: 'SUCCEEDED' });
    expect(told('/release').at(-1)).toMatch(/^The release failed: .*DEVELOPER.*\. Production is as it was\.$/);
  });
});

describe('a rollback in a workflow', () => {
  const steps = (stackId: string) => ({
    deploy: { kind: 'deploy', stackId, environmentId: production.environmentId },
    back: {
      kind: 'rollback',
      needs: ['deploy'],
      if: 'steps.deploy.state == "FAILED"',
      deploymentId: '${{ steps.deploy.output.deploymentId }}',
    },
  });

  it('should find what ran before a deployment that never went live', async () => {
    const stackId = await acme.newStack(WELL, 'broken');
    const first = await production.deploy(stackId);
    await acme.changeStack(stackId, BROKEN);
    const done = await untilOver(await run(await newWorkflow('restored', { steps: steps(stackId) }), {}));
    expect(statesOf(done)).toEqual({ deploy: 'FAILED', back: 'SUCCEEDED' });
    expect(stepOf(done, 'back').output).toEqual({
      deploymentId: first.id,
      number: 1,
      status: 'RUNNING',
      stackVersion: 1,
    });
  });

  it('should fail where there is nothing to go back to', async () => {
    const stackId = await acme.newStack(BROKEN, 'first');
    const done = await untilOver(await run(await newWorkflow('nothing', { steps: steps(stackId) }), {}));
    expect(stepOf(done, 'back')).toMatchObject({
      state: 'FAILED',
      error: expect.stringContaining('nothing ran before it'),
    });
  });
});

describe('nightly.yaml', () => {
  it('should tell of the environments that are not well, and of no others', async () => {
    const workflowId = await example('nightly');
    const common = {
      inspectorId: await newAgent('inspector', 'deployments.read'),
      channelId: await newChannel('/night'),
    };
    models.answers = [
      ({ messages }) => {
        const isWell = !JSON.stringify(messages).includes(production.environmentId);
        return { text: JSON.stringify({ isWell, summary: isWell ? 'fine' : 'web crashes' }) };
      },
    ];
    const environmentIds = [acme.environmentId, production.environmentId];
    const done = await untilOver(await run(workflowId, { ...common, environmentIds }));
    expect(done.statusReason).toBeNull();
    expect(done.output).toEqual([
      { isWell: true, summary: 'fine' },
      { isWell: false, summary: 'web crashes' },
    ]);
    expect(told('/night')).toEqual(['Not all is well: ["web crashes"]']);
    const well = await untilOver(await run(workflowId, { ...common, environmentIds: [acme.environmentId] }));
    expect(statesOf(well).tell).toBe('SKIPPED');
  });
});

describe('incident.yaml', () => {
  it('should tell what another workflow found out, and wait until it is mended there', async () => {
    const diagnosis = {
      inputs: { stackId: { type: 'string' } },
      steps: { think: { kind: 'delay', seconds: 0 } },
      output: 'The disk is full.',
    };
    const diagnosisId = await newWorkflow('diagnosis', diagnosis);
    const [stackId, other] = [await acme.newStack(WELL, 'incident'), await acme.newStack(WELL, 'other')];
    const channelId = await newChannel('/incident');
    const input = { stackId, environmentId: acme.environmentId, reason: 'web is down', diagnosisId, channelId };
    const id = await run(await example('incident'), input);
    await until('it is told', id, (read) => statesOf(read).tell === 'SUCCEEDED');
    await acme.deploy(other);
    const { id: mendedBy } = await acme.deploy(stackId);
    const done = await untilOver(id);
    expect(told('/incident')).toEqual(['Incident: web is down. The disk is full.']);
    expect(done).toMatchObject({ status: 'COMPLETED', output: { isMended: true } });
    expect(stepOf(done, 'mended').output).toMatchObject({ type: 'deployment.running', subjectId: mendedBy });
  });
});
