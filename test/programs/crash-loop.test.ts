import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer, serviceOf } from '../support/deployer.ts';
import { requirePrograms } from '../support/installed-programs.ts';

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  requirePrograms({ '/usr/bin/redis-server': 'redis-server' });
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app?.[Symbol.asyncDispose]());

/** Redis with a setting that it does not know, until the file `mended` is there. */
const CRASHING = `
services:
  cache:
    command: ["sh", "-c", "[ -e data/mended ] || exec redis-server --no-such-setting 1; exec redis-server --bind 127.0.0.1 --port $$PORT --save ''"]
    restart: always
    volumes: ["data:/data"]
  mender:
    command: ["sh", "-c", "[ -e data/slow ] || exec sleep 1000; sleep 6; touch data/mended; exec sleep 1000"]
    volumes: ["data:/data"]
volumes: { data: {} }
`;

describe('a service that crashes again and again', () => {
  it('should not go live, and the reason name its first error', async () => {
    const failed = await acme.deployNew(CRASHING);
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringMatching(
        /^service cache: exited with code 1 \(Bad directive or wrong number of arguments\), restarted [3-9] times$/,
      ),
    });
    const output = await acme.output(failed.id);
    expect(output).toContainEqual(expect.stringMatching(/^cache: .*FATAL CONFIG FILE ERROR/));
    expect(await acme.present(failed.stackId)).toEqual([]);
  });

  it('should be DEGRADED with autoRollback off, and RUNNING once it stays up', async () => {
    const compose = CRASHING.replace('[ -e data/slow ] || exec sleep 1000; ', '');
    const live = await acme.deployNew(compose, { autoRollback: false });
    expect(live).toMatchObject({
      status: 'DEGRADED',
      statusReason: expect.stringMatching(/^service cache: exited with code 1/),
    });
    expect(serviceOf(live, 'cache').replicas[0]!.restarts).toBeGreaterThanOrEqual(3);
    const mended = await acme.until(
      live.id,
      ({ status, services }) => status === 'RUNNING' && services[0]!.state === 'RUNNING',
      60_000,
    );
    expect(mended.statusReason).toBeNull();
    await acme.untilLogged(live.id, 'Ready to accept connections', 60_000);
    await acme.stop(live.id);
  });
});
