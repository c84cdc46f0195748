import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack, ticking } from '../support/compose-stacks.ts';
import { DEPLOYMENT, Deployer, type DeploymentView, instancesOf, serviceOf } from '../support/deployer.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as the test asked for them.
type Data = any;
type Settled = DeploymentView & {
  trigger: string;
  stackVersion: { number: number };
  rollbackOf: { id: string } | null;
  source: { id: string } | null;
};

const WHENCE = `${DEPLOYMENT} trigger stackVersion { number } rollbackOf { id } source { id }`;

let app: TestApp;
let acme: Deployer;
let rival: Deployer;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  rival = await acme.newTenant('Rival');
});
afterAll(() => app[Symbol.asyncDispose]());

const tryRollback = (deploymentId: string, input: object = {}, by = acme): Promise<Data> =>
  by.try('deploymentRollback', `Deployment { ${WHENCE} }`, { deploymentId, ...input });
const tryRedeploy = (deploymentId: string, input: object = {}, by = acme): Promise<Data> =>
  by.try('deploymentRedeploy', `Deployment { ${WHENCE} }`, { deploymentId, ...input });

async function settled(made: Data): Promise<Settled> {
  if (made.__typename !== 'Deployment') throw new Error(JSON.stringify(made));
  const { status } = await acme.until(made.id, ['RUNNING', 'DEGRADED', 'FAILED', 'CANCELLED']);
  const { deployment } = await acme.ask(`query ($id: ID!) { deployment(id: $id) { ${WHENCE} } }`, { id: made.id });
  return { ...deployment, status };
}
const rollback = async (id: string, input?: object): Promise<Settled> => settled(await tryRollback(id, input));
const redeploy = async (id: string, input?: object): Promise<Settled> => settled(await tryRedeploy(id, input));

