import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { HeldLock } from '../support/held-lock.ts';
import { expectInOrder } from '../support/order-of-work.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { type Deployment, registerAt, type ServerClient } from '../support/server-client.ts';

const AT_ONCE = 10;
const COMPOSE = { services: { web: { command: ['sleep', '1000'] } } };

type Moment = {
  name: string;
  /** SQL that keeps the server from going on, taken before anything is created. */
  hold?: string;
  /** Killed while the mutations are under way, not after their answers. */
  unanswered?: boolean;
};
const MOMENTS: Moment[] = [
  { name: 'before any of them is taken up', hold: 'select 1 from hosts for update' },
  {
    name: 'when the first is taken up and its workflow not stored',
    hold: 'lock table dbos.workflow_status in share mode',
  },
  { name: 'right after the last answer' },
  { name: 'while they are asked for', unanswered: true },
];

let database: TestDatabase;
let server: ServerProcess;
let client: ServerClient;
let place: { organizationId: string; environmentId: string };

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServer({ databaseUrl: connectionUrl(database.connection) });
  client = await registerAt(server);
  place = await client.createEnvironment();
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

describe(`kill -9 of the server around ${AT_ONCE} deployments of one stack that are asked for at once`, () => {
  it.each(MOMENTS)('should leave them to run in the order of their numbers: $name', async (moment) => {
    const stackId = await client.createStack(place.organizationId, 'web', JSON.stringify(COMPOSE));
    const changed = { services: { web: { ...COMPOSE.services.web, environment: { CHANGED: 'yes' } } } };
    await client.updateStack(stackId, JSON.stringify(changed));
    let creating: Promise<string[]>;
    {
      await using lock = new HeldLock(database.connection, moment.hold);
      await lock.take();
      const requests = Array.from({ length: AT_ONCE }, (_, index) =>
        client.deploy(stackId, place.environmentId, { stackVersion: (index % 2) + 1 }),
      );
      creating = Promise.all(requests);
      await (moment.unanswered ? Promise.any(requests) : creating);
      if (moment.hold) await lock.isWaitedFor();
      await server.kill9();
    }
    await server.start();
    const ids = await creating;
    const made = await Promise.all(ids.map((id) => client.deployment(id)));
    made.sort((a, b) => a.number - b.number);
    expect(made.map(({ number }) => number)).toEqual(made.map((_, index) => index + 1));

    const last = await client.until(made.at(-1)!.id, ['RUNNING']);
    const ended: Deployment[] = await Promise.all(ids.map((id) => client.deployment(id)));
    ended.sort((a, b) => a.number - b.number);
    expect(ended.map(({ status }) => status)).toEqual([...Array(AT_ONCE - 1).fill('SUPERSEDED'), 'RUNNING']);
    await expectInOrder(database.pool, stackId);
    await client.stop(last.id);
    await client.until(last.id, ['STOPPED']);
  });
});
