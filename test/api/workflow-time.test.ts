import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { WorkflowRuns, wait } from '../support/workflow-runs.ts';

/** No machine is done with it in time. */
const DIGITS = '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]';
const ENDLESS = [...'abcdefg'].reduceRight((inner, name) => `${DIGITS}.all(${name}, ${inner})`, 'a + b + c + d >= 0');
const TOO_LONG = 'expressions take longer than 250 ms together: let them look at less';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let acme: Deployer;
let runs: WorkflowRuns;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  runs = new WorkflowRuns(acme);
});
afterAll(() => app?.[Symbol.asyncDispose]());

const named = (count: number, step: object) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`s${index}`, step]));
const errorsOf = ({ steps }: Data): (string | null)[] => steps.nodes.map(({ error }: Data) => error);
const newStack = () => acme.newStack('services: { web: { command: [sleep, "1"] } }');

describe('a workflow whose expressions take long', () => {
  it('should fail where a step takes too long, while everybody else goes on', async () => {
    const slow = await runs.create({ steps: { ...named(3, wait({ if: ENDLESS })), quick: wait() } });
    const { id } = await runs.run(slow.id);
    const other = new WorkflowRuns(await acme.newTenant('Beside'));
    const beside = await other.runToEnd({ steps: { a: wait({ if: '1 + 1 == 2' }) } });
    expect(beside.status).toBe('COMPLETED');
    expect((await fetch(`http://localhost:${app.port}/health/live`)).status).toBe(200);
    const done = await runs.end(id);
    expect(done).toMatchObject({ status: 'FAILED', statusReason: expect.stringContaining(TOO_LONG) });
    expect(errorsOf(done).toSorted()).toEqual([TOO_LONG, TOO_LONG, TOO_LONG, null]);
  });

  it('should complete where they only do so together', async () => {
    const input = { n: Array.from({ length: 100 }, (_, index) => index) };
    const look = wait({ if: 'inputs.n.all(a, inputs.n.all(b, a + b >= 0))' });
    const each = wait({ forEach: 'inputs.n', maxParallel: 50, if: 'true', seconds: '${{ item * 0 }}' });
    const definition = { inputs: { n: { type: 'list' } }, steps: { ...named(20, look), each } };
    expect((await runs.runToEnd(definition, input)).status).toBe('COMPLETED');
  });

  it('should fail a text of many that take too long together', async () => {
    const message = '${{ inputs.n.all(a, inputs.n.all(b, a + b >= 0)) }} '.repeat(300);
    const definition = { inputs: { n: { type: 'list' } }, steps: { ask: { kind: 'approval', message } } };
    const done = await runs.runToEnd(definition, { n: Array.from({ length: 1_000 }, (_, index) => index) });
    expect(errorsOf(done)).toEqual([TOO_LONG]);
  });
});

describe('a condition about events that takes too long', () => {
  const skipped = async (workflowId: string): Promise<string[]> => {
    const { rows } = await app.database.pool.query(
      `select data->>'reason' as reason from events where type = 'workflow.skipped' and subject_id = $1`,
      [decodeIdOf('Workflow', workflowId)],
    );
    return rows.map(({ reason }) => reason);
  };
  const listening = (where: string) =>
    runs.create({ steps: { a: wait() }, triggers: [{ kind: 'event', event: 'stack.created', where }] });
  const count = async (workflowId: string): Promise<number> => {
    const { workflow } = await acme.ask('query ($id: ID!) { workflow(id: $id) { executions { totalCount } } }', {
      id: workflowId,
    });
    return workflow.executions.totalCount;
  };

  it('should be told of each event, and keep no other workflow from it', async () => {
    const [slow, quick] = [await listening(ENDLESS), await listening('event.data.name == "web"')];
    for (let events = 1; events <= 2; events++) {
      await newStack();
      await eventually('the quick one runs', async () => (await count(quick.id)) === events);
      expect(await skipped(slow.id)).toEqual(Array(events).fill(`its where: ${TOO_LONG}`));
    }
    expect(await count(slow.id)).toBe(0);
    expect(await skipped(quick.id)).toEqual([]);
  });

  it('should fail the step that waits', async () => {
    const definition = { steps: { a: { kind: 'waitForEvent', event: 'stack.created', where: ENDLESS } } };
    const { id } = await runs.run((await runs.create(definition)).id);
    await runs.until(id, 'WAITING');
    await newStack();
    const done = await runs.end(id);
    expect(done.status).toBe('FAILED');
    expect(errorsOf(done)).toEqual([`its where: ${TOO_LONG}`]);
  });
});
