import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];
const RUNS = `query ($id: ID!) { workflow(id: $id) { webhookPath executions(first: 100) { nodes {
  id status trigger input output createdBy { __typename } steps { nodes { key state output } } } } } }`;
const SKIPPED = 'workflow.skipped';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app?.[Symbol.asyncDispose]());

let workflows = 0;
const create = async (definition: object, more: object = {}, by = acme): Promise<string> => {
  const values = { organizationId: by.organizationId, name: `workflow ${++workflows}`, definition, ...more };
  return (await by.mutate('workflowCreate', 'Workflow { id }', values)).id;
};
const runsOf = async (id: string): Promise<Data[]> => (await acme.ask(RUNS, { id })).workflow.executions.nodes;
const runs = (id: string, count: number): Promise<Data[]> =>
  eventually(`${count} runs that are over`, async () => {
    const found = await runsOf(id);
    return found.length >= count && found.every(({ status }) => FINAL.includes(status)) ? found : null;
  });
const pause = { pause: { kind: 'delay', seconds: 0 } };
/** Lets a schedule have come round so long ago. */
const letPass = (id: string, ago: string) =>
  app.database.pool.query('update workflow_triggers set next_at = now() - $2::interval where workflow_id = $1', [
    decodeIdOf('Workflow', id),
    ago,
  ]);
const nextTimes = async (id: string): Promise<Date[]> => {
  const { rows } = await app.database.pool.query(
    'select next_at as next from workflow_triggers where workflow_id = $1 and next_at > now() order by position',
    [decodeIdOf('Workflow', id)],
  );
  return rows.map(({ next }) => next);
};
const skipped = async (id: string): Promise<string[]> => {
  const { rows } = await app.database.pool.query(
    `select data->>'reason' as reason from events where type = $1 and subject_id = $2`,
    [SKIPPED, decodeIdOf('Workflow', id)],
  );
  return rows.map(({ reason }) => reason);
};

describe('a schedule', () => {
  it('should begin a run when it comes round, and go on to the next time', async () => {
    const definition = { inputs: { what: { type: 'string' } }, steps: pause };
    const triggers = [{ kind: 'cron', schedule: '0 0 1 1 *', input: { what: 'new year' } }];
    const id = await create({ ...definition, triggers });
    expect((await nextTimes(id)).map((time) => time.toISOString().slice(4))).toEqual(['-01-01T00:00:00.000Z']);
    await letPass(id, '1 second');
    expect(await runs(id, 1)).toMatchObject([
      { status: 'COMPLETED', trigger: 'SCHEDULE', input: { what: 'new year' }, createdBy: { __typename: 'Workflow' } },
    ]);
    expect(await nextTimes(id)).toHaveLength(1);
  });

  it('should make up for missed times with one run, or none, as its policy says', async () => {
    const steps = pause;
    const once = await create({ steps, triggers: [{ kind: 'cron', schedule: '0 0 1 1 *' }] });
    const never = await create({ steps, triggers: [{ kind: 'cron', schedule: '0 0 1 1 *', missed: 'skip' }] });
    for (const id of [never, once]) await letPass(id, '3 days');
    await runs(once, 1);
    await eventually('the other has gone on', async () => (await nextTimes(never)).length === 1);
    expect(await runsOf(never)).toEqual([]);
    expect(await runsOf(once)).toHaveLength(1);
  });

  it('should be the workflow’s own too, and end with it', async () => {
    const id = await create({ steps: pause }, { schedule: '0 3 * * *' });
    await letPass(id, '1 second');
    expect(await runs(id, 1)).toMatchObject([{ trigger: 'SCHEDULE' }]);
    await acme.mutate('workflowUpdate', 'Workflow { schedule }', { workflowId: id, schedule: null });
    expect(await nextTimes(id)).toEqual([]);
  });

  it('should say why no run begins', async () => {
    const definition = { inputs: { what: { type: 'string' } }, steps: pause };
    const id = await create({
      ...definition,
      triggers: [{ kind: 'cron', schedule: '0 0 1 1 *', input: { what: '${{ 1 }}' } }],
    });
    await letPass(id, '1 second');
    await eventually('it is told', async () => (await skipped(id)).length > 0);
    expect(await skipped(id)).toEqual([expect.stringContaining('input.what: must be of the type string')]);
  });
});

