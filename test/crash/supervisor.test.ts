import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { forgetInstance } from '../support/forgotten-instance.ts';
import { freePort } from '../support/free-port.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { registerAt, type ServerClient } from '../support/server-client.ts';
import { CountedStack } from './counted-stack.ts';

/** What ended is taken away before it starts again, and a stop waits up to a minute for its last lines. */
const REVIVAL_MS = 90_000;
const LOG_TAIL = 6_000;

let database: TestDatabase;
let server: ServerProcess;
let client: ServerClient;
let stack: CountedStack;
let deploymentId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServer({ databaseUrl: connectionUrl(database.connection) });
  client = await registerAt(server);
  const { organizationId, environmentId } = await client.createEnvironment();
  stack = new CountedStack(server.place.ground, 'stack', await freePort());
  const services = { kept: { generation: 1, restart: 'unless-stopped' }, once: { generation: 1 } };
  const stackId = await client.createStack(organizationId, stack.name, stack.compose(services));
  deploymentId = await client.deploy(stackId, environmentId);
  await client.until(deploymentId, ['RUNNING']);
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await database?.[Symbol.asyncDispose]();
});

it('should start again what its restart policy keeps up, after the supervisor was killed', async () => {
  killSupervisors();
  await revived(2);
});

it('should do so at its next start, when the whole host had been away', async () => {
  await server.kill9();
  killSupervisors();
  await server.start();
  await revived(3);
});

/**
 * A server that is killed while it brings services back leaves an instance that the runtime was told to forget, or the row of the next
 * one that was never started: made here as it leaves them.
 */
it('should go on with what a server that was killed meanwhile left half done', async () => {
  for (const [starts, leave] of [
    [4, forget],
    [5, neverStart],
  ] as const) {
    await server.kill9();
    killSupervisors();
    await leave();
    await server.start();
    await revived(starts);
    const { rows } = await database.pool.query(
      `select service from instances where removed_at is null and service = 'kept'`,
    );
    expect(rows).toHaveLength(1);
  }
});

function forget(): Promise<void> {
  return forgetInstance(database.pool, server.place.runtimeDirectory, 'kept');
}

async function neverStart(): Promise<void> {
  await forget();
  await database.pool.query(
    `with gone as (update instances set removed_at = now(), state = 'STOPPED' where removed_at is null and service = 'kept' returning *)
     insert into instances (id, stack_environment_id, deployment_id, release_id, service, replica, config_hash, state, ports)
     select $1, stack_environment_id, deployment_id, release_id, service, replica, config_hash, 'STARTING', ports from gone`,
    [newId()],
  );
}

/** The end of every process of the host but the tests' own: what a reboot does. */
function killSupervisors(): void {
  const supervisors = server.place.supervisors();
  expect(supervisors.length).toBeGreaterThan(0);
  for (const pid of supervisors) process.kill(pid, 'SIGKILL');
}

async function revived(starts: number): Promise<void> {
  await eventually(`start ${starts}`, () => stack.counts().kept1 === starts, { deadlineMs: REVIVAL_MS }).catch(
    async (error: Error) => {
      const seen = JSON.stringify(await client.deployment(deploymentId));
      throw new Error(`${seen}\n${server.log.slice(-LOG_TAIL)}`, { cause: error });
    },
  );
  const degraded = await client.until(deploymentId, ['DEGRADED']);
  expect(degraded.statusReason).toMatch(/^service (web|once): /);
  const states = await eventually('the states of all services', async () => {
    const { services } = await client.deployment(deploymentId);
    const found = Object.fromEntries(services.map(({ name, state }) => [name, state]));
    return found.kept === 'RUNNING' && found;
  });
  expect(states).toEqual({ web: 'EXITED', once: 'EXITED', kept: 'RUNNING' });
  await eventually('the end of what ran before', () => stack.running().join() === 'kept1');
  expect(stack.counts()).toEqual({ web1: 1, once1: 1, kept1: starts });
}
