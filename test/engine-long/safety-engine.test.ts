import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { dependsOn, stack } from '../support/compose-stacks.ts';
import { type Deployer, type DeploymentView, instancesOf, serviceOf } from '../support/deployer.ts';
import { container, containersOf, deployerOn, type Found, onEngine, outputOf } from '../support/docker/containers.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { eventually } from '../support/eventually.ts';

/** One waits out a deadline, most of them an engine that starts. */
const TIMEOUT_MS = 240_000;
const OUTAGE_MS = 30_000;
const HOLD = 'exec sleep 86400';
const TICK = 'i=0; while :; do i=$$((i + 1)); echo tick $$i; sleep 0.02; done';
const ALWAYS = 'restart: unless-stopped';
/** Neither healthy nor unhealthy before somebody makes the file. */
const GATED = 'healthcheck: { test: ["CMD", "test", "-e", "/open"], interval: 500ms, retries: 100000 }';

describe.skipIf(inject('dockerEngine') === null || process.geteuid?.() !== 0)(
  'an engine that ends',
  { timeout: TIMEOUT_MS },
  () => {
    let engine: OwnEngine;
    let app: TestApp;
    let acme: Deployer;
    beforeAll(async () => {
      engine = await OwnEngine.start('reboot');
      app = await startApp();
      acme = await deployerOn(app, engine.endpoint);
    });
    // One test that fails leaves it down to none of the others.
    beforeEach(() => engine.up());
    afterAll(async () => {
      await app?.[Symbol.asyncDispose]();
      await engine?.[Symbol.asyncDispose]();
    });

    const containers = () => containersOf(engine.docker, decodeIdOf('Environment', acme.environmentId)!);
    const ofStack = async (stackId: string) => {
      const { rows } = await app.database.pool.query<{ id: string }>(
        'select id from stack_environments where stack_id = $1',
        [decodeIdOf('Stack', stackId)],
      );
      const isRunning = ({ labels, state }: Found) =>
        labels['io.windflow.stack'] === rows[0]?.id && state === 'running';
      return (await containers()).filter(isRunning);
    };
    const running = async (stackId: string) =>
      (await ofStack(stackId)).map(({ labels }) => labels['io.windflow.service']).sort();
    const open = async (stackId: string) => {
      for (const { id } of await ofStack(stackId)) {
        const command = await engine.docker.getContainer(id).exec({ Cmd: ['touch', '/open'] });
        await command.start({ Detach: true });
      }
    };
    const isVerifying = ({ status }: DeploymentView) => status === 'VERIFYING';

    it.each(['down', 'cutPower'] as const)('should lose and double nothing when its host ends: %s', async (end) => {
      const lasting = container('lasting', TICK, ALWAYS);
      const { id, stackId, ...first } = await acme.deployNew(stack(lasting, container('once', HOLD, 'restart: "no"')));
      expect(first.status).toBe('RUNNING');
      await acme.untilLogged(id, 'tick 50');
      await engine[end]();
      await engine.up();
      const after = await acme.until(id, ['DEGRADED']);
      expect(after.statusReason).toMatch(/^service once: /);
      expect(serviceOf(after, 'once').state).toBe('EXITED');
      const isUp = (seen: DeploymentView) => serviceOf(seen, 'lasting').state === 'RUNNING';
      expect(instancesOf(await acme.until(id, isUp)).lasting).toBe(instancesOf(first).lasting);

      const again = await acme.deploy(stackId);
      expect({ status: again.status, reason: again.statusReason }).toEqual({ status: 'RUNNING', reason: null });
      expect(instancesOf(again).lasting).toBe(instancesOf(first).lasting);
      expect(await running(stackId)).toEqual(['lasting', 'once']);
      const [ticking] = (await containers()).filter(({ labels }) => labels['io.windflow.service'] === 'lasting');
      await engine.docker.getContainer(ticking!.id).stop({ t: 0 });
      const written = await outputOf(engine.docker, ticking!.id);
      const stored = async () => [...(await ticks(id)), ...(await ticks(again.id))];
      await eventually('every line', async () => (await stored()).length >= written.length);
      expect(await stored()).toEqual(written);
      expect(written.filter((line) => line === 'tick 1')).toHaveLength(2);
      await acme.stop(again.id);
    });

    const ticks = async (id: string) =>
      (await acme.log(id, { streams: ['STDOUT'] }))
        .filter(({ service }) => service === 'lasting')
        .map(({ message }) => message);

    it('should be waited for while it is gone: what runs goes on, what waits says why, what is under way ends well', async () => {
      const calm = await acme.deployNew(stack(container('web', HOLD, ALWAYS)));
      const restarted = await acme.deployNew(stack(container('web', HOLD, ALWAYS)));
      const restored = await acme.deployNew(stack(container('web', HOLD, ALWAYS)));
      await acme.changeStack(restarted.stackId, stack(container('web', HOLD, ALWAYS, GATED)));
      await acme.changeStack(restored.stackId, stack(container('web', HOLD, 'restart: "no"', GATED)));
      const goesLive = await acme.begin(restarted.stackId);
      const comesBack = await acme.begin(restored.stackId);
      await acme.until(goesLive.id, isVerifying);
      await acme.until(comesBack.id, isVerifying);

      await engine.cutPower();
      const back = Date.now() + OUTAGE_MS;
      await acme.changeStack(calm.stackId, stack(container('web', `echo two; ${HOLD}`, ALWAYS)));
      const waiting = await acme.begin(calm.stackId);
      const unheard = await acme.begin(await acme.newStack(stack(container('web', HOLD))));
      for (const { id } of [waiting, unheard]) {
        const { status } = await acme.until(id, ({ statusReason }) =>
          /engine cannot be reached/.test(statusReason ?? ''),
        );
        expect(status).toBe('QUEUED');
      }
      await acme.tryCancel(unheard.id);
      await acme.until(unheard.id, ['CANCELLED']);
      await sleep(Math.max(0, back - Date.now()));
      await engine.up();

      const second = await acme.until(waiting.id, ['RUNNING']);
      expect(second.statusReason).toBeNull();
      expect(await running(calm.stackId)).toEqual(['web']);
      const failed = await acme.until(comesBack.id, ['FAILED']);
      expect(failed.statusReason).toMatch(/^service web: /);
      expect(await acme.until(restored.id, ['RUNNING'])).toMatchObject({ statusReason: null });
      await eventually('the one that restarted', async () => (await running(restarted.stackId)).length === 1);
      await open(restarted.stackId);
      await acme.until(goesLive.id, ['RUNNING']);
      for (const { stackId } of [restarted, restored]) expect(await running(stackId)).toEqual(['web']);
      for (const id of [second.id, goesLive.id, restored.id]) await acme.stop(id);
      await eventually('nothing that is left', async () => (await containers()).length === 0);
    });

    it('should not keep a deployment from its end when it is gone for good, and give back what ran when it comes after all', async () => {
      const { id, stackId } = await acme.deployNew(stack(container('web', HOLD, ALWAYS)));
      await acme.changeStack(stackId, stack(container('web', `echo two; ${HOLD}`, ALWAYS, GATED)));
      const second = await acme.begin(stackId, { healthTimeoutSeconds: 2 });
      await acme.until(second.id, isVerifying);
      await engine.cutPower();
      const failed = await acme.until(second.id, ['FAILED'], 100_000);
      expect(failed.statusReason).toContain('the Docker engine cannot be reached');
      await engine.up();
      await acme.until(id, ({ status, services }) => status === 'RUNNING' && services[0]?.state === 'RUNNING');
      await eventually('one container', async () => (await containers()).length === 1);
      expect(await running(stackId)).toEqual(['web']);
      expect((await acme.stop(id)).status).toBe('STOPPED');
    });

    it('should bring back what ran when a deployment is cancelled in its start or while it is verified', async () => {
      const same = container('same', HOLD, ALWAYS);
      const web = (text: string, ...rest: string[]) => container('web', `echo ${text}; ${HOLD}`, ...rest);
      const first = await acme.deployNew(stack(same, web('one')));
      for (const [what, compose, isThere] of [
        [
          'start',
          stack(same, container('db', HOLD, GATED), web('two', dependsOn('db', 'service_healthy'))),
          ({ services }: DeploymentView) => services.some(({ name, state }) => name === 'db' && state === 'STARTING'),
        ],
        ['verify', stack(same, web('three', GATED)), isVerifying],
      ] as const) {
        await acme.changeStack(first.stackId, compose);
        const { id } = await acme.begin(first.stackId);
        await acme.until(id, isThere);
        await acme.tryCancel(id);
        expect((await acme.until(id, ['CANCELLED'])).steps.at(-1), what).toMatchObject({
          name: 'restore',
          state: 'SUCCEEDED',
        });
        const now = await acme.read(first.id);
        expect(now).toMatchObject({ status: 'RUNNING', statusReason: null });
        expect(instancesOf(now).same).toBe(instancesOf(first).same);
        expect(await running(first.stackId)).toEqual(['same', 'web']);
        if (what === 'start') expect(instancesOf(now).web).toBe(instancesOf(first).web);
      }
      await acme.stop(first.id);
    });

    it('should be left without anything of an environment that is deleted', async () => {
      const there = await onEngine(acme, engine.endpoint, 'short');
      const data = 'volumes: ["data:/data"]';
      const { id } = await there.deployNew(stack(container('web', HOLD, data, ALWAYS)));
      const label = `io.windflow.environment=${decodeIdOf('Environment', there.environmentId)}`;
      const left = async () => {
        const filters = { label: [label] };
        const [found, networks, { Volumes }] = await Promise.all([
          engine.docker.listContainers({ all: true, filters }),
          engine.docker.listNetworks({ filters }),
          engine.docker.listVolumes({ filters }),
        ]);
        return [found.length, networks.length, Volumes.length];
      };
      expect(await left()).toEqual([1, 1, 1]);
      await there.stop(id);
      await there.mutate('environmentDelete', 'Deleted { id }', { environmentId: there.environmentId });
      await eventually('nothing that is left', async () => (await left()).every((count) => count === 0));
      await eventually('the end of its host', async () => (await hosts()) === 1);
    });

    async function hosts(): Promise<number> {
      const { rows } = await app.database.pool.query('select 1 from hosts where connection is not null');
      return rows.length;
    }
  },
);
