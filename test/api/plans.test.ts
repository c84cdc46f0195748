import { chmod, glob, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAX_SHOWN_LENGTH } from '../../src/modules/deployments/hidden-fields.ts';
import { MAX_PLANS_PER_STACK } from '../../src/modules/deployments/plans.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack, ticking } from '../support/compose-stacks.ts';
import { Deployer, instancesOf } from '../support/deployer.ts';

const PLAN = `id strategy expiresAt stackVersion { number } stack { id } environment { id }
  changes { service action fields { path before after } } findings { rule severity message line }`;

type Field = { path: string; before: string | null; after: string | null };
type Change = { service: string; action: string; fields: Field[] };
// biome-ignore lint/suspicious/noExplicitAny: as the test asked for it.
type Data = any;

let app: TestApp;
let acme: Deployer;
let rival: Deployer;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  rival = await acme.newTenant('Rival');
});
afterAll(() => app[Symbol.asyncDispose]());

const tryPlan = (stackId: string, input: object = {}, by = acme): Promise<Data> =>
  by.try('deploymentPlan', `DeploymentPlan { ${PLAN} }`, { stackId, environmentId: by.environmentId, ...input });

async function plan(stackId: string, input: object = {}): Promise<Data & { changes: Change[] }> {
  const made = await tryPlan(stackId, input);
  if (made.__typename !== 'DeploymentPlan') throw new Error(JSON.stringify(made));
  return made;
}

const actions = ({ changes }: { changes: Change[] }) => changes.map(({ service, action }) => `${service} ${action}`);
const changeOf = ({ changes }: { changes: Change[] }, name: string): Change =>
  changes.find((change) => change.service === name)!;

