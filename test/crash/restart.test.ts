import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { prepareServer, startServer } from '../support/server.ts';
import { registerAt } from '../support/server-client.ts';
import { isAlive, startTimeOf } from '../support/server-place.ts';

const STOP_LIMIT_MS = 5_000;
const TICKER = 'echo "pid $$$$"; n=0; while :; do n=$$((n+1)); echo "tick $$n"; sleep 0.05; done';

it('should stop within 5 s, and adopt at the next start what ran on', async () => {
  await using server = await startServer();
  const client = await registerAt(server);
  const { organizationId, environmentId } = await client.createEnvironment();
  const compose = JSON.stringify({ services: { ticker: { command: ['sh', '-c', TICKER] } } });
  const stackId = await client.createStack(organizationId, 'ticker', compose);
  const deploymentId = await client.deploy(stackId, environmentId);
  await client.until(deploymentId, ['RUNNING']);
  const readLines = async () => (await client.storedLines(deploymentId)).filter(({ stream }) => stream === 'STDOUT');
  const pid = Number((await readLines())[0]!.message.split(' ')[1]);
  const startTime = startTimeOf(pid);
  const instance = (await client.deployment(deploymentId)).services[0]!.replicas[0]!.instance;

  const { code, tookMs } = await server.stop();
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(STOP_LIMIT_MS);
  expect(server.place.postmaster()).toBeNull();
  expect(isAlive(pid)).toBe(true);
  const stopped = performance.now();
  await eventually('lines that nobody collects', () => performance.now() - stopped > 1_000);

  await server.start();
  expect(startTimeOf(pid)).toBe(startTime);
  expect((await client.deployment(deploymentId)).services[0]!.replicas).toMatchObject([{ instance, restarts: 0 }]);
  const stored = (await readLines()).length;
  await eventually('lines that were written since', async () => (await readLines()).length > stored + 20);
  const ticks = (await readLines()).slice(1).map(({ message }) => message);
  expect(ticks).toEqual(ticks.map((_, index) => `tick ${index + 1}`));
});

it('should refuse a second start on a data directory in use, and another secret key, in words', async () => {
  await using server = await startServer();
  const { place } = server;
  await using second = await prepareServer({ place });
  expect(await second.launch()).toBe(1);
  expect(second.log).toContain(`another WindFlow server already uses the data directory ${place.dataDirectory}`);
  await registerAt(server);

  await server.stop();
  const env = { WINDFLOW_SECRET_KEY: randomBytes(32).toString('base64') };
  await using stranger = await prepareServer({ place, env });
  expect(await stranger.launch()).toBe(1);
  expect(stranger.log).toMatch(/WindFlow did not start: .*key/i);
  expect(place.postmaster()).toBeNull();
  await server.start();
});