describe('an event', () => {
  it('should begin a run of each workflow that it is for, once', async () => {
    const triggers = (where: string) => [
      {
        kind: 'event',
        event: 'stack.created',
        where,
        input: { name: '${{ event.data.name }}', id: '${{ event.subjectId }}' },
      },
    ];
    const inputs = { name: { type: 'string' }, id: { type: 'string' } };
    const [wanted, other] = [
      await create({ inputs, steps: pause, triggers: triggers('event.data.name == "wanted"') }),
      await create({ inputs, steps: pause, triggers: triggers('event.data.name == "other"') }),
    ];
    const stack = await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'wanted');
    expect(await runs(wanted, 1)).toMatchObject([{ trigger: 'EVENT', input: { name: 'wanted', id: stack } }]);
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'third');
    const third = await create({ inputs, steps: pause, triggers: triggers('event.data.name == "last"') });
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'last');
    await runs(third, 1);
    expect((await runsOf(wanted)).length).toBe(1);
    expect(await runsOf(other)).toEqual([]);
  });

  it('should begin no run with what its maker may not read', async () => {
    const developer = await acme.addMember('DEVELOPER');
    const definition = { steps: pause, triggers: [{ kind: 'event', event: 'invitation.created' }] };
    const [theirs, ours] = [await create(definition, {}, developer), await create(definition)];
    await acme.mutate('organizationInvite', 'InvitationCreated { invitation { id } }', {
      ...{ organizationId: acme.organizationId, email: 'guest@example.com' },
    });
    await runs(ours, 1);
    expect(await runsOf(theirs)).toEqual([]);
  });

  it('should be what a step waits for', async () => {
    const id = await create({
      steps: { wait: { kind: 'waitForEvent', event: 'stack.created', where: 'event.data.name == "awaited"' } },
      output: '${{ steps.wait.output.data.name }}',
    });
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'awaited');
    const run = await acme.mutate('workflowRun', 'Execution { id }', { workflowId: id });
    const read = async () => (await runsOf(id)).find((each) => each.id === run.id);
    await eventually('it waits', async () => (await read()).status === 'WAITING');
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'not awaited');
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'awaited');
    expect(await runs(id, 1)).toMatchObject([{ status: 'COMPLETED', output: 'awaited' }]);
  });

  it('should be waited for by what the run was given, and what came of its steps', async () => {
    const where = 'event.data.name == inputs.name && steps.before.state == "SUCCEEDED"';
    const id = await create({
      inputs: { name: { type: 'string' } },
      steps: {
        before: { kind: 'delay', seconds: 0 },
        wait: { kind: 'waitForEvent', needs: ['before'], event: 'stack.created', where },
      },
      output: '${{ steps.wait.output.data.name }}',
    });
    await acme.mutate('workflowRun', 'Execution { id }', { workflowId: id, input: { name: 'named' } });
    await eventually('it waits', async () => (await runsOf(id))[0].status === 'WAITING');
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'not named');
    await acme.newStack('services: { web: { command: [sleep, "1"] } }', 'named');
    expect(await runs(id, 1)).toMatchObject([{ status: 'COMPLETED', output: 'named' }]);
  });

  it('should not be what a step waits for whose maker, or whoever began it, may not read it', async () => {
    const developer = await acme.addMember('DEVELOPER');
    const definition = { steps: { wait: { kind: 'waitForEvent', event: 'invitation.created' } } };
    const [theirs, ours] = [await create(definition, {}, developer), await create(definition)];
    const run = (workflowId: string, by = acme) => by.mutate('workflowRun', 'Execution { id }', { workflowId });
    const allowed = await run(ours);
    const refused = [await run(theirs), await run(ours, developer)];
    const all = async () => [...(await runsOf(theirs)), ...(await runsOf(ours))];
    await eventually('they wait', async () => (await all()).every(({ status }) => status === 'WAITING'));
    await acme.mutate('organizationInvite', 'InvitationCreated { invitation { id } }', {
      ...{ organizationId: acme.organizationId, email: 'other-guest@example.com' },
    });
    const statusOf = async ({ id }: Data) => (await all()).find((each) => each.id === id).status;
    await eventually('the one goes on', async () => (await statusOf(allowed)) === 'COMPLETED');
    for (const each of refused) expect(await statusOf(each)).toBe('WAITING');
  });
});

