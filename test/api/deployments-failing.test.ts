import { glob, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { dependsOn, service, stack, ticking, whenOk } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView, instancesOf, serviceOf } from '../support/deployer.ts';

const GOOD = stack(ticking('web', 'good'), ticking('side', 'side'));
const CRASHES = stack(service('web', 'echo Fatal: no config >&2; exit 7'), ticking('side', 'side'));
const NO_SUCH_COMMAND = stack('\n  web: { command: [ngnix, -v] }', ticking('side', 'side'));

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

const stepsOf = ({ steps }: DeploymentView) => steps.map(({ name, state }) => `${name}: ${state}`);

describe('a deployment that fails', () => {
  let stackId: string;
  let good: DeploymentView;
  beforeAll(async () => {
    ({ stackId, ...good } = await acme.deployNew(GOOD));
    expect(good.status).toBe('RUNNING');
  });
  afterAll(async () => {
    await acme.stop(good.id);
    expect(await acme.present(stackId)).toEqual([]);
  });

  it('should restore what ran, whose row stays and whose log goes on', async () => {
    await acme.changeStack(stackId, CRASHES);
    const before = await acme.read(good.id);
    const failed = await acme.deploy(stackId);
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: 'service web: exited with code 7 before it was up',
      liveAt: null,
    });
    expect(failed.finishedAt).not.toBeNull();
    expect(failed.progress).toBeLessThan(1);
    expect(stepsOf(failed)).toEqual([
      'prepare: SUCCEEDED',
      'start side: SKIPPED',
      'start web: SUCCEEDED',
      'verify: FAILED',
      'commit: SKIPPED',
      'restore: SUCCEEDED',
    ]);
    expect(failed.steps[3]!.message).toBe(failed.statusReason);
    expect(await acme.output(failed.id)).toEqual(['web: Fatal: no config']);
    const after = await acme.read(good.id);
    const { revision: _before, services: _was, ...unchanged } = before;
    expect(after).toMatchObject(unchanged);
    expect(instancesOf(after).side).toBe(instancesOf(before).side);
    expect(instancesOf(after).web).not.toBe(instancesOf(before).web);
    expect(serviceOf(after, 'web').state).toBe('RUNNING');
    const last = (await acme.log(good.id)).at(-1)!.sequence;
    await expect
      .poll(async () =>
        (await acme.log(good.id)).filter(({ sequence, message }) => sequence > last && message === 'good'),
      )
      .not.toEqual([]);
  });

  it('should touch nothing where its preparation fails', async () => {
    const before = await acme.read(good.id);
    await acme.changeStack(stackId, 'services: { web: { image: "nginx" } }');
    const failed = await acme.deploy(stackId);
    expect(failed.status).toBe('FAILED');
    expect(failed.statusReason).toMatch(/^the compose file cannot be deployed here: line 1: .*has no command/);
    expect(stepsOf(failed)).toEqual(['prepare: FAILED']);
    expect(failed.steps[0]!.message).toBe(failed.statusReason);
    expect(instancesOf(await acme.read(good.id))).toEqual(instancesOf(before));
  });

  it('should say at the start of a service that its command does not exist, and restore', async () => {
    await acme.changeStack(stackId, NO_SUCH_COMMAND);
    const failed = await acme.deploy(stackId);
    expect(failed).toMatchObject({ status: 'FAILED', statusReason: 'service web: command not found: ngnix' });
    expect(stepsOf(failed)).toEqual([
      'prepare: SUCCEEDED',
      'start side: SKIPPED',
      'start web: FAILED',
      'verify: SKIPPED',
      'commit: SKIPPED',
      'restore: SUCCEEDED',
    ]);
    expect((await acme.read(good.id)).status).toBe('RUNNING');
  });

  it('should end when a service does not become healthy in time', async () => {
    await acme.changeStack(stackId, stack(service('web', 'exec sleep 1000', whenOk()), ticking('side', 'side')));
    const failed = await acme.deploy(stackId, { healthTimeoutSeconds: 1 });
    expect(failed.status).toBe('FAILED');
    expect(failed.statusReason).toMatch(/^service web: not healthy.* after 1 s$/);
    expect((await acme.read(good.id)).status).toBe('RUNNING');
  });

  it('should name the first error of a service that crashes again and again', async () => {
    const script = 'n=$$(cat n 2>/dev/null || echo 0); echo $$((n + 1)) > n; exit $$((n + 3))';
    await acme.changeStack(stackId, stack(service('web', script, 'restart: always'), ticking('side', 'side')));
    const failed = await acme.deploy(stackId);
    expect(failed).toMatchObject({
      status: 'FAILED',
      // Whoever looks later sees more restarts.
      statusReason: expect.stringMatching(
        /^service web: exited with code 3, restarted [3-9] times, last: exited with code \d+$/,
      ),
    });
    expect((await acme.read(good.id)).status).toBe('RUNNING');
  });
});

