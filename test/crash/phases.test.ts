import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { HeldLock, STEP_RESULTS } from '../support/held-lock.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { type Deployment, registerAt, type ServerClient } from '../support/server-client.ts';
import { type CountedService, CountedStack, Prober } from './counted-stack.ts';

const OVER = ['RUNNING', 'DEGRADED', 'FAILED', 'CANCELLED', 'STOPPED', 'SUPERSEDED'];
const FIRST: Services = { a: { generation: 1, gated: true }, b: { generation: 1, dependsOn: ['a'] } };
const SECOND: Services = { a: { generation: 2, gated: true }, b: { generation: 2, dependsOn: ['a'], gated: true } };

type Services = Record<string, CountedService>;
/** What a crash happens in: a stack whose first generation is live, and the deployment of its second. */
type Scene = {
  stack: CountedStack;
  client: ServerClient;
  first: string;
  second: string;
  isStarted(service: string, generation: number): Promise<unknown>;
  /** The second deployment has this status. */
  isNow(status: string): Promise<unknown>;
};
type Work = {
  /** What the second deployment runs. */
  services: Services;
  /** Gates of the second generation that are open from the start. */
  open: string[];
  /** What is done beside deploying, once the work is under way. */
  act?(scene: Scene): Promise<void>;
  /** Which deployment is being worked on at the end. */
  subject: 'first' | 'second';
};
type Phase = {
  name: string;
  work: Work;
  /** SQL that keeps the server from going beyond the phase: a lock of a table or a row. */
  hold?: string;
  /** Resolves when the lock may be taken; absent: before the deployment is created. */
  holdFrom?(scene: Scene): Promise<unknown>;
  /** Lets the server go on to the lock, once it is taken. */
  letGo?(scene: Scene): void;
  /** Resolves in the phase; absent: once the server waits for the lock. */
  reached?(scene: Scene): Promise<unknown>;
};

const DEPLOY: Work = { services: SECOND, open: ['a', 'b'], subject: 'second' };
const GATED: Work = { ...DEPLOY, open: [] };
const SLOW_STOP: Work = {
  ...DEPLOY,
  services: { a: { ...SECOND.a!, stopSeconds: 1 }, b: { ...SECOND.b!, stopSeconds: 1 } },
};
const FAIL: Work = {
  services: { ...SECOND, c: { generation: 2, dependsOn: ['b'], exitCode: 3 } },
  open: ['a', 'b'],
  subject: 'second',
};
const CANCEL: Work = {
  ...GATED,
  async act(scene) {
    await eventually('b waits for a', async () =>
      (await scene.client.deployment(scene.second)).steps.some(
        ({ name, state }) => name === 'start b' && state === 'RUNNING',
      ),
    );
    // What is restored becomes healthy only when the test says so.
    scene.stack.close('a', 1);
    await scene.client.cancel(scene.second);
  },
};
/** Cancelled while the first service of the former generation stops. */
const CANCEL_EARLY: Work = {
  ...SLOW_STOP,
  async act({ stack, client, second }) {
    await eventually('a stops', () => stack.stops().some(({ service }) => service === 'a'));
    await client.cancel(second);
  },
};
const FAIL_GATED: Work = {
  ...FAIL,
  async act(scene) {
    await scene.isStarted('a', 2);
    scene.stack.close('a', 1);
  },
};
const STOP: Work = {
  ...SLOW_STOP,
  async act(scene) {
    await scene.client.until(scene.second, ['RUNNING']);
    await scene.client.stop(scene.second);
  },
};

const PHASES: Phase[] = [
  { name: 'QUEUED', work: DEPLOY, hold: 'select 1 from hosts for update' },
  { name: 'PREPARING', work: DEPLOY, hold: 'lock table releases in share mode' },
  { name: 'prepared, and not recorded', work: DEPLOY, hold: STEP_RESULTS },
  {
    name: 'DEPLOYING, while the former instance stops',
    work: { ...SLOW_STOP, services: SECOND },
    reached: ({ stack }) => eventually('a stops', () => stack.stops().some(({ service }) => service === 'a')),
  },
  {
    name: 'CANCELLING, a former instance stopped and not recorded',
    work: CANCEL_EARLY,
    hold: 'lock table instances in share mode',
    holdFrom: ({ isNow }) => isNow('CANCELLING'),
    reached: ({ stack }) => eventually('a has stopped', () => !stack.running().includes('a1')),
  },
  {
    name: 'DEPLOYING, a service started and not recorded',
    work: GATED,
    hold: STEP_RESULTS,
    holdFrom: ({ isStarted }) => isStarted('a', 2),
    reached: ({ isStarted }) => isStarted('a', 2),
  },
  {
    name: 'DEPLOYING, before the start of the next service',
    work: GATED,
    reached: ({ isStarted }) => isStarted('a', 2),
  },
  {
    name: 'VERIFYING',
    work: { ...GATED, open: ['a'] },
    reached: ({ isNow }) => isNow('VERIFYING'),
  },
  {
    name: 'VERIFYING, at the commit',
    work: { ...GATED, open: ['a'] },
    hold: 'select 1 from stack_environments for update',
    holdFrom: ({ isNow }) => isNow('VERIFYING'),
    letGo: ({ stack }) => stack.open('b', 2),
  },
  {
    name: 'committed, and not recorded',
    work: { ...GATED, open: ['a'] },
    hold: STEP_RESULTS,
    holdFrom: async ({ isNow, stack }) => {
      await isNow('VERIFYING');
      stack.open('b', 2);
      await isNow('RUNNING');
    },
    reached: async () => undefined,
  },
  {
    name: 'restoring after a failure',
    work: FAIL_GATED,
    reached: ({ stack }) => eventually('a is started again', () => stack.counts().a1 === 2),
  },
  {
    name: 'CANCELLING, while what ran before is restored',
    work: CANCEL,
    reached: ({ stack }) => eventually('a is started again', () => stack.counts().a1 === 2),
  },
  {
    name: 'STOPPING',
    work: STOP,
    reached: ({ stack }) =>
      eventually('b stops', () => stack.stops().some(({ service, generation }) => service === 'b' && generation === 2)),
  },
];