describe('a webhook', () => {
  const definition = {
    inputs: { branch: { type: 'string' } },
    triggers: [{ kind: 'webhook', input: { branch: '${{ body.branch }}' } }],
    steps: pause,
  };
  const send = async (
    path: string,
    secret: string,
    body: string,
    more: { id?: string; at?: number; signature?: string } = {},
  ) => {
    const { id = 'request-1', at = Math.floor(Date.now() / 1_000) } = more;
    const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
    const signature = more.signature ?? createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64');
    const headers = { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': `v1,${signature}` };
    const response = await fetch(new URL(path, app.url), { method: 'POST', headers, body });
    return { status: response.status, body: (await response.json()) as { executionId?: string; message?: string } };
  };
  const prepare = async () => {
    const id = await create(definition);
    expect((await acme.ask(RUNS, { id })).workflow.webhookPath).toBeNull();
    const { secret } = await acme.mutate('workflowWebhookSecretRotate', 'WorkflowWebhookSecret { secret }', {
      workflowId: id,
    });
    const path: string = (await acme.ask(RUNS, { id })).workflow.webhookPath;
    return { id, secret, path };
  };

  it('should begin a run for a signed request, once for its id', async () => {
    const { id, secret, path } = await prepare();
    const body = '{"branch":"main"}';
    const [one, again] = await Promise.all([send(path, secret, body), send(path, secret, body)]);
    expect([one.status, again.status]).toEqual([202, 202]);
    expect(one.body.executionId).toBe(again.body.executionId);
    await send(path, secret, body, { id: 'request-2' });
    const found = await runs(id, 2);
    expect(found).toHaveLength(2);
    expect(found[0]).toMatchObject({ trigger: 'WEBHOOK', input: { branch: 'main' } });
  });

  it('should refuse what is not signed, too old, or nothing that it takes', async () => {
    const { id, secret, path } = await prepare();
    const now = Math.floor(Date.now() / 1_000);
    const refused = [
      await send(path, `whsec_${Buffer.alloc(32).toString('base64')}`, '{"branch":"main"}'),
      await send(path, secret, '{"branch":"main"}', { at: now - 301 }),
      await send(path, secret, 'branch: main'),
      await send(path, secret, '{}'),
      await send(`${path}x`, secret, '{"branch":"main"}'),
    ];
    expect(refused.map(({ status }) => status)).toEqual([401, 400, 400, 409, 404]);
    expect(refused.every(({ body }) => typeof body.message === 'string')).toBe(true);
    expect(await runsOf(id)).toEqual([]);
    expect(await skipped(id)).toHaveLength(1);
    const unsigned = await fetch(new URL(path, app.url), { method: 'POST', body: '{}' });
    expect(unsigned.status).toBe(400);
    expect((await fetch(new URL(path, app.url))).status).toBe(405);
  });

  it('should not take a former secret any more', async () => {
    const { id, secret, path } = await prepare();
    await acme.mutate('workflowWebhookSecretRotate', 'WorkflowWebhookSecret { secret }', { workflowId: id });
    expect((await send(path, secret, '{"branch":"main"}')).status).toBe(401);
  });
});