describe.concurrent('a plan', () => {
  it('should list every field of what is new, and change nothing', async () => {
    const stackId = await acme.newStack(
      stack(ticking('web', 'hello', 'ports: ["80"]', 'environment: { LEVEL: debug }')),
    );
    const planned = await plan(stackId);
    expect(planned).toMatchObject({
      strategy: 'RECREATE',
      stackVersion: { number: 1 },
      stack: { id: stackId },
      environment: { id: acme.environmentId },
    });
    expect(Date.parse(planned.expiresAt)).toBeGreaterThan(Date.now());
    expect(actions(planned)).toEqual(['web CREATE']);
    expect(changeOf(planned, 'web').fields).toEqual(
      expect.arrayContaining([
        { path: 'environment.LEVEL', before: null, after: 'debug' },
        { path: 'environment.PORT', before: null, after: '(a free port)' },
        { path: 'ports["80/tcp"]', before: null, after: '0.0.0.0:(a free port)' },
        { path: 'restart', before: null, after: 'no' },
        { path: 'stop_grace_period', before: null, after: '1000ms' },
      ]),
    );
    expect(planned.findings).toContainEqual(expect.objectContaining({ severity: 'INFO', rule: 'process-port' }));
    expect(await acme.present(stackId)).toEqual([]);
    const { stack: read } = await acme.ask('query ($id: ID!) { stack(id: $id) { deployments { totalCount } } }', {
      id: stackId,
    });
    expect(read.deployments.totalCount).toBe(0);
  });

  it('should find nothing to do where the same runs, and a deployment of it should touch nothing', async () => {
    const live = await acme.deployNew(stack(ticking('web', 'hello', 'ports: ["80"]'), ticking('db', 'base')));
    const planned = await plan(live.stackId);
    expect(actions(planned)).toEqual(['db UNCHANGED', 'web UNCHANGED']);
    expect(planned.changes.flatMap(({ fields }: Change) => fields)).toEqual([]);
    const again = await acme.deploy(live.stackId, { planId: planned.id });
    expect(instancesOf(again)).toEqual(instancesOf(live));
    expect(again).toMatchObject({ status: 'RUNNING', number: 2 });
    await acme.stop(again.id);
  });

  it('should tell apart what is replaced, scaled, new and gone, field by field', async () => {
    const before = stack(
      ticking('web', 'one', 'environment: { A: "1", B: "2" }'),
      ticking('scaled', 'same', 'deploy: { replicas: 2 }'),
      ticking('gone', 'old'),
      ticking('kept', 'same'),
    );
    const live = await acme.deployNew(before);
    await acme.changeStack(
      live.stackId,
      stack(
        ticking('web', 'one', 'environment: { A: "1", B: "3", C: "4" }', 'restart: always'),
        ticking('scaled', 'same', 'deploy: { replicas: 3 }'),
        ticking('kept', 'same'),
        ticking('new', 'young'),
      ),
    );
    const planned = await plan(live.stackId);
    expect(actions(planned).toSorted()).toEqual([
      'gone REMOVE',
      'kept UNCHANGED',
      'new CREATE',
      'scaled SCALE',
      'web RECREATE',
    ]);
    // It is told where its peers are, too.
    const own = changeOf(planned, 'web').fields.filter(({ path }) => !/(GONE|NEW)_/.test(path));
    expect(own).toEqual([
      { path: 'environment.B', before: '2', after: '3' },
      { path: 'environment.C', before: null, after: '4' },
      { path: 'restart', before: 'no', after: 'always' },
    ]);
    expect(changeOf(planned, 'web').fields).toContainEqual({
      path: 'environment.NEW_PORT',
      before: null,
      after: '(a free port)',
    });
    expect(changeOf(planned, 'scaled').fields).toEqual([{ path: 'deploy.replicas', before: '2', after: '3' }]);
    expect(changeOf(planned, 'gone').fields).toContainEqual({ path: 'stop_signal', before: 'SIGTERM', after: null });
    const deployed = await acme.deploy(live.stackId, { planId: planned.id });
    const [old, now] = [instancesOf(live), instancesOf(deployed)];
    expect(now.kept).toBe(old.kept);
    expect(now.scaled).toBe(old.scaled);
    expect(now.web).not.toBe(old.web);
    expect(await acme.present(live.stackId)).toEqual(['kept', 'new', 'scaled', 'scaled', 'scaled', 'web']);
    await acme.stop(deployed.id);
  });

  it('should be for another version of the stack on request', async () => {
    const live = await acme.deployNew(stack(ticking('web', 'one')));
    await acme.changeStack(live.stackId, stack(ticking('web', 'two')));
    expect(actions(await plan(live.stackId))).toEqual(['web RECREATE']);
    const first = await plan(live.stackId, { stackVersion: 1 });
    expect([first.stackVersion.number, actions(first)]).toEqual([1, ['web UNCHANGED']]);
    expect(await tryPlan(live.stackId, { stackVersion: 3 })).toMatchObject({ fields: [{ path: ['stackVersion'] }] });
    expect(await tryPlan(live.stackId, { strategy: 'ROLLING' })).toMatchObject({
      __typename: 'ValidationError',
      fields: [{ path: ['strategy'], message: expect.stringContaining('RECREATE') }],
    });
    const deployed = await acme.deploy(live.stackId, { planId: first.id });
    expect(instancesOf(deployed)).toEqual(instancesOf(live));
    await acme.stop(deployed.id);
  });

  it('should say what keeps a stack from being deployed', async () => {
    const broken = await acme.newStack(
      'services: { web: { command: ["true"], environment: { A: "${NEEDED:?set it}" } } }',
    );
    expect(await tryPlan(broken)).toMatchObject({
      __typename: 'ValidationError',
      findings: expect.arrayContaining([expect.objectContaining({ message: expect.stringContaining('NEEDED') })]),
    });
    const stranger = createServer();
    await new Promise<void>((resolve) => stranger.listen(0, '0.0.0.0', resolve));
    const { port } = stranger.address() as { port: number };
    const busy = await acme.newStack(stack(ticking('web', 'hello', `ports: ["${port}:${port}"]`)));
    expect(await tryPlan(busy)).toMatchObject({
      __typename: 'ValidationError',
      message: `service web: port ${port}/tcp is already in use by another program on this host`,
    });
    stranger.close();
  });
});

describe('no replicas', () => {
  it('should be planned and deployed, time and again', async () => {
    const none = stack(ticking('web', 'one', 'deploy: { replicas: 0 }'), ticking('db', 'base'));
    const first = await acme.deployNew(none);
    expect([first.status, await acme.present(first.stackId)]).toEqual(['RUNNING', ['db']]);
    expect(actions(await plan(first.stackId))).toEqual(['db UNCHANGED', 'web UNCHANGED']);
    const again = await acme.deploy(first.stackId);
    expect(again.status).toBe('RUNNING');
    await acme.changeStack(first.stackId, none.replace('replicas: 0', 'replicas: 1'));
    expect(actions(await plan(first.stackId))).toEqual(['db UNCHANGED', 'web CREATE']);
    const one = await acme.deploy(first.stackId);
    await acme.changeStack(first.stackId, none);
    expect(actions(await plan(first.stackId))).toEqual(['db UNCHANGED', 'web SCALE']);
    const last = await acme.deploy(first.stackId);
    expect(await acme.present(first.stackId)).toEqual(['db']);
    expect(instancesOf(last).db).toBe(instancesOf(one).db);
    await acme.stop(last.id);
  });
});