let database: TestDatabase;
let server: ServerProcess;
let client: ServerClient;
let place: { organizationId: string; environmentId: string };
const undisturbed = new Map<Work, Promise<unknown>>();
let stacks = 0;

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

describe('kill -9 of the server in each phase of a deployment', () => {
  it.each(PHASES)('should end as an undisturbed run does: $name', async (phase) => {
    if (!undisturbed.has(phase.work)) undisturbed.set(phase.work, run(phase, false));
    const expected = await undisturbed.get(phase.work);
    expect(await run(phase, true)).toEqual(expected);
  });
});

/** Deploys a first and a second generation, with or without a crash in the phase, and tells all that a client or a service can see of it. */
async function run(phase: Phase, isDisturbed: boolean): Promise<unknown> {
  const { work, hold } = phase;
  const stack = new CountedStack(server.place.ground, `s${++stacks}`, await freePort());
  stack.open('a', 1);
  const scene: Scene = {
    stack,
    client,
    first: '',
    second: '',
    isStarted: (service, generation) =>
      eventually(`${service}${generation} is started`, () => stack.counts()[`${service}${generation}`]),
    isNow: (status) =>
      eventually(`it is ${status}`, async () => (await client.deployment(scene.second)).status === status),
  };
  const stackId = await client.createStack(place.organizationId, stack.name, stack.compose(formerOf(work)));
  scene.first = await client.deploy(stackId, place.environmentId);
  await client.until(scene.first, ['RUNNING']);
  await client.updateStack(stackId, stack.compose(work.services));
  for (const service of work.open) stack.open(service, 2);
  await using prober = new Prober(stack.webPort);
  const web = stack.webIdentity();

  {
    await using lock = new HeldLock(database.connection, isDisturbed ? hold : undefined);
    if (!phase.holdFrom) await lock.take();
    scene.second = await client.deploy(stackId, place.environmentId);
    const acting = work.act?.(scene);
    if (isDisturbed) {
      if (phase.holdFrom) {
        await phase.holdFrom(scene);
        await lock.take();
        phase.letGo?.(scene);
      }
      await (phase.reached ? phase.reached(scene) : lock.isWaitedFor());
      await acting;
      await server.kill9();
    } else {
      await acting;
    }
  }
  if (isDisturbed) await server.start();
  for (const [service, generation] of [
    ['a', 1],
    ['a', 2],
    ['b', 2],
  ] as const)
    stack.open(service, generation);

  const second = await client.until(scene.second, work === STOP ? ['STOPPED'] : OVER);
  const first = await client.deployment(scene.first);
  await eventually('requests after it', () => prober.requests > 5);
  await prober[Symbol.asyncDispose]();
  const end = {
    second: visible(second),
    first: visible(first),
    counts: stack.counts(),
    isEachStartAnInstance: await startsAreInstances(stack, stackId),
    running: stack.running(),
    failures: work === STOP ? 'stopped' : prober.failures,
    webIsTheSame: work === STOP ? 'stopped' : web === stack.webIdentity(),
    told: (await client.storedLines(scene.second))
      .filter(({ service }) => service === null)
      .map(({ message }) => message),
  };
  // The health checks of stacks that stay up would slow down all that come after them.
  if (first.status === 'RUNNING') await stop(scene.first);
  if (second.status === 'RUNNING') await stop(scene.second);
  return end;
}

async function stop(id: string): Promise<void> {
  await client.stop(id);
  await client.until(id, ['STOPPED']);
}

/** No instance was started twice. */
async function startsAreInstances(stack: CountedStack, stackId: string): Promise<boolean> {
  const { rows } = await database.pool.query<{ count: number }>(
    `select count(*)::int as count from instances i join stack_environments se on se.id = i.stack_environment_id
     where se.stack_id = $1`,
    [decodeIdOf('Stack', stackId)],
  );
  return stack.starts().length <= rows[0]!.count;
}

/** The first generation stops slowly where the second does. */
function formerOf(work: Work): Services {
  const isSlow = work.services === SECOND && work.act === undefined && work !== DEPLOY && work !== GATED;
  const stopSeconds = work === CANCEL_EARLY ? 2 : isSlow ? 1 : 0;
  return { a: { ...FIRST.a!, stopSeconds }, b: FIRST.b! };
}

function visible({ status, statusReason, progress, steps, services }: Deployment): object {
  return {
    status,
    statusReason,
    progress,
    steps: steps.map(({ name, state, message }) => `${name}: ${state}${message ? ` (${message})` : ''}`),
    services: services.map(({ name, state, replicas }) => `${name}: ${state}, ${replicas.length}`),
  };
}
