import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { dependsOn, service, stack, ticking, whenOk } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { valuesInProcesses } from '../support/host-processes.ts';
import { expectInOrder, statusChanges, UNDER_WAY } from '../support/order-of-work.ts';
import { type Random, seededRandom } from '../support/seeded-random.ts';

const AT_ONCE = 20;
const DEADLINE_MS = 80_000;
const TEST_TIMEOUT_MS = 90_000;
const CANCEL_PAUSE_MS = 40;
const SEED = Number(process.env.WINDFLOW_TEST_SEED ?? 1);
const OVER = ['STOPPED', 'FAILED', 'CANCELLED', 'SUPERSEDED'];

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
let stacks = 0;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

/** A stack with these versions; each has the service `web`, whose process says by its environment which version it is of. */
async function newStack(...versions: ((word: string) => string)[]): Promise<{ stackId: string; word: string }> {
  const word = `order${process.pid}x${++stacks}`;
  const [first, ...more] = versions.map((compose, index) => compose(`${word}v${index + 1}`));
  const stackId = await acme.newStack(first!, word);
  for (const compose of more) await acme.changeStack(stackId, compose);
  return { stackId, word };
}

const web = (word: string) => service('web', 'exec sleep 1000', `environment: { ORDER: ${word} }`);
const healthy = (word: string) => stack(web(word));
const crashing = (word: string) => stack(web(word), service('job', 'exit 3', dependsOn('web', 'service_started')));
const unpreparable = () => stack(service('web', 'exec sleep 1000', 'environment: { A: "${NOT_SET:?needed}" }'));

/** Asks for all of them at the same moment; they come back by their numbers. */
async function createAtOnce(stackId: string, versionOf: (index: number) => number): Promise<DeploymentView[]> {
  const requests = Array.from({ length: AT_ONCE }, (_, index) =>
    acme.begin(stackId, { stackVersion: versionOf(index) }),
  );
  return (await Promise.all(requests)).sort((a, b) => a.number - b.number);
}

const readAll = (made: DeploymentView[]) => Promise.all(made.map(({ id }) => acme.read(id)));

/** All of them once nothing of the stack is under way any more. */
async function settled(made: DeploymentView[]): Promise<DeploymentView[]> {
  let last: DeploymentView[] = [];
  const isOver = async () => {
    last = await readAll(made);
    return last.every(({ status }) => status === 'RUNNING' || OVER.includes(status)) ? last : null;
  };
  return eventually('the end of all of them', isOver, { deadlineMs: DEADLINE_MS, pollMs: 100 }).catch(
    (error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last.map((it) => [it.number, it.status, it.steps]))}`);
    },
  );
}

/** Each that went live was superseded by the next one that did, and the last one runs; returns it. */
function expectSuccession(ended: DeploymentView[]): DeploymentView | undefined {
  const live = ended.filter(({ liveAt }) => liveAt !== null);
  expect(live.map(({ status, supersededBy }) => [status, supersededBy?.id])).toEqual(
    live.map((_, index) => (index + 1 < live.length ? ['SUPERSEDED', live[index + 1]!.id] : ['RUNNING', undefined])),
  );
  return live.at(-1);
}

/** The versions whose processes run on this host: `v2`. */
const runningVersions = (word: string): string[] =>
  valuesInProcesses('ORDER').flatMap((value) => (value.startsWith(`${word}v`) ? value.slice(word.length) : []));

describe(`${AT_ONCE} deployments of one stack that are asked for at once`, { timeout: TEST_TIMEOUT_MS }, () => {
  it('should run one after another in the order of their numbers, each in the place of the one before', async () => {
    const { stackId, word } = await newStack(healthy, healthy);
    const made = await createAtOnce(stackId, (index) => (index % 2) + 1);
    expect(made.map(({ number }) => number)).toEqual(made.map((_, index) => index + 1));
    const ended = await settled(made);
    await expectInOrder(app.database.pool, stackId);
    expect(ended.map(({ status }) => status)).toEqual([...Array(AT_ONCE - 1).fill('SUPERSEDED'), 'RUNNING']);
    const last = expectSuccession(ended)!;
    const started = ended.map(({ startedAt }) => Date.parse(startedAt!));
    expect(started).toEqual(started.toSorted((a, b) => a - b));
    expect(new Set(started).size).toBe(AT_ONCE);
    expect(runningVersions(word)).toHaveLength(1);
    await acme.stop(last.id);
    expect(runningVersions(word)).toEqual([]);
  });

  it('should keep the order, and what ran, when some of them fail', async () => {
    const { stackId, word } = await newStack(healthy, crashing, unpreparable);
    const made = await createAtOnce(stackId, (index) => (index % 3) + 1);
    const ended = await settled(made);
    await expectInOrder(app.database.pool, stackId);
    const last = expectSuccession(ended)!;
    expect(ended.filter(({ status }) => status === 'FAILED')).toHaveLength(AT_ONCE - Math.ceil(AT_ONCE / 3));
    expect(runningVersions(word)).toEqual(['v1']);
    await acme.stop(last.id);
    expect(await acme.present(stackId)).toEqual([]);
  });

  it(`should end well and in order, whichever are cancelled at whatever moments (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    const { stackId, word } = await newStack(healthy, healthy, crashing);
    const made = await createAtOnce(stackId, (index) => (index % 3) + 1);
    const over = new AbortController();
    const cancelling = cancelAtRandom(made, random, over.signal);
    const ended = await settled(made);
    over.abort();
    const { accepted, refused } = await cancelling;
    await expectInOrder(app.database.pool, stackId);
    const last = expectSuccession(ended);
    for (const { id, status, liveAt } of ended) {
      if (accepted.has(id)) expect(status).toBe('CANCELLED');
      if (status === 'CANCELLED') expect(liveAt).toBeNull();
      if (refused.has(id)) expect(['RUNNING', 'SUPERSEDED', 'FAILED']).toContain(status);
    }
    expect(accepted.size).toBeGreaterThan(0);
    expect(runningVersions(word)).toHaveLength(last ? 1 : 0);
    if (last) await acme.stop(last.id);
    expect(await acme.present(stackId)).toEqual([]);
    expect(runningVersions(word)).toEqual([]);
  });
});

