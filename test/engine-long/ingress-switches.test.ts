import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildHaproxyImage } from '../support/docker/haproxy-image.ts';
import { createScene, routeTo, type Scene } from '../support/docker/ingress-scene.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { startClient } from '../support/docker/request-client.ts';

const MIN_REQUESTS = 1_500;
const SWITCHES = 3;
const DRAIN_MS = 30_000;
const TEST_MS = 400_000;
const PUBLISHED = 8_080;

let engine: OwnEngine;
let image: string;

beforeAll(async () => {
  engine = await OwnEngine.start('switches');
  image = await buildHaproxyImage(engine.docker);
});
afterAll(() => engine?.[Symbol.asyncDispose]());

test.each(['http', null] as const)('should lose no request of protocol %s while versions are switched', {
  timeout: TEST_MS,
}, async (protocol) => {
  await using scene = await createScene(engine, image);
  let running = await start(scene, 'v0');
  await scene.ingress.route(scene.stack, [routeTo(PUBLISHED, protocol, running)], 1);
  const client = startClient(engine, PUBLISHED);

  for (let version = 1; version <= SWITCHES; version += 1) {
    const next = await start(scene, `v${version}`);
    await client.whenAsked(MIN_REQUESTS / SWITCHES);
    await scene.ingress.route(scene.stack, [routeTo(PUBLISHED, protocol, next)], 1);
    await scene.ingress.drain(scene.stack, DRAIN_MS, new AbortController().signal);
    for (const instanceId of running) await scene.stop(instanceId);
    running = next;
    await client.whenAnsweredBy(`v${version}`);
  }
  const { requests, kept, failures, versions } = await client.end();

  console.log({ protocol, requests, kept, failures: failures.length, versions });
  expect(failures).toEqual([]);
  expect(requests).toBeGreaterThan(MIN_REQUESTS);
  expect(kept).toBeGreaterThan(requests / 10);
  expect(Object.keys(versions)).toHaveLength(SWITCHES + 1);
});

/** Two replicas. */
function start(scene: Scene, version: string): Promise<string[]> {
  return Promise.all([scene.start(version), scene.start(version)]);
}
