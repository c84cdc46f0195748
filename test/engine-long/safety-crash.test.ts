import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { stack } from '../support/compose-stacks.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { Deployer, type DeploymentView, instancesOf } from '../support/deployer.ts';
import { clientOf, container, containersOf, deployerOn, IMAGE, onEngine } from '../support/docker/containers.ts';
import { Gate, type Hold } from '../support/docker/gate.ts';
import { eventually } from '../support/eventually.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { serverApp } from '../support/server-app.ts';

const endpoint = inject('dockerEngine');
/** A dead holder's lease would last longer; one of the same machine is known to be dead. */
const TAKEOVER_MS = 10_000;
const HOLD = 'exec sleep 86400';
/** 200 lines a second. */
const COUNT = 'i=0; while :; do for _ in 1 2 3 4 5 6 7 8 9 10; do i=$$((i + 1)); echo $$i; done; sleep 0.05; done';
const COUNTER = container('counter', COUNT);
const HEALTHY_LATER =
  'healthcheck: { test: ["CMD-SHELL", "sleep 1"], interval: 1s, start_period: 30s, start_interval: 500ms }';

const web = (generation: number, ...rest: string[]) => container('web', `echo ${generation}; ${HOLD}`, ...rest);
const built = (generation: number) =>
  web(generation).replace(
    `image: ${IMAGE}`,
    `build: { context: ., dockerfile_inline: "FROM ${IMAGE}\\nRUN echo building ${generation}; sleep 1\\n" }`,
  );

type Moment = {
  name: string;
  web?: (generation: number) => string;
  hold?: Hold;
  reached?: (deployer: Deployer, id: string) => Promise<unknown>;
};
const MOMENTS: Moment[] = [
  {
    name: 'while its image is built',
    web: built,
    reached: (acme, id) =>
      eventually('the build', async () => (await acme.log(id, { search: 'building', streams: ['SYSTEM'] })).length > 1),
  },
  { name: 'before the former container is stopped', hold: { request: /^POST \S+\/stop/ } },
  { name: 'when the former one is stopped', hold: { request: /^POST \S+\/stop/, answer: true } },
  { name: 'before the former one is put aside', hold: { request: /^POST \S+\/rename/ } },
  { name: 'before a container is made', hold: { request: /^POST \S+\/containers\/create/ } },
  { name: 'when it is made', hold: { request: /^POST \S+\/containers\/create/, answer: true } },
  { name: 'before it is started', hold: { request: /^POST \S+\/start/ } },
  { name: 'when it is started', hold: { request: /^POST \S+\/start/, answer: true } },
  {
    name: 'while it is verified',
    web: (generation) => web(generation, HEALTHY_LATER),
    reached: (acme, id) => acme.until(id, ['VERIFYING']),
  },
];