describe.concurrent('drift', () => {
  it('should show a process that was killed and stays away', async () => {
    const live = await acme.deployNew(stack(service('web', 'echo pid $$$$; exec sleep 1000'), ticking('db', 'base')));
    const { message } = await acme.untilLogged(live.id, 'pid ');
    process.kill(Number(message.slice(4)), 'SIGKILL');
    await acme.until(live.id, ['DEGRADED']);
    const planned = await plan(live.stackId);
    expect(actions(planned)).toEqual(['db UNCHANGED', 'web RECREATE']);
    expect(changeOf(planned, 'web').fields).toEqual([
      { path: 'replicas[1].state', before: 'EXITED, exit code 137', after: 'RUNNING' },
    ]);
    const mended = await acme.deploy(live.stackId, { planId: planned.id });
    expect(mended.status).toBe('RUNNING');
    expect(instancesOf(mended).db).toBe(instancesOf(live).db);
    await acme.stop(mended.id);
  });

  it('should show a file that was changed or taken away by hand, and put it right', async () => {
    const compose = `
services:
  web:
    command: ["sh", "-c", "cat etc/app.conf; exec sleep 1000"]
    configs: [{ source: app, target: /etc/app.conf }, { source: app, target: /etc/other.conf }]
configs: { app: { content: "level=info" } }
`;
    const live = await acme.deployNew(compose);
    expect(actions(await plan(live.stackId))).toEqual(['web UNCHANGED']);
    const [file] = await Array.fromAsync(glob(`${app.runtimeDirectory}/e/*/*/services/web/etc/app.conf`));
    await chmod(file!, 0o644);
    await writeFile(file!, 'level=debug');
    const planned = await plan(live.stackId);
    expect(actions(planned)).toEqual(['web RECREATE']);
    expect(changeOf(planned, 'web').fields).toEqual([
      { path: 'replicas[1].files["/etc/app.conf"]', before: '(changed by hand)', after: 'level=info' },
    ]);
    const mended = await acme.deploy(live.stackId);
    expect(instancesOf(mended).web).not.toBe(instancesOf(live).web);
    expect(await readFile(file!, 'utf8')).toBe('level=info');
    expect(actions(await plan(live.stackId))).toEqual(['web UNCHANGED']);
    await acme.stop(mended.id);
  });
});

describe('secrets in a plan', () => {
  it('should show as words, and as changed where another one takes its place', async () => {
    await acme.setVariable('TOKEN', 'first-secret-of-acme', true);
    const compose = stack(
      ticking('web', 'hi', 'environment: { TOKEN: "${TOKEN}", URL: "http://u:${TOKEN}@db", LEVEL: "${LEVEL:-info}" }'),
    );
    const live = await acme.deployNew(compose);
    await acme.setVariable('TOKEN', 'second-secret-of-acme', true);
    await acme.setVariable('LEVEL', 'debug');
    const planned = await plan(live.stackId);
    expect(changeOf(planned, 'web').fields).toEqual([
      { path: 'environment.LEVEL', before: 'info', after: 'debug' },
      { path: 'environment.TOKEN', before: '(secret)', after: '(secret, changed)' },
      { path: 'environment.URL', before: 'http://u:(secret)@db', after: 'http://u:(secret, changed)@db' },
    ]);
    expect(JSON.stringify(planned)).not.toContain('secret-of-acme');
    const { rows } = await app.database.pool.query('select changes::text from deployment_plans');
    expect(JSON.stringify(rows)).not.toContain('secret-of-acme');
    await acme.mutate('environmentVariableDelete', 'Environment { id }', {
      environmentId: acme.environmentId,
      name: 'TOKEN',
    });
    const without = await plan(live.stackId);
    expect(changeOf(without, 'web').fields).toContainEqual({
      path: 'environment.TOKEN',
      before: '(secret)',
      after: '',
    });
    expect(JSON.stringify(without)).not.toContain('secret-of-acme');
    await acme.stop(live.id);
  });

  it('should cut long values', async () => {
    const stackId = await acme.newStack(
      stack(ticking('web', 'x', `environment: { LONG: "${'a'.repeat(MAX_SHOWN_LENGTH + 1)}" }`)),
    );
    const long = changeOf(await plan(stackId), 'web').fields.find(({ path }) => path === 'environment.LONG');
    expect(long!.after).toBe(`${'a'.repeat(MAX_SHOWN_LENGTH)}… (2,001 characters)`);
  });
});