/** Cancels one after another of them until it is told to end, half of the time the one that is under way; tells what was answered. */
async function cancelAtRandom(made: DeploymentView[], random: Random, over: AbortSignal) {
  const accepted = new Set<string>();
  const refused = new Set<string>();
  while (!over.aborted) {
    await sleep(random.below(CANCEL_PAUSE_MS));
    const underWay = (await readAll(made)).filter(({ status }) => UNDER_WAY.includes(status));
    const { id } = random.pick(underWay.length > 0 && random.below(2) === 0 ? underWay : made);
    // A third are never cancelled: something is to go live.
    if (made.findIndex((it) => it.id === id) % 3 === 0) continue;
    const answer = await acme.tryCancel(id);
    expect(['Deployment', 'ConflictError']).toContain(answer.__typename);
    if (answer.__typename === 'Deployment') {
      expect(['CANCELLING', 'CANCELLED']).toContain(answer.status);
      accepted.add(id);
    } else refused.add(id);
  }
  return { accepted, refused };
}

describe('a deployment that is cancelled', () => {
  const gate = service('web', 'exec sleep 1000', whenOk());
  it.each([
    ['QUEUED', healthy(''), ['CANCELLED']],
    ['PREPARING', healthy(''), ['CANCELLING', 'CANCELLED']],
    [
      'DEPLOYING',
      stack(gate, ticking('side', 'side', dependsOn('web', 'service_healthy'))),
      ['CANCELLING', 'CANCELLED'],
    ],
    ['VERIFYING', stack(gate), ['CANCELLING', 'CANCELLED']],
  ])('should be taken back from %s, and the next one go on', async (status, compose, way) => {
    const { stackId } = await newStack(() => compose, healthy);
    // What is worked on waits for the row of its host, or for variables, until it is let go.
    await using held = await hold({ QUEUED: HOST, PREPARING: VARIABLES }[status]);
    const { id } = await acme.begin(stackId, { stackVersion: 1 });
    const next = await acme.begin(stackId, { stackVersion: 2 });
    await acme.until(id, [status]);
    expect(await acme.tryCancel(id)).toMatchObject({ __typename: 'Deployment', status: way[0] });
    expect((await acme.tryCancel(id)).__typename).toBe('Deployment');
    await held.release();
    expect(await acme.until(id, ['CANCELLED'])).toMatchObject({ statusReason: null, liveAt: null });
    await acme.until(next.id, ['RUNNING']);
    const changes = (await statusChanges(app.database.pool, stackId))
      .filter(({ number }) => number === 1)
      .map((change) => change.status);
    expect(changes.slice(changes.indexOf(status) + 1)).toEqual(way);
    await expectInOrder(app.database.pool, stackId);
    expect(await acme.tryCancel(next.id)).toMatchObject({ __typename: 'ConflictError' });
    await acme.stop(next.id);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());

const HOST = 'select 1 from hosts for update';
const VARIABLES = 'lock table variables in access exclusive mode';

/** Holds a lock until it is released; without SQL none. */
async function hold(sql: string | undefined): Promise<AsyncDisposable & { release(): Promise<void> }> {
  const client = sql === undefined ? null : await app.database.pool.connect();
  await client?.query(`begin; ${sql}`);
  let isHeld = client !== null;
  const release = async () => {
    if (!isHeld) return;
    isHeld = false;
    await client!.query('rollback');
    client!.release();
  };
  return { release, [Symbol.asyncDispose]: release };
}
