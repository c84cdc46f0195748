import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { stack } from '../support/compose-stacks.ts';
import type { Deployer } from '../support/deployer.ts';
import { clientOf, container, containersOf, deployerOn, IMAGE } from '../support/docker/containers.ts';
import { eventually } from '../support/eventually.ts';

const endpoint = inject('dockerEngine');
const MIB = 1_048_576;
const HOLD = 'exec sleep 86400';
const FIGURES = 'cpuPercent memoryBytes memoryLimitBytes networkReceivedBytes networkSentBytes restarts';
const STATS = `subscription ($id: ID!) { serviceStats(deploymentId: $id) {
  sampledAt services { name ${FIGURES} replicas { number instance ${FIGURES} } } } }`;

type Usage = { name: string; cpuPercent: number | null; memoryBytes: number | null; restarts: number };

describe.skipIf(endpoint === null)('what containers use', () => {
  const docker = clientOf(endpoint ?? '');
  let app: TestApp;
  let acme: Deployer;
  let client: SocketClient;
  beforeAll(async () => {
    app = await startApp();
    acme = await deployerOn(app, endpoint!);
    client = app.connect(acme.token);
  });
  afterAll(async () => {
    await client?.dispose();
    await app[Symbol.asyncDispose]();
    const left = await containersOf(docker, decodeIdOf('Environment', acme.environmentId)!);
    for (const { id } of left) await docker.getContainer(id).remove({ force: true, v: true });
  });

  const watch = (id: string) => {
    const { heard, stop } = listen(client, STATS, { id });
    const newest = (): Usage[] => heard.results.at(-1)?.data.serviceStats.services ?? [];
    return { heard, stop, newest, of: (name: string) => newest().find((usage) => usage.name === name) };
  };

  it('should be told with limits and traffic, container by container', async () => {
    const talking = container('talking', `while :; do nc listening 5432 </dev/null; sleep 0.1; done`, 'mem_limit: 64m');
    const listening = container('listening', 'nc -ll -p 5432 -e echo hello', 'deploy: { replicas: 2 }');
    const apart = container('apart', HOLD, 'network_mode: none');
    const busy = container('busy', 'while :; do :; done', 'mem_limit: 32m');
    const live = await acme.deployNew(stack(talking, listening, apart, busy));
    const { stop, of, newest } = watch(live.id);
    await eventually('CPU usage', () => (of('busy')?.cpuPercent ?? 0) > 5);
    expect(of('busy')!.cpuPercent).toBeLessThan(150);
    expect(of('busy')).toMatchObject({ memoryLimitBytes: 32 * MIB, restarts: 0 });
    expect(of('talking')).toMatchObject({ memoryLimitBytes: 64 * MIB });
    expect(of('listening')).toMatchObject({ memoryLimitBytes: null, replicas: [{ number: 1 }, { number: 2 }] });
    for (const { memoryBytes } of newest()) expect(memoryBytes).toBeGreaterThan(0);
    const traffic = (name: string) => of(name) as unknown as Record<string, number | null>;
    await eventually('traffic', () => (traffic('talking').networkReceivedBytes ?? 0) > 1_000);
    expect(traffic('talking').networkSentBytes).toBeGreaterThan(0);
    stop();
    const query = `query ($id: ID!) { deployment(id: $id) { services { name usage { name ${FIGURES} } } } }`;
    const { deployment } = await acme.ask(query, { id: live.id });
    expect(deployment.services.map(({ usage }: { usage: Usage }) => usage.name)).toEqual(
      newest().map(({ name }) => name),
    );

    const ending = watch(live.id);
    await eventually('a sample', () => ending.heard.results.length > 0);
    await acme.stop(live.id);
    await eventually('the end', () => ending.heard.end !== null);
    expect(ending.heard.end).toBe('complete');
  });

  it('should be why a container that takes too much memory is killed, and be said', async () => {
    // Without a health check it might be up for long enough to count as live.
    const waiting = 'healthcheck: { test: ["CMD", "false"], interval: 1s, start_period: 60s }';
    const rest = ['mem_limit: 16m', 'restart: "no"', waiting];
    const greedy = container('greedy', 'head -c 64m /dev/zero | tail', ...rest);
    const { stackId, ...failed } = await acme.deployNew(stack(greedy));
    const reason = `out of memory: killed at the limit of ${16 * MIB} bytes`;
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringContaining(`service greedy: ${reason}`),
    });
    const system = (await acme.log(failed.id, { services: ['greedy'], streams: ['SYSTEM'] })).map(
      ({ message }) => message,
    );
    expect(system.join('\n')).toContain(reason);

    await acme.changeStack(stackId, stack(container('greedy', 'exit 3', ...rest)));
    const ended = await acme.deploy(stackId);
    expect(ended).toMatchObject({ status: 'FAILED', statusReason: expect.stringContaining('exited with code 3') });
  });

  it('should begin with a line for each service that says which image it runs, once', async () => {
    const { Id: id } = await docker.getImage(IMAGE).inspect();
    const live = await acme.deployNew(stack(container('web', HOLD), container('db', HOLD)));
    const told = async (deploymentId: string) =>
      (await acme.log(deploymentId, { streams: ['SYSTEM'], search: 'image' }))
        .filter(({ message }) => message.startsWith('image '))
        .map(({ service, message }) => ({ service, message }));
    const lines = ['db', 'web'].map((service) => ({ service, message: `image ${IMAGE} is ${id.slice(0, 19)}` }));
    expect(await told(live.id)).toEqual(expect.arrayContaining(lines));
    expect(await told(live.id)).toHaveLength(2);
    const again = await acme.deploy(live.stackId);
    expect(await told(again.id)).toHaveLength(2);
    await acme.stop(again.id);
  });
});