/** Environment variables of the process that a service says it is: as the kernel has them. */
async function environmentOf(deploymentId: string): Promise<Record<string, string>> {
  const lines = await acme.log(deploymentId, { search: 'pid ' });
  const pid = Number(lines.at(-1)!.message.split(' ')[1]);
  const text = await readFile(`/proc/${pid}/environ`, 'utf8');
  return Object.fromEntries(
    text.split('\0').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
}

const showing = (word: string, ...rest: string[]) =>
  stack(service('web', `echo ${word} pid; echo pid $$$$; exec sleep 1000`, 'ports: ["80"]', ...rest));
const LEVELS = 'environment: { LEVEL: "${LEVEL:-none}", TOKEN: "${TOKEN:-none}" }';

// On stacks of their own, and they wait more than they work.
describe.concurrent('a rollback', () => {
  it('should run exactly what ran: compose file, variables, secrets and ports', async () => {
    await acme.setVariable('LEVEL', 'one');
    await acme.setVariable('TOKEN', 'secret-of-the-first', true);
    const first = await acme.deployNew(showing('one', LEVELS));
    const ports = serviceOf(first, 'web').replicas[0]!.ports;
    await acme.untilLogged(first.id, 'pid ');
    await acme.setVariable('LEVEL', 'two');
    await acme.setVariable('TOKEN', 'secret-of-the-second', true);
    await acme.changeStack(first.stackId, showing('two', LEVELS).replace('"80"', '"81"'));
    const second = await acme.deploy(first.stackId);
    await acme.untilLogged(second.id, 'two pid');
    await acme.setVariable('LEVEL', 'three');

    const back = await rollback(second.id);
    expect(back).toMatchObject({
      status: 'RUNNING',
      number: 3,
      trigger: 'ROLLBACK',
      stackVersion: { number: 1 },
      rollbackOf: { id: second.id },
      source: { id: first.id },
    });
    expect(serviceOf(back, 'web').replicas[0]!.ports).toEqual(ports);
    await acme.untilLogged(back.id, 'one pid');
    expect(await environmentOf(back.id)).toMatchObject({ LEVEL: 'one', TOKEN: 'secret-of-the-first' });
    expect(await acme.read(second.id)).toMatchObject({ status: 'SUPERSEDED', supersededBy: { id: back.id } });
    const { rows } = await app.database.pool.query('select release_id from deployments where id = any($1)', [
      [first, back].map(({ id }) => decodeIdOf('Deployment', id)),
    ]);
    expect(rows[0]).toEqual(rows[1]);

    const today = await redeploy(back.id);
    expect(today).toMatchObject({
      status: 'RUNNING',
      trigger: 'REDEPLOY',
      stackVersion: { number: 1 },
      rollbackOf: null,
      source: null,
    });
    await acme.untilLogged(today.id, 'one pid');
    expect(await environmentOf(today.id)).toMatchObject({ LEVEL: 'three', TOKEN: 'secret-of-the-second' });
    await acme.stop(today.id);
  });

  it('should go back one more each time, past what ran the same release, until nothing earlier is left', async () => {
    const first = await acme.deployNew(showing('one'));
    const { stackId } = first;
    const next = async (word: string) => {
      await acme.changeStack(stackId, showing(word));
      return acme.deploy(stackId);
    };
    const second = await next('two');
    await acme.changeStack(stackId, stack(service('web', 'exit 3')));
    const broken = await acme.deploy(stackId);
    expect(broken.status).toBe('FAILED');
    const fourth = await next('four');
    const toSecond = await rollback(fourth.id);
    expect([toSecond.source!.id, toSecond.stackVersion.number]).toEqual([second.id, 2]);
    const toFirst = await rollback(toSecond.id);
    expect([toFirst.source!.id, toFirst.rollbackOf!.id]).toEqual([first.id, toSecond.id]);
    expect(await tryRollback(toFirst.id)).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('nothing to go back to'),
    });
    const forth = await rollback(toFirst.id, { toDeploymentId: toSecond.id });
    expect([forth.source!.id, forth.stackVersion.number]).toEqual([second.id, 2]);
    await acme.untilLogged(forth.id, 'two pid');
    await acme.stop(forth.id);
    expect(await tryRollback(forth.id)).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('nothing of this stack runs here'),
    });
  });

  it('should leave alone what is the same in both', async () => {
    const two = (word: string) => stack(ticking('web', word), ticking('db', 'base'));
    const first = await acme.deployNew(two('one'));
    await acme.changeStack(first.stackId, two('two'));
    const second = await acme.deploy(first.stackId);
    const back = await rollback(second.id);
    expect(instancesOf(back).db).toBe(instancesOf(first).db);
    expect(back.steps).toContainEqual(
      expect.objectContaining({ name: 'start db', state: 'SKIPPED', message: 'unchanged' }),
    );
    await acme.stop(back.id);
  });

  it('should be refused for what is not live, was never live, or is of another stack', async () => {
    const first = await acme.deployNew(showing('one'));
    const other = await acme.deployNew(showing('other'));
    await acme.changeStack(first.stackId, stack(service('web', 'exit 3')));
    const failed = await acme.deploy(first.stackId);
    expect(await tryRollback(failed.id)).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('deployment 1 is what runs'),
    });
    for (const toDeploymentId of [failed.id, other.id, first.id])
      expect(await tryRollback(first.id, { toDeploymentId })).toMatchObject({
        __typename: 'ValidationError',
        fields: [{ path: ['toDeploymentId'] }],
      });
    expect(await acme.read(first.id)).toMatchObject({ status: 'RUNNING' });
    await acme.stop(first.id);
    await acme.stop(other.id);
  });

  it('should be refused for what is stopping', async () => {
    const first = await acme.deployNew(showing('one'));
    await acme.changeStack(first.stackId, stack(service('web', "trap '' TERM; while :; do sleep 1 & wait; done")));
    const second = await acme.deploy(first.stackId);
    await acme.mutate('deploymentStop', 'Deployment { id }', { deploymentId: second.id });
    expect(await tryRollback(second.id)).toMatchObject({ __typename: 'ConflictError' });
    await acme.until(second.id, ['STOPPED']);
  });

  it('should fail, with nothing touched, when a secret that it ran with is gone, but not for one that it did not use', async () => {
    await acme.setVariable('GONE', 'secret-that-is-deleted', true);
    await acme.setVariable('UNUSED', 'secret-that-is-not-used', true);
    const first = await acme.deployNew(showing('one', 'environment: { GONE: "${GONE}" }'));
    await acme.changeStack(first.stackId, showing('two'));
    const second = await acme.deploy(first.stackId);
    const remove = (name: string) =>
      acme.mutate('environmentVariableDelete', 'Environment { id }', { environmentId: acme.environmentId, name });
    await remove('UNUSED');
    const back = await rollback(second.id);
    expect(back.status).toBe('RUNNING');
    await acme.changeStack(first.stackId, showing('three'));
    const third = await acme.deploy(first.stackId);
    await remove('GONE');
    const failed = await rollback(third.id, { toDeploymentId: back.id });
    expect(failed).toMatchObject({ status: 'FAILED', statusReason: 'the secret GONE that it ran with was deleted' });
    expect(instancesOf(await acme.read(third.id))).toEqual(instancesOf(third));
    await acme.stop(third.id);
  });

  it('should fail, with nothing touched, when a port that it had is somebody else’s now', async () => {
    const first = await acme.deployNew(showing('one'));
    const { published } = serviceOf(first, 'web').replicas[0]!.ports[0]!;
    await acme.changeStack(
      first.stackId,
      stack(service('web', 'exec sleep 1000', 'ports: ["81", "82"]')).replace('web', 'api'),
    );
    const second = await acme.deploy(first.stackId);
    const stranger = createServer();
    await new Promise<void>((resolve) => stranger.listen(published, '0.0.0.0', resolve));
    const failed = await rollback(second.id);
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: `service web: port ${published}/tcp is already in use by another program on this host`,
    });
    expect((await acme.read(second.id)).status).toBe('RUNNING');
    stranger.close();
    await acme.stop(second.id);
  });

  it('should be undone like any other when it does not become live', async () => {
    const first = await acme.deployNew(
      stack(service('web', 'test ! -e broken || exit 4; exec sleep 1000', 'volumes: ["data:/data"]')),
    );
    const dooming = stack(service('web', 'touch broken; echo doomed; exec sleep 1000', 'volumes: ["data:/data"]'));
    await acme.changeStack(first.stackId, dooming);
    const second = await acme.deploy(first.stackId);
    await acme.untilLogged(second.id, 'doomed');
    const failed = await rollback(second.id);
    expect(failed).toMatchObject({ status: 'FAILED', statusReason: expect.stringContaining('exited with code 4') });
    const restored = await acme.read(second.id);
    expect(restored.status).toBe('RUNNING');
    expect(await acme.present(first.stackId)).toEqual(['web']);
    await acme.stop(second.id);
  });

  it('should be granted once for an idempotency key, also when it has been carried out', async () => {
    const first = await acme.deployNew(showing('one'));
    await acme.changeStack(first.stackId, showing('two'));
    const second = await acme.deploy(first.stackId);
    const key = { idempotencyKey: `back-${first.id.slice(-20)}` };
    const [one, two] = await Promise.all([tryRollback(second.id, key), tryRollback(second.id, key)]);
    expect(one.id).toBe(two.id);
    const back = await settled(one);
    expect((await tryRollback(second.id, key)).id).toBe(back.id);
    expect(await tryRollback(back.id, key)).toMatchObject({ __typename: 'ConflictError' });
    expect(await tryRedeploy(second.id, key)).toMatchObject({ __typename: 'ConflictError' });
    const again = { idempotencyKey: `again-${first.id.slice(-20)}` };
    const [three, four] = await Promise.all([tryRedeploy(first.id, again), tryRedeploy(first.id, again)]);
    expect(three.id).toBe(four.id);
    await acme.stop((await settled(three)).id);
  });
});

