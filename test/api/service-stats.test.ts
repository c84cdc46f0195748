import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { SAMPLE_INTERVAL_MS } from '../../src/modules/deployments/usage-sampler.ts';
import { ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import { RuntimeUnavailableError } from '../../src/runtimes/runtime.ts';
import { type Heard, listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView, instancesOf } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { SERVERS } from '../support/server-choice.ts';

const FIGURES = 'cpuPercent memoryBytes memoryLimitBytes networkReceivedBytes networkSentBytes restarts';
const SERVICES = `name ${FIGURES} replicas { number instance ${FIGURES} }`;
const STATS = `subscription ($id: ID!) { serviceStats(deploymentId: $id) { sampledAt services { ${SERVICES} } } }`;
const USAGE = `query ($id: ID!) { deployment(id: $id) { services { name usage { ${SERVICES} } again: usage { name } } } }`;
const BUSY = service('busy', 'while :; do :; done');
const IDLE = service('idle', 'exec sleep 1000', 'deploy: { replicas: 2 }');
const JOB = service('job', 'exit 0', 'restart: "no"');
/** A member who was removed is told nothing more by then. */
const REMOVAL_MS = 5_000;

type Figures = Record<'cpuPercent' | 'memoryBytes' | 'memoryLimitBytes' | 'networkSentBytes', number | null>;
type Usage = Figures & { name: string; restarts: number; replicas: (Figures & { number: number; instance: string })[] };
type Stats = { sampledAt: string; services: Usage[] };

let app: TestApp;
let acme: Deployer;
let live: DeploymentView & { stackId: string };
const clients: SocketClient[] = [];
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  live = await acme.deployNew(stack(BUSY, IDLE, JOB));
});
afterEach(() => void vi.restoreAllMocks());
afterAll(async () => {
  await Promise.all(clients.map((client) => client.dispose()));
  await app?.[Symbol.asyncDispose]();
});

const statsOf = ({ results }: Heard): Stats[] => results.map(({ data }) => data.serviceStats);
const usageOf = ({ services }: Stats, name: string) => services.find((usage) => usage.name === name)!;
/** With a socket of its own. */
const watch = ({ token }: Deployer, id: string) => {
  const client = app.connect(token);
  clients.push(client);
  return listen(client, STATS, { id });
};
const samples = (heard: Heard, count: number) =>
  eventually(`${count} samples`, () => heard.results.length >= count || heard.end !== null);
const ended = (heard: Heard) => eventually('the end of a subscription', () => heard.end !== null);
const codeOf = ({ end }: Heard) =>
  (end as { errors?: { extensions: { code: unknown } }[] } | null)?.errors?.[0]?.extensions.code;
/** How often a stack’s supervisor was asked. */
const looksAt = (spy: { mock: { calls: unknown[][] } }, { services }: DeploymentView) => {
  const instances = services.flatMap(({ replicas }) => replicas.map(({ instance }) => instance));
  return spy.mock.calls.filter(([, asked]) => (asked as string[]).some((id) => instances.includes(id))).length;
};

describe('serviceStats', () => {
  it('should tell what services use at once, then again and again', async () => {
    const { heard, stop } = watch(acme, live.id);
    await samples(heard, 1);
    const first = statsOf(heard)[0]!;
    expect(first.services.map(({ name }) => name)).toEqual(['busy', 'idle', 'job']);
    const shared = { memoryLimitBytes: null, networkReceivedBytes: null, networkSentBytes: null, restarts: 0 };
    const idle = usageOf(first, 'idle');
    expect(idle).toMatchObject({ ...shared, cpuPercent: null });
    expect(idle.replicas).toMatchObject([
      { ...shared, number: 1, instance: instancesOf(live).idle, cpuPercent: null },
      { ...shared, number: 2, cpuPercent: null },
    ]);
    const memory = idle.replicas.map(({ memoryBytes }) => memoryBytes!);
    expect(Math.min(...memory)).toBeGreaterThan(0);
    expect(idle.memoryBytes).toBe(memory[0]! + memory[1]!);
    expect(usageOf(first, 'job')).toMatchObject({ ...shared, cpuPercent: null, memoryBytes: null });
    expect(usageOf(first, 'job').replicas).toMatchObject([{ number: 1, memoryBytes: null }]);

    await samples(heard, 3);
    const [, ...later] = statsOf(heard);
    for (const stats of later) {
      const { cpuPercent } = usageOf(stats, 'busy');
      expect(cpuPercent).toBeGreaterThan(5);
      expect(cpuPercent).toBeLessThan(150);
      expect(usageOf(stats, 'idle').cpuPercent).toBeLessThan(cpuPercent!);
    }
    const times = statsOf(heard).map(({ sampledAt }) => Date.parse(sampledAt));
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
    stop();
  });

  it('should be refused to another tenant', async () => {
    const rival = await acme.newTenant('Rival');
    const { heard } = watch(rival, live.id);
    await ended(heard);
    expect(heard.results).toEqual([]);
    expect(codeOf(heard)).toBe('NOT_FOUND');
  });

  it('should end with NOT_FOUND when membership ends, and go on for others', async () => {
    const member = await acme.addMember('VIEWER');
    const [leaving, staying] = [watch(member, live.id), watch(await acme.addMember('VIEWER'), live.id)];
    await Promise.all([samples(leaving.heard, 1), samples(staying.heard, 1)]);
    const input = { organizationId: acme.organizationId, userId: member.userId };
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', input);
    await eventually('the end', () => leaving.heard.end !== null, { deadlineMs: REMOVAL_MS });
    expect(codeOf(leaving.heard)).toBe('NOT_FOUND');
    await samples(staying.heard, staying.heard.results.length + 1);
    expect(staying.heard.end).toBeNull();
    staying.stop();
  });

  it('should complete when the deployment is stopped, after what was used last', async () => {
    const other = await acme.deployNew(stack(IDLE));
    const { heard } = watch(acme, other.id);
    await samples(heard, 1);
    await acme.stop(other.id);
    await ended(heard);
    expect(heard.end).toBe('complete');
    const last = statsOf(heard).at(-1)!;
    expect(usageOf(last, 'idle')).toMatchObject({ memoryBytes: null, restarts: 0 });
    expect(last.sampledAt).toBe((await acme.read(other.id)).finishedAt);
    const again = watch(acme, other.id);
    await ended(again.heard);
    expect(statsOf(again.heard)).toEqual([last]);
    expect(again.heard.end).toBe('complete');
  });
});