describe('without a former deployment', () => {
  it('should leave nothing behind when it fails', async () => {
    const failed = await acme.deployNew(CRASHES);
    expect(failed.status).toBe('FAILED');
    expect(serviceOf(failed, 'side').state).toBe('STOPPED');
    expect(serviceOf(failed, 'web')).toMatchObject({ state: 'EXITED', replicas: [{ exitCode: 7 }] });
    expect(await acme.present(failed.stackId)).toEqual([]);
    const { rowCount } = await app.database.pool.query(
      `select 1 from port_reservations p join stack_environments se on se.id = p.stack_environment_id where se.stack_id = $1`,
      [decodeIdOf('Stack', failed.stackId)],
    );
    expect(rowCount).toBe(0);
  });
});

describe.concurrent('with autoRollback off', () => {
  it('should go live as DEGRADED when services started and are not healthy, and RUNNING once they are', async () => {
    const script = 'while [ ! -e data/go ]; do sleep 0.05; done; touch ok; exec sleep 1000';
    const web = service('web', script, whenOk('0s'), 'volumes: ["data:/data"]');
    const live = await acme.deployNew(stack(web), { autoRollback: false });
    expect(live).toMatchObject({ status: 'DEGRADED', progress: 1, finishedAt: null });
    expect(live.statusReason).toMatch(/^service web: health check: exit/);
    expect(live.liveAt).not.toBeNull();
    expect(serviceOf(live, 'web').state).toBe('UNHEALTHY');
    const [volume] = await Array.fromAsync(glob(`${app.runtimeDirectory}/e/*/*/volumes/data`));
    await writeFile(`${volume}/go`, '');
    expect(await acme.until(live.id, ['RUNNING'])).toMatchObject({ statusReason: null, liveAt: live.liveAt });
    await acme.stop(live.id);
  });

  it('should end as FAILED when a service could not start, and restore nothing', async () => {
    const { stackId, ...former } = await acme.deployNew(GOOD);
    await acme.changeStack(stackId, NO_SUCH_COMMAND);
    const failed = await acme.deploy(stackId, { autoRollback: false });
    expect(failed).toMatchObject({ status: 'FAILED', statusReason: 'service web: command not found: ngnix' });
    expect(failed.steps.map(({ name }) => name)).not.toContain('restore');
    const left = await acme.read(former.id);
    expect(left).toMatchObject({
      status: 'DEGRADED',
      statusReason: `deployment ${failed.number} failed and was not to be undone: service web: 1 of 1 replicas are missing`,
    });
    expect(serviceOf(left, 'side').state).toBe('RUNNING');
    const mended = await acme.deploy(stackId, { stackVersion: 1 });
    expect(mended.status).toBe('RUNNING');
    expect(instancesOf(mended).side).toBe(instancesOf(former).side);
    await acme.stop(mended.id);
  });
});

describe.concurrent('with autoRollback off, where one waits for another', () => {
  const sick = 'healthcheck: { test: ["CMD", "false"], interval: 100ms, retries: 1 }';

  it('should end as FAILED when a service was never started, and leave the former instance of it alone', async () => {
    const { stackId, ...former } = await acme.deployNew(stack(ticking('db', 'x'), ticking('web', 'one')));
    const waiting = ticking('web', 'two', dependsOn('db', 'service_healthy'));
    await acme.changeStack(stackId, stack(ticking('db', 'x', sick), waiting));
    const failed = await acme.deploy(stackId, { autoRollback: false });
    expect(failed.status).toBe('FAILED');
    const left = await acme.read(former.id);
    expect(left.status).toBe('DEGRADED');
    expect(serviceOf(left, 'web').state).toBe('RUNNING');
    expect(instancesOf(left).web).toBe(instancesOf(former).web);
    await acme.stop(former.id);
  });

  it('should go live as DEGRADED when a job beside what is not healthy is done', async () => {
    const job = service('job', 'exit 0');
    const live = await acme.deployNew(stack(job, ticking('web', 'one', sick)), { autoRollback: false });
    expect(live).toMatchObject({ status: 'DEGRADED', statusReason: expect.stringContaining('service web') });
    await acme.stop(live.id);
  });
});