describe('a redeploy', () => {
  it('should touch nothing where nothing differs, and bring back what was stopped or has failed', async () => {
    const first = await acme.deployNew(showing('one'), { healthTimeoutSeconds: 60, autoRollback: false });
    const same = await redeploy(first.id);
    expect(instancesOf(same)).toEqual(instancesOf(first));
    await acme.stop(same.id);
    const back = await redeploy(first.id);
    expect(back).toMatchObject({ status: 'RUNNING', number: 3 });
    const { rows } = await app.database.pool.query(
      'select auto_rollback, health_timeout_seconds from deployments where id = $1',
      [decodeIdOf('Deployment', back.id)],
    );
    expect(rows[0]).toEqual({ auto_rollback: false, health_timeout_seconds: 60 });
    await acme.stop(back.id);
  });
});

describe('who may roll back and redeploy', () => {
  it('should be whoever may deploy there', async () => {
    const first = await acme.deployNew(showing('one'));
    await acme.changeStack(first.stackId, showing('two'));
    const second = await acme.deploy(first.stackId);
    const viewer = await acme.addMember('VIEWER');
    for (const attempt of [tryRollback, tryRedeploy]) {
      expect(await attempt(second.id, {}, viewer)).toMatchObject({ code: 'PERMISSION_DENIED' });
      expect(await attempt(second.id, {}, rival)).toMatchObject({ __typename: 'NotFoundError' });
    }
    const own = await rival.deployNew(showing('rival'));
    expect(await tryRollback(second.id, { toDeploymentId: own.id })).toMatchObject({ __typename: 'NotFoundError' });
    expect((await acme.read(second.id)).status).toBe('RUNNING');
    await acme.stop(second.id);
    await rival.stop(own.id);
  });
});
