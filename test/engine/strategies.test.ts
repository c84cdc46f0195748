import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import type { Deployer } from '../support/deployer.ts';
import { containersOf, deployerOn } from '../support/docker/containers.ts';
import { buildHaproxyImage } from '../support/docker/haproxy-image.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { startClient } from '../support/docker/request-client.ts';
import { versionedWeb } from '../support/docker/versioned-web.ts';
import { eventually } from '../support/eventually.ts';

const IS_ROOT = process.geteuid?.() === 0;
const PORT = 8_090;
const ROLL_OUTS = 2;
const MIN_REQUESTS = 2_000;
const TEST_MS = 600_000;

const web = (version: string, ...more: string[]) => versionedWeb(PORT, version, ...more);

describe.skipIf(!IS_ROOT)('strategies', () => {
  let engine: OwnEngine;
  let app: TestApp;
  let acme: Deployer;
  beforeAll(async () => {
    engine = await OwnEngine.start('strategies');
    const ingressImage = await buildHaproxyImage(engine.docker);
    app = await startApp({ ingressImage });
    acme = await deployerOn(app, engine.endpoint);
  }, TEST_MS);
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  const present = () => containersOf(engine.docker, decodeIdOf('Environment', acme.environmentId)!);
  const instances = async () => {
    const found = (await present()).filter(({ state }) => state === 'running');
    return found.flatMap(({ labels }) => labels['io.windflow.instance'] ?? []);
  };

  it('should lose no request while versions come and go, replica by replica or as a whole', {
    timeout: TEST_MS,
  }, async () => {
    const { id, stackId } = await acme.deployNew(web('v0'));
    const client = startClient(engine, PORT);
    await client.whenAnsweredBy('v0');
    let last = id;
    let before = new Set(await instances());
    for (let turn = 1; turn <= ROLL_OUTS; turn++) {
      await acme.changeStack(stackId, web(`v${turn}`));
      const deployed = await acme.deploy(stackId, { strategy: turn % 2 === 0 ? 'BLUE_GREEN' : 'ROLLING' });
      expect(deployed).toMatchObject({ status: 'RUNNING', statusReason: null });
      await client.whenAnsweredBy(`v${turn}`);
      const after = new Set(await instances());
      expect(after.size).toBe(2);
      expect(before.intersection(after).size).toBe(0);
      before = after;
      last = deployed.id;
    }
    await eventually('enough requests', () => client.seen.requests >= MIN_REQUESTS, { deadlineMs: TEST_MS });
    const { requests, kept, failures, versions } = await client.end();
    expect(failures).toEqual([]);
    expect(kept).toBeGreaterThan(requests / 10);
    expect(Object.keys(versions)).toHaveLength(ROLL_OUTS + 1);
    await acme.stop(last);
    expect(await present()).toEqual([]);
  });

  it('should put what ran back without an interruption when the new one does not come up', {
    timeout: TEST_MS,
  }, async () => {
    const { id, stackId } = await acme.deployNew(web('good'));
    const before = (await instances()).sort();
    const client = startClient(engine, PORT);
    await client.whenAnsweredBy('good');
    for (const strategy of ['ROLLING', 'BLUE_GREEN']) {
      await acme.changeStack(stackId, web('bad').replace('exec httpd', 'exit 3; exec httpd'));
      const failed = await acme.begin(stackId, { strategy });
      expect((await acme.until(failed.id, ['FAILED'])).statusReason).toContain('exited with code 3');
      expect((await instances()).sort()).toEqual(before);
      expect((await acme.read(id)).status).toBe('RUNNING');
    }
    const asked = client.seen.requests;
    await eventually('it to be asked still', () => client.seen.requests > asked + 100);
    const { failures, versions } = await client.end();
    expect(failures).toEqual([]);
    expect(Object.keys(versions)).toEqual(['good']);
    await acme.stop(id);
  });

  it('should refuse by name what cannot run twice, and plan an interruption otherwise', async () => {
    const named = web('one', 'volumes: ["data:/data"]').replace('services:', 'volumes: { data: {} }\nservices:');
    const { id, stackId } = await acme.deployNew(named);
    await acme.changeStack(stackId, named.replace('echo one', 'echo two'));
    const why = 'service web writes to /data, which allows one writer';
    const failed = await acme.begin(stackId, { strategy: 'ROLLING' });
    expect((await acme.until(failed.id, ['FAILED'])).statusReason).toContain(why);
    const plan = (input: object) =>
      acme.try('deploymentPlan', 'DeploymentPlan { strategy findings { rule message } }', {
        stackId,
        environmentId: acme.environmentId,
        ...input,
      });
    const refused = await plan({ strategy: 'BLUE_GREEN' });
    expect(refused).toMatchObject({ __typename: 'ValidationError', fields: [{ path: ['strategy'] }] });
    expect(refused.message).toContain(why);
    const planned = await plan({});
    expect(planned.strategy).toBe('RECREATE');
    expect(planned.findings).toContainEqual({ rule: 'strategy', message: expect.stringContaining(why) });
    await acme.stop(id);
    const { stackId: rolling, id: other } = await acme.deployNew(web('one'));
    await acme.changeStack(rolling, web('two'));
    const input = { stackId: rolling, environmentId: acme.environmentId };
    expect((await acme.mutate('deploymentPlan', 'DeploymentPlan { strategy }', input)).strategy).toBe('ROLLING');
    await acme.stop(other);
  });
});