describe('many plans', () => {
  it('should be kept up to a bound, the newest of a stack in an environment', async () => {
    const stackId = await acme.newStack(stack(ticking('web', 'hello')));
    const plans: string[] = [];
    for (let made = 0; made <= MAX_PLANS_PER_STACK; made++) plans.push((await plan(stackId)).id);
    const { nodes } = await acme.ask('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: plans });
    expect(nodes).toEqual([null, ...plans.slice(1).map((id) => ({ id }))]);
    expect(await acme.tryDeploy(stackId, { planId: plans[0] })).toMatchObject({ __typename: 'NotFoundError' });
  });
});

describe.concurrent('a deployment by plan', () => {
  it('should be refused when the plan is out of date, has expired, or is for something else', async () => {
    const live = await acme.deployNew(stack(ticking('web', 'one')));
    await acme.changeStack(live.stackId, stack(ticking('web', 'two', 'environment: { LEVEL: "${SHOWN:-1}" }')));
    const planned = await plan(live.stackId);
    const other = await acme.newStack(stack(ticking('web', 'one')));
    expect(await acme.tryDeploy(other, { planId: planned.id })).toMatchObject({
      __typename: 'ValidationError',
      fields: [{ path: ['planId'] }],
    });
    for (const [field, value] of [['stackVersion', 1]] as const)
      expect(await acme.tryDeploy(live.stackId, { planId: planned.id, [field]: value })).toMatchObject({
        fields: [{ path: [field] }],
      });
    await acme.setVariable('SHOWN', '2');
    expect(await acme.tryDeploy(live.stackId, { planId: planned.id })).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('out of date'),
    });
    const fresh = await plan(live.stackId);
    await app.database.pool.query(
      `update deployment_plans set expires_at = now() - interval '1 second' where id = $1`,
      [decodeIdOf('DeploymentPlan', fresh.id)],
    );
    expect(await acme.tryDeploy(live.stackId, { planId: fresh.id })).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('expired'),
    });
    expect((await acme.read(live.id)).status).toBe('RUNNING');
    await acme.stop(live.id);
  });

  it('should stay with its version, and be granted again under its idempotency key when it is carried out', async () => {
    const live = await acme.deployNew(stack(ticking('web', 'one')));
    await acme.changeStack(live.stackId, stack(ticking('web', 'two')));
    const planned = await plan(live.stackId);
    await acme.changeStack(live.stackId, stack(ticking('web', 'three')));
    const request = {
      planId: planned.id,
      stackVersion: 2,
      strategy: 'RECREATE',
      idempotencyKey: `plan-${planned.id.slice(-20)}`,
    };
    const deployed = await acme.deploy(live.stackId, request);
    await acme.untilLogged(deployed.id, 'two');
    expect(await acme.tryDeploy(live.stackId, request)).toMatchObject({ __typename: 'Deployment', id: deployed.id });
    await acme.stop(deployed.id);
  });

  it('should end as FAILED, with nothing touched, when its plan is out of date by the time its work begins', async () => {
    const live = await acme.deployNew(stack(ticking('web', 'one')));
    const never = 'healthcheck: { test: ["CMD", "false"], start_period: 60s }';
    await acme.changeStack(live.stackId, stack(service('web', 'sleep 1000', never)));
    const ahead = await acme.begin(live.stackId);
    await acme.until(ahead.id, ['VERIFYING']);
    await acme.changeStack(live.stackId, stack(ticking('web', 'three')));
    const planned = await plan(live.stackId);
    const late = await acme.begin(live.stackId, { planId: planned.id });
    // What ran before comes back: the plan compared with something else.
    await acme.tryCancel(ahead.id);
    const failed = await acme.until(late.id, ['FAILED']);
    expect(failed.statusReason).toContain('the plan is out of date');
    expect(failed.steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
    expect((await acme.read(live.id)).status).toBe('RUNNING');
    expect(await acme.present(live.stackId)).toEqual(['web']);
    await acme.stop(live.id);
  });
});

describe('who may plan', () => {
  it('should be whoever may deploy there; others see no plan of it', async () => {
    const stackId = await acme.newStack(stack(ticking('web', 'hello')));
    const planned = await plan(stackId);
    const node = 'query ($id: ID!) { node(id: $id) { id ... on DeploymentPlan { stack { id } } } }';
    expect((await acme.ask(node, { id: planned.id })).node).toEqual({ id: planned.id, stack: { id: stackId } });
    const developer = await acme.addMember('DEVELOPER');
    expect((await developer.ask(node, { id: planned.id })).node.id).toBe(planned.id);
    const viewer = await acme.addMember('VIEWER');
    expect(await viewer.refusal(node, { id: planned.id })).toBe('PERMISSION_DENIED');
    expect(await tryPlan(stackId, {}, viewer)).toMatchObject({ code: 'PERMISSION_DENIED' });
    const production = await acme.newEnvironment('live', 'PRODUCTION');
    expect(await tryPlan(stackId, { environmentId: production.id }, developer)).toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    expect((await rival.ask(node, { id: planned.id })).node).toBeNull();
    expect(await tryPlan(stackId, {}, rival)).toMatchObject({ __typename: 'NotFoundError' });
    const own = await rival.newStack(stack(ticking('web', 'hello')));
    expect(await rival.tryDeploy(own, { planId: planned.id })).toMatchObject({ __typename: 'NotFoundError' });
  });
});
