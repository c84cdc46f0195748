import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FREE_PORT_FIRST } from '../../src/modules/deployments/ports.ts';
import { portIsFree } from '../../src/runtimes/process/port-probe.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView, type ReplicaView, serviceOf } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
/** The first of ten ports that nobody has at present. */
let range: number;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
  range = await freeRange();
});
afterAll(() => app?.[Symbol.asyncDispose]());

const RANGE_SIZE = 10;
const SAYS_WHO = "trap 'exit 0' TERM; echo pid $$$$ port $$PORT; while :; do sleep 1 & wait; done";
const web = (replicas: number, ...rest: string[]) =>
  service('web', SAYS_WHO, `deploy: { replicas: ${replicas} }`, ...rest);
const ranged = (size = RANGE_SIZE) => `ports: ["${range}-${range + size - 1}:80"]`;

const replicasOf = (deployment: DeploymentView): ReplicaView[] => serviceOf(deployment, 'web').replicas;
const portsOf = (deployment: DeploymentView) => replicasOf(deployment).map(({ ports }) => ports[0]!.published);
const identitiesOf = (deployment: DeploymentView) =>
  replicasOf(deployment).map(({ number, instance, startedAt, ports }) => ({ number, instance, startedAt, ports }));
const numbersOf = (deployment: DeploymentView) => replicasOf(deployment).map(({ number }) => number);

/** Below the ports that Linux gives to outgoing connections, and those that services get where they name none. */
async function freeRange(): Promise<number> {
  return eventually('ten free ports in a row', async () => {
    const first = randomInt(10_000, FREE_PORT_FIRST - RANGE_SIZE);
    const all = Array.from({ length: RANGE_SIZE }, (_, index) => first + index);
    const free = await Promise.all(all.map((port) => portIsFree('0.0.0.0', port, 'tcp')));
    return free.every(Boolean) ? first : null;
  });
}

/** What each replica wrote of itself, by its number. */
async function said(deploymentId: string, count: number): Promise<Map<number, { pid: number; port: number }>> {
  const query = `query ($id: ID!) { deployment(id: $id) { logs(first: 100, filter: { search: "pid", streams: [STDOUT] }) {
    nodes { replica message } } } }`;
  return eventually(`a line of each of ${count} replicas`, async () => {
    const { deployment } = await acme.ask(query, { id: deploymentId });
    const found = new Map<number, { pid: number; port: number }>();
    for (const { replica, message } of deployment.logs.nodes) {
      const [, pid, port] = /^pid (\d+) port (\d+)$/.exec(message)!;
      found.set(replica, { pid: Number(pid), port: Number(port) });
    }
    return found.size === count ? found : null;
  });
}

describe('replicas', () => {
  it('should each have a port of the range, a state of its own, and lines that tell them apart', async () => {
    const live = await acme.deployNew(stack(web(3, ranged())));
    expect(live.status).toBe('RUNNING');
    expect(serviceOf(live, 'web').state).toBe('RUNNING');
    expect(numbersOf(live)).toEqual([1, 2, 3]);
    expect(portsOf(live)).toEqual([range, range + 1, range + 2]);
    expect(new Set(replicasOf(live).map(({ instance }) => instance)).size).toBe(3);
    for (const replica of replicasOf(live)) expect(replica).toMatchObject({ state: 'RUNNING', restarts: 0 });
    const lines = await said(live.id, 3);
    expect([1, 2, 3].map((number) => lines.get(number)!.port)).toEqual(portsOf(live));
    expect(new Set([...lines.values()].map(({ pid }) => pid)).size).toBe(3);
    await acme.stop(live.id);
  });

  it('should get free ports where the compose file names none, published or not', async () => {
    for (const rest of [['ports: ["80"]'], []]) {
      const live = await acme.deployNew(stack(web(3, ...rest)));
      expect(new Set(portsOf(live)).size).toBe(3);
      const lines = await said(live.id, 3);
      expect([1, 2, 3].map((number) => lines.get(number)!.port)).toEqual(portsOf(live));
      await acme.stop(live.id);
    }
  });

  it('should be refused where the range has too few ports for them', async () => {
    const failed = await acme.tryDeploy(await acme.newStack(stack(web(4, ranged(3)))));
    const told =
      failed.__typename === 'Deployment' ? (await acme.until(failed.id, ['FAILED'])).statusReason : failed.message;
    expect(told).toMatch(/service web|replicas/);
  });
});

describe('another number of replicas', () => {
  let stackId: string;
  let two: DeploymentView;
  let four: DeploymentView;

  it('should leave those alone that stay when it grows', async () => {
    ({ stackId, ...two } = await acme.deployNew(stack(web(2, ranged()))));
    await acme.changeStack(stackId, stack(web(4, ranged())));
    four = await acme.deploy(stackId);
    expect(four.status).toBe('RUNNING');
    expect(identitiesOf(four).slice(0, 2)).toEqual(identitiesOf(two));
    expect(portsOf(four)).toEqual([range, range + 1, range + 2, range + 3]);
  });

  it('should take the highest numbers away when it shrinks', async () => {
    await acme.changeStack(stackId, stack(web(1, ranged())));
    const one = await acme.deploy(stackId);
    expect(one.status).toBe('RUNNING');
    expect(identitiesOf(one)).toEqual(identitiesOf(two).slice(0, 1));
    expect(await acme.present(stackId)).toEqual(['web']);
    expect(await acme.read(four.id)).toMatchObject({
      status: 'SUPERSEDED',
      services: [{ replicas: [2, 3, 4].map((number) => ({ number, state: 'STOPPED' })) }],
    });
    // Their ports are anybody's again.
    const other = await acme.deployNew(stack(service('api', SAYS_WHO, `ports: ["${range + 3}:80"]`)));
    expect(other.status).toBe('RUNNING');
    await acme.stop(other.id);
    await acme.stop(one.id);
  });
});