describe.skipIf(endpoint === null)('kill -9 of a server that deploys on an engine', () => {
  const docker = clientOf(endpoint ?? '');
  let gate: Gate;
  let database: TestDatabase;
  let server: ServerProcess;
  let acme: Deployer;
  let first: DeploymentView & { stackId: string };
  /** Of its deployments, in their order. */
  const ids: string[] = [];
  beforeAll(async () => {
    gate = await Gate.to(endpoint!);
    database = await createTestDatabase();
    server = await startServer({ databaseUrl: connectionUrl(database.connection) });
    acme = await deployerOn(serverApp(server, database), gate.endpoint);
    first = await acme.deployNew(stack(COUNTER, web(0)));
    ids.push(first.id);
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    for (const { id } of await present(acme)) await docker.getContainer(id).remove({ force: true, v: true });
    const built = await docker.listImages({ filters: { reference: ['windflow-*', '*-web'] } });
    for (const { Id } of built) await docker.getImage(Id).remove({ force: true });
    await database?.[Symbol.asyncDispose]();
    await gate?.[Symbol.asyncDispose]();
  });

  const present = async (of: Deployer) => containersOf(docker, decodeIdOf('Environment', of.environmentId)!);
  const services = async (of = acme) =>
    (await present(of)).map(({ labels, state }) => `${labels['io.windflow.service']} ${state}`).sort();
  const crash = async () => {
    const before = await epochs(database);
    await server.kill9();
    await server.start();
    const started = performance.now();
    await eventually('a takeover', async () => (await epochs(database)) > before);
    expect(performance.now() - started).toBeLessThan(TAKEOVER_MS);
  };

  it.each(MOMENTS)('should end as an undisturbed run does: $name', async (moment) => {
    const generation = ids.length;
    await acme.changeStack(first.stackId, stack(COUNTER, (moment.web ?? web)(generation)));
    const held = moment.hold && gate.hold(moment.hold);
    const { id } = await acme.begin(first.stackId);
    ids.push(id);
    await (held ?? moment.reached?.(acme, id));
    await crash();
    const now = await acme.until(id, ['RUNNING']);
    expect(visible(now)).toEqual(UNDISTURBED);
    expect(instancesOf(now).counter).toBe(instancesOf(first).counter);
    await acme.untilLogged(id, String(generation));
    await eventually('nothing that is left', async () => (await present(acme)).length === 2);
    expect(await services()).toEqual(['counter running', 'web running']);
  });

  it('should end as an undisturbed run does: while it is stopped; and no line was lost or doubled in all of that', async () => {
    const last = ids.at(-1)!;
    const held = gate.hold({ request: /^POST \S+\/stop/, answer: true });
    await acme.mutate('deploymentStop', 'Deployment { id }', { deploymentId: last });
    await held;
    await crash();
    await acme.until(last, ['STOPPED']);
    expect(await present(acme)).toEqual([]);
    const counted = (await Promise.all(ids.map((id) => numbersOf(acme, id)))).flat();
    expect(counted.length).toBeGreaterThan(1_000);
    expect(counted.findIndex((number, index) => number !== index + 1)).toBe(-1);
  });

  it('should take a deleted environment off its engine although nobody could for a while', async () => {
    const there = await onEngine(acme, gate.endpoint, 'short');
    const { id } = await there.deployNew(stack(container('web', HOLD, 'volumes: ["data:/data"]')));
    await there.stop(id);
    const filters = { label: [`io.windflow.environment=${decodeIdOf('Environment', there.environmentId)}`] };
    const left = async () =>
      (await docker.listNetworks({ filters })).length + (await docker.listVolumes({ filters })).Volumes.length;
    expect(await left()).toBe(2);
    gate.close();
    await there.mutate('environmentDelete', 'Deleted { id }', { environmentId: there.environmentId });
    await server.kill9();
    await server.start();
    expect(await hostsOf(database)).toHaveLength(2);
    await gate.open();
    await eventually('nothing that is left', async () => (await left()) === 0);
    await eventually('the end of its host', async () => (await hostsOf(database)).length === 1);
  });

  it('should let one of two servers work for an engine, and the other when that is killed', async () => {
    await using other = await startServer({ databaseUrl: connectionUrl(database.connection) });
    const there = new Deployer(serverApp(other, database), acme.token, acme.organizationId, acme.environmentId);
    const { id, stackId } = await there.deployNew(stack(COUNTER, web(1)));
    const holder = await holderOf(database, server.place.runtimeDirectory);
    expect((await hostsOf(database)).map(({ holderId }) => holderId)).toEqual([holder]);
    await there.changeStack(stackId, stack(COUNTER, web(2, HEALTHY_LATER)));
    const second = await there.begin(stackId);
    await there.until(second.id, ['VERIFYING']);
    await server.kill9();
    const heir = await holderOf(database, other.place.runtimeDirectory);
    const takesOver = async () => (await hostsOf(database)).every(({ holderId }) => holderId === heir);
    await eventually('the other one works for it', takesOver, { deadlineMs: TAKEOVER_MS });
    expect(visible(await there.until(second.id, ['RUNNING']))).toEqual(UNDISTURBED);
    expect(await services(there)).toEqual(['counter running', 'web running']);
    await there.stop(second.id);
    const counted = [...(await numbersOf(there, id)), ...(await numbersOf(there, second.id))];
    expect(counted.findIndex((number, index) => number !== index + 1)).toBe(-1);
  });
});

const UNDISTURBED = {
  status: 'RUNNING',
  statusReason: null,
  steps: ['prepare SUCCEEDED', 'start counter SKIPPED', 'start web SUCCEEDED', 'verify SUCCEEDED', 'commit SUCCEEDED'],
};

function visible({ status, statusReason, steps }: DeploymentView): typeof UNDISTURBED | object {
  return { status, statusReason, steps: steps.map(({ name, state }) => `${name} ${state}`) };
}

async function numbersOf(deployer: Deployer, id: string): Promise<number[]> {
  const lines = await deployer.log(id, { streams: ['STDOUT'], services: ['counter'] });
  return lines.map(({ message }) => Number(message));
}

async function hostsOf({ pool }: TestDatabase): Promise<{ epoch: number; holderId: string | null }[]> {
  const { rows } = await pool.query<{ epoch: number; holderId: string | null }>(
    'select epoch, holder_id as "holderId" from hosts where connection is not null',
  );
  return rows;
}

async function epochs(database: TestDatabase): Promise<number> {
  return (await hostsOf(database)).reduce((sum, { epoch }) => sum + Number(epoch), 0);
}

async function holderOf({ pool }: TestDatabase, runtimeDirectory: string): Promise<string | undefined> {
  const { rows } = await pool.query<{ id: string }>('select holder_id as id from hosts where runtime_directory = $1', [
    runtimeDirectory,
  ]);
  return rows[0]?.id;
}
