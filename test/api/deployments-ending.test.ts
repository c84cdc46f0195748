import { glob, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { dependsOn, service, stack, ticking, whenOk } from '../support/compose-stacks.ts';
import { Deployer, serviceOf } from '../support/deployer.ts';

const GOOD = stack(ticking('web', 'good'), ticking('side', 'side'));
const NEVER_HEALTHY = service('web', 'exec sleep 1000', whenOk());
const SLOW = stack(NEVER_HEALTHY, ticking('side', 'side'));

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

/** What the deployment told of its states. */
const statesTold = async (deploymentId: string): Promise<string[]> =>
  (await acme.log(deploymentId, { streams: ['SYSTEM'] }))
    .filter(({ service: of, message }) => of === null && message.startsWith('deployment '))
    .map(({ message }) => message.slice('deployment '.length));

describe('a live deployment', () => {
  it('should be DEGRADED while a service is down, say why, and be RUNNING again', async () => {
    const web = 'while [ ! -e data/down ]; do sleep 0.05; done; exit 5';
    const live = await acme.deployNew(stack(service('web', web, 'restart: always', 'volumes: ["data:/data"]')));
    expect(live.status).toBe('RUNNING');
    const [volume] = await Array.fromAsync(glob(`${app.runtimeDirectory}/e/*/*/volumes/data`));
    await writeFile(`${volume}/down`, '');
    const degraded = await acme.until(live.id, ['DEGRADED']);
    expect(degraded.statusReason).toMatch(/^service web: exited with code 5/);
    await rm(`${volume}/down`);
    const again = await acme.until(
      live.id,
      (it) => it.status === 'RUNNING' && serviceOf(it, 'web').state === 'RUNNING',
    );
    expect(again).toMatchObject({ statusReason: null, liveAt: live.liveAt, progress: 1 });
    expect(serviceOf(again, 'web').replicas[0]!.restarts).toBeGreaterThan(0);
    await acme.stop(live.id);
    expect(await statesTold(live.id)).toEqual(expect.arrayContaining(['running', 'stopping', 'stopped']));
  });
});

describe.concurrent('cancelling', () => {
  it('should end a queued one at once', async () => {
    const stackId = await acme.newStack(SLOW);
    const first = await acme.begin(stackId);
    const second = await acme.begin(stackId);
    expect(second.statusReason).toBe(`waits for deployment ${first.number}`);
    expect(await acme.tryCancel(second.id)).toMatchObject({ __typename: 'Deployment', status: 'CANCELLED' });
    const read = await acme.read(second.id);
    expect(read).toMatchObject({ status: 'CANCELLED', statusReason: null, startedAt: null });
    expect(read.finishedAt).not.toBeNull();
    expect(await acme.tryCancel(second.id)).toMatchObject({ __typename: 'Deployment', status: 'CANCELLED' });
    await acme.tryCancel(first.id);
    await acme.until(first.id, ['CANCELLED']);
    expect(await acme.present(stackId)).toEqual([]);
  });

  it.each([
    ['DEPLOYING', ticking('side', 'changed', dependsOn('web', 'service_healthy'))],
    ['VERIFYING', ticking('side', 'side')],
  ])('should restore what ran, from %s, and leave its row alone', async (status, side) => {
    const { stackId, ...good } = await acme.deployNew(GOOD);
    await acme.changeStack(stackId, stack(NEVER_HEALTHY, side));
    const begun = await acme.begin(stackId);
    await acme.until(begun.id, (it) => it.status === status && serviceOf(it, 'web').replicas.length > 0);
    // Asked for at once: the second finds one that is being cancelled, or is cancelled already.
    const answers = await Promise.all([acme.tryCancel(begun.id), acme.tryCancel(begun.id)]);
    for (const answer of answers) {
      expect(answer.__typename).toBe('Deployment');
      expect(['CANCELLING', 'CANCELLED']).toContain(answer.status);
    }
    const cancelled = await acme.until(begun.id, ['CANCELLED']);
    expect(cancelled).toMatchObject({ statusReason: null, liveAt: null });
    expect(cancelled.steps.map(({ name, state }) => `${name}: ${state}`)).toContain('restore: SUCCEEDED');
    expect(await statesTold(begun.id)).toEqual(expect.arrayContaining(['cancelling', 'cancelled']));
    const restored = await acme.read(good.id);
    expect(restored).toMatchObject({ status: 'RUNNING', statusReason: null, finishedAt: null });
    expect(restored.services.map(({ state }) => state)).toEqual(['RUNNING', 'RUNNING']);
    await acme.stop(good.id);
    expect(await acme.present(stackId)).toEqual([]);
  });

  it('should be a conflict once it is live or final', async () => {
    const { stackId, ...live } = await acme.deployNew(GOOD);
    expect(await acme.tryCancel(live.id)).toMatchObject({ __typename: 'ConflictError', code: 'CONFLICT' });
    const next = await acme.deploy(stackId);
    expect(await acme.tryCancel(live.id)).toMatchObject({ __typename: 'ConflictError' });
    await acme.stop(next.id);
    expect(await acme.tryCancel(next.id)).toMatchObject({ __typename: 'ConflictError' });
  });
});

describe.concurrent('stopping', () => {
  it('should take everything down and keep the log', async () => {
    const { stackId, ...live } = await acme.deployNew(GOOD);
    await acme.untilLogged(live.id, 'good');
    const stopped = await acme.stop(live.id);
    expect(stopped).toMatchObject({ status: 'STOPPED', statusReason: null });
    expect(stopped.services.map(({ state }) => state)).toEqual(['STOPPED', 'STOPPED']);
    expect(await acme.present(stackId)).toEqual([]);
    expect((await acme.log(live.id)).at(-1)!.message).toBe('deployment stopped');
    expect(await acme.tryStop(live.id)).toMatchObject({ __typename: 'Deployment', status: 'STOPPED' });
    const next = await acme.deploy(stackId);
    expect(next).toMatchObject({ status: 'RUNNING', number: 2 });
    await acme.stop(next.id);
  });

  it('should be a conflict while another is under way, and of what is not live', async () => {
    const { stackId, ...live } = await acme.deployNew(GOOD);
    await acme.changeStack(stackId, SLOW);
    const other = await acme.begin(stackId);
    expect(await acme.tryStop(live.id)).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('another deployment'),
    });
    expect(await acme.tryStop(other.id)).toMatchObject({ __typename: 'ConflictError' });
    await acme.tryCancel(other.id);
    await acme.until(other.id, ['CANCELLED']);
    expect(await acme.tryStop(other.id)).toMatchObject({ __typename: 'ConflictError' });
    await acme.stop(live.id);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