describe('one replica that crashes', () => {
  it('should be told of alone, with the state of its service as the worst', async () => {
    const live = await acme.deployNew(stack(web(3)));
    const second = (await said(live.id, 3)).get(2)!;
    process.kill(-second.pid, 'SIGKILL');
    const degraded = await acme.until(live.id, ['DEGRADED']);
    expect(degraded.statusReason).toBe('service web (replica 2): killed by SIGKILL');
    expect(serviceOf(degraded, 'web').state).toBe('EXITED');
    expect(replicasOf(degraded).map(({ state, restarts, exitCode }) => [state, restarts, exitCode])).toEqual([
      ['RUNNING', 0, null],
      ['EXITED', 0, 137],
      ['RUNNING', 0, null],
    ]);
    // With "restart: no" it stays so, until a deployment brings it back and leaves the others alone.
    const again = await acme.deploy(live.stackId);
    expect(again.status).toBe('RUNNING');
    const [before, after] = [identitiesOf(live), identitiesOf(again)];
    expect([after[0], after[2]]).toEqual([before[0], before[2]]);
    expect(after[1]!.instance).not.toBe(before[1]!.instance);
    await acme.stop(again.id);
  });

  it('should be restarted alone', async () => {
    const live = await acme.deployNew(stack(web(2, 'restart: always')));
    const first = (await said(live.id, 2)).get(1)!;
    process.kill(-first.pid, 'SIGKILL');
    const mended = await acme.until(
      live.id,
      (deployment) => deployment.status === 'RUNNING' && replicasOf(deployment)[0]!.restarts === 1,
    );
    expect(replicasOf(mended).map(({ state, restarts, exitCode }) => [state, restarts, exitCode])).toEqual([
      ['RUNNING', 1, 137],
      ['RUNNING', 0, null],
    ]);
    expect(replicasOf(mended).map(({ instance }) => instance)).toEqual(
      replicasOf(live).map(({ instance }) => instance),
    );
    await acme.stop(live.id);
  });
});

describe('restarts', () => {
  const COUNTING = 'n=$$(cat n 2>/dev/null || echo 0); echo $$((n + 1)) > n; ';

  it('should end after as many as on-failure allows, each later than the one before', async () => {
    // The first run lasts until it is live.
    const first = "trap 'exit 3' USR1; echo pid $$$$ port 0; while :; do sleep 1 & wait; done";
    const script = `${COUNTING}[ $$n = 0 ] && { ${first}; }; exit $$((n + 3))`;
    const live = await acme.deployNew(stack(service('web', script, 'restart: on-failure:2')));
    process.kill((await said(live.id, 1)).get(1)!.pid, 'SIGUSR1');
    const ended = await acme.until(
      live.id,
      // A read may come between the change of the service and what is made of it.
      ({ status, statusReason, services }) =>
        status === 'DEGRADED' && services[0]!.state === 'EXITED' && !statusReason!.includes('restarted once'),
    );
    expect(replicasOf(ended)).toMatchObject([{ state: 'EXITED', restarts: 2, exitCode: 5 }]);
    expect(ended.statusReason).toBe('service web: exited with code 3, restarted 2 times, last: exited with code 5');
    const lines = (await acme.log(live.id, { search: 'restarting in' })).map(({ message }) => message);
    expect(lines).toEqual(['restarting in 100 ms', 'restarting in 200 ms']);
    await acme.stop(live.id);
  });

  it('should be none after a success with on-failure, which is no trouble', async () => {
    const live = await acme.deployNew(stack(service('web', 'sleep 0.1; exit 0', 'restart: on-failure')));
    const done = await acme.until(live.id, (deployment) => serviceOf(deployment, 'web').state === 'EXITED');
    expect(done).toMatchObject({ status: 'RUNNING', statusReason: null });
    expect(replicasOf(done)).toMatchObject([{ restarts: 0, exitCode: 0 }]);
    await acme.stop(live.id);
  });

  it('should be told of with the first error of a crash loop, in its own words, and not with what follows from it', async () => {
    await acme.setVariable('PASSWORD', 'correct horse battery', true);
    const script = `${COUNTING}[ $$n = 0 ] && { echo cannot open config of \${PASSWORD} >&2; exit 3; }; echo address in use >&2; exit 98`;
    const failed = await acme.deployNew(stack(service('web', script, 'restart: always')));
    expect(failed).toMatchObject({
      status: 'FAILED',
      // Whoever looks later sees more restarts.
      statusReason: expect.stringMatching(
        /^service web: exited with code 3 \(cannot open config of \*{3}\), restarted [3-9] times, last: exited with code 98 \(address in use\)$/,
      ),
    });
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
