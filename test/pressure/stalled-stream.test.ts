import { once } from 'node:events';
import { request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { STALL_MS } from '../../src/server/stall-watch.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { readMetric } from '../support/metrics.ts';

/** More than what the system keeps for a connection that is not read. */
const FLOOD = `yes ${'x'.repeat(700)} | head -n 30000; exec sleep 1000`;
const LOG = 'subscription ($id: ID!) { deploymentLogs(deploymentId: $id) { lines { message } } }';
const DEADLINE_MS = 2 * STALL_MS;

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app[Symbol.asyncDispose]());

/** How many subscriptions over HTTP the server has under way. */
const streams = (url: URL) => readMetric(url, 'windflow_subscriptions{transport="http"}');

it('should cut off a stream of server-sent events whose reader takes nothing, and leave alone one that has nothing to take', {
  timeout: DEADLINE_MS + 60_000,
}, async () => {
  const url = new URL(app.url);
  const open = async (id: string) => {
    const sent = request(url, {
      method: 'POST',
      headers: {
        accept: 'text/event-stream',
        'content-type': 'application/json',
        authorization: `Bearer ${acme.token}`,
      },
    });
    sent.on('error', () => undefined).end(JSON.stringify({ query: LOG, variables: { id } }));
    const [response] = await once(sent, 'response');
    return response.on('error', () => undefined);
  };
  const quiet = await acme.deployNew(stack(service('web', 'exec sleep 1000')));
  const idle = await open(quiet.id);
  let isOver = false;
  idle.resume().once('close', () => {
    isOver = true;
  });
  const noisy = await acme.deployNew(stack(service('web', FLOOD)));
  const stalled = await open(noisy.id);
  await eventually('both to have begun', async () => (await streams(url)) === 2);
  stalled.pause();
  await eventually('the end of one', async () => (await streams(url)) === 1, { deadlineMs: DEADLINE_MS });
  expect(isOver).toBe(false);
  idle.destroy();
  stalled.destroy();
});
