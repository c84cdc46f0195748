import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { stack } from '../support/compose-stacks.ts';
import { type Deployer, instancesOf } from '../support/deployer.ts';
import { container, containersOf, deployerOn, IMAGE } from '../support/docker/containers.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { eventually } from '../support/eventually.ts';
import { fillDisk } from '../support/fill-disk.ts';

const DISK_MB = 128;
const HOLD = 'exec sleep 86400';
const FULL = /no space left on device/i;

describe.skipIf(inject('dockerEngine') === null || process.geteuid?.() !== 0)('an engine whose disk is full', () => {
  let engine: OwnEngine;
  let app: TestApp;
  let acme: Deployer;
  beforeAll(async () => {
    engine = await OwnEngine.start('disk', { diskMb: DISK_MB });
    app = await startApp();
    acme = await deployerOn(app, engine.endpoint);
  });
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  const web = (text: string) => container('web', `echo ${text}; ${HOLD}`, 'restart: unless-stopped');
  const built = (step: string) =>
    web('built').replace(
      `image: ${IMAGE}`,
      `build: { context: ., dockerfile_inline: ${JSON.stringify(`FROM ${IMAGE}\nRUN ${step}\n`)} }`,
    );
  const seen = async () =>
    (await containersOf(engine.docker, decodeIdOf('Environment', acme.environmentId)!)).map(({ id, state }) => [
      id,
      state,
    ]);

  it('should touch nothing when an image does not fit', async () => {
    const live = await acme.deployNew(stack(web('one')));
    const before = await seen();
    await acme.changeStack(live.stackId, stack(built(`dd if=/dev/zero of=/big bs=1M count=${2 * DISK_MB}`)));
    const failed = await acme.until((await acme.begin(live.stackId)).id, ['FAILED']);
    expect(failed.statusReason).toMatch(/^service web: the command .* returned a non-zero code: 1/);
    expect(await acme.log(failed.id, { search: 'No space left on device', streams: ['SYSTEM'] })).toHaveLength(1);
    expect(failed.steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
    expect(await seen()).toEqual(before);
    expect(await acme.read(live.id)).toMatchObject({ status: 'RUNNING', statusReason: null });
    await acme.stop(live.id);
  });

  it('should go on with what ran, or bring it back, when no container can be made', async () => {
    const live = await acme.deployNew(stack(web('one')));
    const before = instancesOf(live);
    const filler = path.join(engine.folder, 'filler');
    fillDisk(filler);
    await acme.changeStack(live.stackId, stack(web('two')));
    const failed = await acme.until((await acme.begin(live.stackId)).id, ['FAILED']);
    expect(failed.statusReason).toMatch(FULL);
    expect((await seen()).map(([, state]) => state)).toEqual(['running']);
    expect(await acme.read(live.id)).toMatchObject({ status: 'RUNNING', statusReason: null });
    expect(instancesOf(await acme.read(live.id))).toEqual(before);
    rmSync(filler);
    const { id, status } = await acme.deploy(live.stackId);
    expect(status).toBe('RUNNING');
    await acme.untilLogged(id, 'two');
    await acme.stop(id);
    await eventually('nothing that is left', async () => (await seen()).length === 0);
  });
});
