import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { startServer } from '../support/server.ts';
import { registerAt } from '../support/server-client.ts';
import { type CountedService, CountedStack, Prober } from './counted-stack.ts';

const INSTANTS = Number(process.env.WINDFLOW_CRASH_INSTANTS ?? 50);
/** A deployment of these services takes less: a crash also comes after its end now and then. */
const LATEST_MS = 1_800;
const SEED = Number(process.env.WINDFLOW_CRASH_SEED ?? 1);

type Kind = 'succeeds' | 'fails' | 'is cancelled';
const ENDS: Record<Kind, string[]> = {
  succeeds: ['RUNNING'],
  fails: ['FAILED'],
  // A cancel may come too late.
  'is cancelled': ['CANCELLED', 'RUNNING'],
};

it(`should end each deployment as if nothing had happened, whenever the server is killed (seed ${SEED})`, async () => {
  const { next: random } = seededRandom(SEED);
  await using database = await createTestDatabase();
  await using server = await startServer({ databaseUrl: connectionUrl(database.connection) });
  const client = await registerAt(server);
  const { organizationId, environmentId } = await client.createEnvironment();
  const stack = new CountedStack(server.place.ground, 'stack', await freePort());
  const services = (generation: number, kind: Kind = 'succeeds'): Record<string, CountedService> => ({
    a: { generation },
    b: { generation, dependsOn: ['a'], ...(kind === 'fails' && { exitCode: 3 }) },
  });
  const stackId = await client.createStack(organizationId, stack.name, stack.compose(services(0)));
  await client.until(await client.deploy(stackId, environmentId), ['RUNNING']);
  await using prober = new Prober(stack.webPort);
  const web = stack.webIdentity();

  let live = 0;
  for (let generation = 1; generation <= INSTANTS; generation++) {
    const drawn = random();
    const kind: Kind = drawn < 0.6 ? 'succeeds' : drawn < 0.8 ? 'fails' : 'is cancelled';
    const afterMs = Math.floor(random() * LATEST_MS);
    const about = `crash ${generation} of seed ${SEED}: one that ${kind}, killed after ${afterMs} ms`;
    await client.updateStack(stackId, stack.compose(services(generation, kind)));
    const deploying = client.deploy(stackId, environmentId);
    const cancelling =
      kind === 'is cancelled' &&
      deploying.then(async (id) => {
        await sleep(Math.floor(random() * afterMs));
        // Live already: then there is nothing to cancel.
        await client.cancel(id).catch(() => undefined);
      });
    await sleep(afterMs);
    await server.restart();
    const id = await deploying;
    await cancelling;
    const { status } = await client.until(id, ENDS[kind]);
    if (status === 'RUNNING') live = generation;
    expect(stack.running(), about).toEqual([`a${live}`, `b${live}`, 'web1']);
    if (kind === 'succeeds')
      expect(stack.counts(), about).toMatchObject({ [`a${generation}`]: 1, [`b${generation}`]: 1 });
  }

  await eventually('one request more', () => prober.requests > 10);
  await prober[Symbol.asyncDispose]();
  expect(prober.failures).toEqual([]);
  expect(stack.webIdentity()).toBe(web);
  const { rows } = await database.pool.query<{ service: string; count: number }>(
    'select service, count(*)::int as count from instances group by service',
  );
  for (const { service, count } of rows) {
    const started = stack.starts().filter((start) => start.service === service).length;
    expect(started, `starts of ${service}, each an instance of its own`).toBeLessThanOrEqual(count);
  }
});