describe.skipIf(SERVERS > 1)('the samples of a server', () => {
  it('should be taken once for all who watch, of any role, and never once nobody does', async () => {
    const other = await acme.deployNew(stack(IDLE));
    const spy = vi.spyOn(ProcessRuntime.prototype, 'usage');
    const watchers = [
      watch(acme, other.id),
      watch(await acme.addMember('VIEWER'), other.id),
      watch(await acme.addMember('VIEWER'), other.id),
    ];
    await Promise.all(watchers.map(({ heard }) => samples(heard, 3)));
    const told = watchers.map(({ heard }) => statsOf(heard).map(({ sampledAt }) => sampledAt));
    const all = new Set(told.flat());
    for (const times of told) expect(new Set(times).size).toBe(times.length);
    for (const times of told) expect(all.size - times.length).toBeLessThanOrEqual(2);
    expect(Math.abs(looksAt(spy, other) - all.size)).toBeLessThanOrEqual(1);

    for (const { stop } of watchers) stop();
    const meanwhile = watch(acme, live.id);
    await samples(meanwhile.heard, 2);
    const before = looksAt(spy, other);
    await samples(meanwhile.heard, 4);
    expect(looksAt(spy, other)).toBe(before);
    meanwhile.stop();
    await acme.stop(other.id);
  });

  it('should go on where a runtime does not answer for a while, with nothing known', async () => {
    const { heard, stop } = watch(acme, live.id);
    await samples(heard, 1);
    const spy = vi.spyOn(ProcessRuntime.prototype, 'usage').mockRejectedValue(new RuntimeUnavailableError('away'));
    const isKnown = (stats: Stats | undefined) => stats !== undefined && usageOf(stats, 'busy').memoryBytes !== null;
    await eventually('a sample without figures', () => !isKnown(statsOf(heard).at(-1)));
    spy.mockRestore();
    await eventually('figures again', () => isKnown(statsOf(heard).at(-1)));
    expect(heard.end).toBeNull();
    stop();
  });
});

describe('the usage of a service', () => {
  type Answer = { name: string; usage: Usage | null; again: { name: string } | null }[];
  const ask = async (id: string): Promise<Answer> => (await acme.ask(USAGE, { id })).deployment.services;

  it('should be one sample of all services, and nothing of what does not run', async () => {
    const other = await acme.deployNew(stack(BUSY, IDLE, JOB));
    const spy = vi.spyOn(ProcessRuntime.prototype, 'usage');
    const [busy, idle, job] = await ask(other.id);
    expect(busy!.usage).toMatchObject({ name: 'busy', cpuPercent: null, restarts: 0 });
    expect(busy!.again).toEqual({ name: 'busy' });
    expect(idle!.usage!.memoryBytes).toBeGreaterThan(0);
    expect(job!.usage).toBeNull();
    if (SERVERS === 1) expect(looksAt(spy, other)).toBe(1);
    await eventually('a sample to compare with', async () => ((await ask(other.id))[0]?.usage?.cpuPercent ?? 0) > 5, {
      pollMs: SAMPLE_INTERVAL_MS / 4,
    });
    await acme.stop(other.id);
    expect((await ask(other.id)).map(({ usage }) => usage)).toEqual([null, null, null]);
  });

  it('should cost more than other fields', async () => {
    const many = `query ($id: ID!) { organization(id: $id) { environments(first: 100) { nodes { deployments(first: 20) {
      nodes { services { usage { memoryBytes } } } } } } } }`;
    expect(await acme.refusal(many, { id: acme.organizationId })).toBe('QUERY_TOO_COMPLEX');
  });
});