describe('a deployment that ends before it touched anything', () => {
  it('should leave a degraded one as it is', async () => {
    const { stackId, ...former } = await acme.deployNew(stack(service('web', 'sleep 1; exit 3')));
    const degraded = await acme.until(former.id, ['DEGRADED']);
    await acme.changeStack(
      stackId,
      'services: { web: { command: ["true"], environment: { A: "${NOT_SET:?needed}" } } }',
    );
    const failed = await acme.deploy(stackId);
    expect(failed.steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
    const left = await acme.read(former.id);
    expect([left.status, left.statusReason]).toEqual(['DEGRADED', degraded.statusReason]);
    expect(instancesOf(left)).toEqual(instancesOf(former));
    await acme.stop(former.id);
  });
});

describe('one-shot jobs', () => {
  const job = (word: string) =>
    service('job', `echo ${word} >> data/runs; wc -l < data/runs`, 'volumes: ["data:/data"]');
  const waits = dependsOn('job', 'service_completed_successfully');
  const compose = (word: string, web = ticking('web', 'good', waits)) => stack(job(word), web);
  const BROKEN = `\n  web: { command: [ngnix], ${waits} }`;
  const runs = async (deploymentId: string) =>
    (await acme.output(deploymentId)).filter((line) => line.startsWith('job'));

  it('should end before what waits for them begins, and run again only where they changed', async () => {
    const { stackId, ...first } = await acme.deployNew(compose('one'));
    expect(first.status).toBe('RUNNING');
    expect(serviceOf(first, 'job')).toMatchObject({ state: 'EXITED', replicas: [{ exitCode: 0 }] });
    const lines = (await acme.log(first.id)).map(({ service: of, message }) => `${of}: ${message}`);
    const ended = lines.indexOf('job: exited with code 0');
    expect(ended).toBeGreaterThan(-1);
    expect(lines.findIndex((line) => line.startsWith('web: started'))).toBeGreaterThan(ended);
    const again = await acme.deploy(stackId);
    expect(instancesOf(again)).toEqual(instancesOf(first));
    await acme.changeStack(stackId, compose('two'));
    const changed = await acme.deploy(stackId);
    expect(changed.status).toBe('RUNNING');
    expect(instancesOf(changed).web).toBe(instancesOf(first).web);
    await expect.poll(() => runs(changed.id)).toEqual(['job: 2']);
    await acme.stop(changed.id);
  });

  it('should not run again when what ran is restored, and nobody misses them afterwards', async () => {
    const { stackId, ...first } = await acme.deployNew(compose('one'));
    for (const broken of [compose('one', BROKEN), compose('two', BROKEN)]) {
      await acme.changeStack(stackId, broken);
      expect(await acme.deploy(stackId)).toMatchObject({ status: 'FAILED' });
      expect(await acme.read(first.id)).toMatchObject({ status: 'RUNNING', statusReason: null });
      expect(await runs(first.id)).toEqual(['job: 1']);
    }
    await acme.untilLogged(first.id, 'good');
    expect(await acme.read(first.id)).toMatchObject({ status: 'RUNNING', statusReason: null });
    await acme.stop(first.id);
  });

  it('should keep what waits for them from starting when they fail', async () => {
    const failed = await acme.deployNew(stack(service('job', 'exit 9'), ticking('web', 'never', waits)));
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: 'service job: exited with code 9 before it had completed',
    });
    expect(await acme.output(failed.id)).toEqual([]);
  });
});

describe.concurrent('dependencies', () => {
  it('should be waited for until they are healthy', async () => {
    const db = service('db', 'sleep 0.5; echo ready; touch ok; exec sleep 1000', whenOk());
    const live = await acme.deployNew(stack(ticking('web', 'up', dependsOn('db', 'service_healthy')), db));
    expect(live.status).toBe('RUNNING');
    expect(serviceOf(live, 'db').state).toBe('HEALTHY');
    const lines = (await acme.log(live.id)).map(({ service: of, message }) => `${of}: ${message}`);
    expect(lines).toContain('db: ready');
    expect(lines.findIndex((line) => line.startsWith('web: started'))).toBeGreaterThan(lines.indexOf('db: ready'));
    await acme.stop(live.id);
  });

  it('should keep what needs them from starting when they do not become healthy', async () => {
    const db = service('db', 'exec sleep 1000', whenOk('0s'));
    const failed = await acme.deployNew(stack(ticking('web', 'up', dependsOn('db', 'service_healthy')), db));
    expect(failed.status).toBe('FAILED');
    expect(failed.statusReason).toMatch(/^service db: health check/);
    expect(failed.steps.map(({ name, state }) => `${name}: ${state}`)).toContain('start web: FAILED');
    expect(await acme.output(failed.id)).toEqual([]);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
