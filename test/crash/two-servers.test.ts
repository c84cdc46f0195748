import { expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { startServer } from '../support/server.ts';
import { registerAt } from '../support/server-client.ts';
import { ServerPlace } from '../support/server-place.ts';
import { CountedStack, Prober } from './counted-stack.ts';

const TAKEOVER_MS = 15_000;
const SERVICES = { a: { generation: 1, gated: true }, b: { generation: 1, dependsOn: ['a'] } };

it('should let the other server of a host finish what a killed one began', async () => {
  await using database = await createTestDatabase();
  await using place = new ServerPlace();
  const options = { databaseUrl: connectionUrl(database.connection), place };
  await using holder = await startServer(options);
  await using other = await startServer(options);
  const client = (await registerAt(holder)).at(other);
  const { organizationId, environmentId } = await client.createEnvironment();
  const stack = new CountedStack(place.ground, 'stack', await freePort());
  const stackId = await client.createStack(organizationId, stack.name, stack.compose(SERVICES));
  const first = await client.deploy(stackId, environmentId);
  using subscriber = client.followLog(first);
  await eventually('a is started', () => stack.counts().a1);
  await eventually('the subscriber hears of it', () => subscriber.lines.length > 0);
  await stack.webIsUp();
  await using prober = new Prober(stack.webPort);
  const web = stack.webIdentity();

  const before = await epochOf(database);
  await holder.kill9();
  await eventually('a takeover', async () => (await epochOf(database)) > before, { deadlineMs: TAKEOVER_MS });
  stack.open('a', 1);
  await client.until(first, ['RUNNING']);
  expect(stack.counts()).toEqual({ web1: 1, a1: 1, b1: 1 });

  // Work that comes by one server is done by the other; one that is stopped hands its work over.
  await holder.start();
  const next = client.at(holder);
  await next.updateStack(stackId, stack.compose({ ...SERVICES, b: { generation: 2, dependsOn: ['a'] } }));
  await next.until(await next.deploy(stackId, environmentId), ['RUNNING']);
  await eventually('the end of the superseded one’s log', () => subscriber.isComplete);
  expect(await other.stop()).toMatchObject({ code: 0 });
  await next.updateStack(stackId, stack.compose({ ...SERVICES, b: { generation: 3, dependsOn: ['a'] } }));
  await next.until(await next.deploy(stackId, environmentId), ['RUNNING']);

  expect(stack.counts()).toEqual({ web1: 1, a1: 1, b1: 1, b2: 1, b3: 1 });
  expect(stack.running()).toEqual(['a1', 'b3', 'web1']);
  expect(subscriber).toMatchObject({ resumed: 0, missed: 0 });
  expect(subscriber.lines).toEqual(await next.storedLines(first));
  expect(subscriber.lines.map(({ sequence }) => sequence)).toEqual(subscriber.lines.map((_, index) => index + 1));
  expect(prober.failures).toEqual([]);
  expect(stack.webIdentity()).toBe(web);
});

async function epochOf(database: TestDatabase): Promise<number> {
  const { rows } = await database.pool.query<{ epoch: number }>('select max(epoch)::int as epoch from hosts');
  return rows[0]!.epoch;
}
