import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { stack } from '../support/compose-stacks.ts';
import { type Deployer, instancesOf } from '../support/deployer.ts';
import { clientOf, container, containersOf, deployerOn, IMAGE } from '../support/docker/containers.ts';
import { eventually } from '../support/eventually.ts';

const endpoint = inject('dockerEngine');
const HOLD = 'exec sleep 86400';

describe.skipIf(endpoint === null)('deployments on a Docker engine', () => {
  const docker = clientOf(endpoint ?? '');
  let app: TestApp;
  let acme: Deployer;
  beforeAll(async () => {
    app = await startApp();
    acme = await deployerOn(app, endpoint!);
  });
  afterAll(async () => {
    await app[Symbol.asyncDispose]();
    for (const { id } of await present()) await docker.getContainer(id).remove({ force: true, v: true });
  });

  const present = () => containersOf(docker, decodeIdOf('Environment', acme.environmentId)!);
  const ofService = async (service: string) =>
    (await present()).filter(({ labels, state }) => labels['io.windflow.service'] === service && state === 'running');

  it('should run, tell every line, find peers by name, and take everything away', async () => {
    const web = container(
      'web',
      `echo hello from web; until nc db 5432 </dev/null; do sleep 0.1; done; echo found db; ${HOLD}`,
    );
    const db = container('db', 'echo listening; nc -ll -p 5432 -e cat');
    const { id, status, statusReason, services } = await acme.deployNew(stack(web, db));
    expect({ status, statusReason }).toEqual({ status: 'RUNNING', statusReason: null });
    expect(services.map(({ name, state }) => [name, state])).toEqual([
      ['db', 'RUNNING'],
      ['web', 'RUNNING'],
    ]);
    await acme.untilLogged(id, 'found db');
    expect(await acme.output(id)).toEqual(
      expect.arrayContaining(['web: hello from web', 'db: listening', 'web: found db']),
    );
    const labels = (await present()).map((found) => found.labels);
    expect(new Set(labels.map((each) => each['com.docker.compose.service']))).toEqual(new Set(['web', 'db']));
    expect(new Set(labels.map((each) => each['com.docker.compose.project'])).size).toBe(1);
    expect((await acme.stop(id)).status).toBe('STOPPED');
    await eventually('the end of all containers', async () => (await present()).length === 0);
  });

  it('should leave alone what is the same, and go back to exactly what ran', async () => {
    const web = (text: string) => container('web', `echo ${text}; ${HOLD}`);
    const same = container('same', `echo same; ${HOLD}`);
    const first = await acme.deployNew(stack(web('one'), same));
    const before = instancesOf(first);
    await acme.changeStack(first.stackId, stack(web('two'), same));
    const second = await acme.deploy(first.stackId);
    expect(second.status).toBe('RUNNING');
    expect(instancesOf(second).same).toBe(before.same);
    expect(instancesOf(second).web).not.toBe(before.web);
    const again = await acme.deploy(first.stackId);
    expect(instancesOf(again)).toEqual(instancesOf(second));
    const { id } = await acme.mutate('deploymentRollback', 'Deployment { id }', {
      deploymentId: again.id,
      toDeploymentId: first.id,
    });
    const back = await acme.until(id, ['RUNNING']);
    expect(instancesOf(back).same).toBe(before.same);
    await acme.untilLogged(id, 'one');
    await acme.stop(id);
  });

  it('should restore what ran when the new one fails, and say why', async () => {
    const good = container('web', `echo good; ${HOLD}`);
    const { id, stackId } = await acme.deployNew(stack(good));
    for (const [bad, why] of [
      [container('web', 'echo no config >&2; exit 3'), 'exited with code 3 (no config)'],
      [container('web', HOLD, 'healthcheck: { test: ["CMD", "false"], interval: 100ms, retries: 2 }'), 'health check'],
      [good.replace('["sh", "-c",', '["ngnix", "-g",'), 'command not found: ngnix'],
    ] as const) {
      await acme.changeStack(stackId, stack(bad));
      const failed = await acme.begin(stackId);
      const ended = await acme.until(failed.id, ['FAILED']);
      expect(ended.statusReason).toContain(why);
      expect((await acme.read(id)).status).toBe('RUNNING');
      expect(await ofService('web')).toHaveLength(1);
    }
    await acme.stop(id);
  });

  it('should make anew what shares the network of a container that somebody removed', async () => {
    const db = container('db', HOLD, 'restart: always');
    const beside = container('beside', HOLD, 'network_mode: "service:db"', 'restart: always');
    const apart = container('apart', HOLD, 'restart: always');
    const { id } = await acme.deployNew(stack(db, beside, apart));
    const [before] = await ofService('db');
    const [untouched] = await ofService('apart');
    await docker.getContainer(before!.id).remove({ force: true });
    await eventually('a container in the new one’s network', async () => {
      const [[now], [sharing]] = await Promise.all([ofService('db'), ofService('beside')]);
      if (!now || !sharing || now.id === before!.id) return false;
      const { HostConfig } = await docker.getContainer(sharing.id).inspect();
      return HostConfig.NetworkMode === `container:${now.id}`;
    });
    await acme.until(id, ['RUNNING']);
    expect((await ofService('apart'))[0]!.id).toBe(untouched!.id);
    await acme.stop(id);
  });

  it('should touch nothing where an image cannot be had, and say which', async () => {
    const { id, stackId, services } = await acme.deployNew(stack(container('web', HOLD)));
    await acme.changeStack(stackId, stack(container('web', HOLD).replace(IMAGE, 'registry.invalid/no:1')));
    const ended = await acme.until((await acme.begin(stackId)).id, ['FAILED']);
    expect(ended.statusReason).toContain('registry.invalid/no:1');
    expect(instancesOf(await acme.read(id))).toEqual(instancesOf({ services }));
    await acme.stop(id);
  });

  it('should show what differs from what runs, changes by hand included', async () => {
    const { id, stackId } = await acme.deployNew(stack(container('web', HOLD, 'mem_limit: 64m')));
    const plan = async () =>
      (
        await acme.mutate(
          'deploymentPlan',
          'DeploymentPlan { id strategy changes { service action fields { path before after } } }',
          { stackId, environmentId: acme.environmentId },
        )
      ).changes[0];
    expect(await plan()).toEqual({ service: 'web', action: 'UNCHANGED', fields: [] });
    const containerId = (await ofService('web'))[0]!.id;
    await docker.getContainer(containerId).update({ Memory: 32 * 1024 * 1024, MemorySwap: 64 * 1024 * 1024 });
    const { action, fields } = await plan();
    expect(action).toBe('RECREATE');
    expect(fields).toContainEqual(expect.objectContaining({ path: expect.stringContaining('mem_limit') }));
    await docker.getContainer(containerId).remove({ force: true });
    await eventually('the plan to miss it', async () => (await plan()).action !== 'UNCHANGED');
    await acme.stop(id).catch(() => undefined);
  });
});
