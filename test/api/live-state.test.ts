import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOOK_MS } from '../../src/modules/revision-feed.ts';
import { listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, supervisorsOf, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack, ticking } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView, instancesOf, serviceOf } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { forgetInstance } from '../support/forgotten-instance.ts';
import { powerCut } from '../support/power-cut.ts';

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
let client: SocketClient;
/** A file that health checks look for. */
let gate: string;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  // Of what is done to the whole host here its services would know.
  bystander = await addBystander(acme, { deploys: false });
  client = app.connect(acme.token);
  const folder = mkdtempSync('/tmp/wfl-');
  chmodSync(folder, 0o711);
  gate = join(folder, 'gate');
});
afterAll(async () => {
  await client?.dispose();
  await app?.[Symbol.asyncDispose]();
  rmSync(dirname(gate), { recursive: true, force: true });
});

type State = { status: string; statusReason: string | null; services: { name: string; state: string }[] };
const STATUS = `subscription ($id: ID!) { deploymentStatus(deploymentId: $id) { status statusReason services { name state } } }`;

/** What deploymentStatus tells from now on; `next` waits for a state, and not so long that only a poll can have found it. */
async function follow(deploymentId: string) {
  const { heard, stop } = listen(client, STATUS, { id: deploymentId });
  const states = (): State[] => heard.results.map(({ data }) => data.deploymentStatus);
  let seen = 0;
  const next = (what: string, wanted: (state: State) => boolean, deadlineMs = LOOK_MS): Promise<State> =>
    eventually(
      what,
      () => {
        for (; seen < states().length; seen++) if (wanted(states()[seen]!)) return states()[seen];
        return null;
      },
      { deadlineMs },
    );
  await next('the state now', () => true);
  return { states, next, stop };
}
const is = (status: string) => (state: State) => state.status === status;
/** Statuses one after the other, repetitions left out. */
const turnsOf = (states: State[]) =>
  states.map(({ status }) => status).filter((status, index, all) => status !== all[index - 1]);

async function pidOf(deploymentId: string, name = 'web'): Promise<number> {
  const lines = await eventually(`the pid of ${name}`, async () => {
    const found = await acme.log(deploymentId, { services: [name], search: 'pid', streams: ['STDOUT'] });
    return found.length > 0 ? found : null;
  });
  return Number(lines.at(-1)!.message.replace('pid ', ''));
}
/** How often a service has started. */
const startsOf = async (deploymentId: string, name: string) =>
  (await acme.log(deploymentId, { services: [name], search: 'pid', streams: ['STDOUT'] })).length;
const statesOf = ({ services }: DeploymentView) => Object.fromEntries(services.map(({ name, state }) => [name, state]));

const SAYS_PID = "trap 'exit 0' TERM; echo pid $$$$; while :; do sleep 1 & wait; done";
/** Healthy while the gate is there; else it says this. */
const gated = (says: string) =>
  `healthcheck: { test: ["CMD-SHELL", "test -e ${gate} || { echo ${says}; exit 1; }"], interval: 300ms, start_interval: 100ms, start_period: 30s, retries: 2 }`;
const pidSaying = (name: string, ...rest: string[]) => service(name, SAYS_PID, ...rest);

describe('a live deployment', () => {
  it('should be DEGRADED while its health check fails, and RUNNING again, told at once each time', async () => {
    writeFileSync(gate, '');
    const live = await acme.deployNew(stack(pidSaying('web', gated('no gate')), ticking('side', 'x')));
    expect(live.status).toBe('RUNNING');
    const { next, states, stop } = await follow(live.id);
    for (const _ of [1, 2]) {
      rmSync(gate);
      const degraded = await next('DEGRADED', is('DEGRADED'));
      expect(degraded).toMatchObject({
        statusReason: 'service web: health check: exit 1: no gate',
        services: [
          { name: 'side', state: 'RUNNING' },
          { name: 'web', state: 'UNHEALTHY' },
        ],
      });
      writeFileSync(gate, '');
      const running = await next('RUNNING', is('RUNNING'));
      expect(running).toMatchObject({ statusReason: null, services: [{ state: 'RUNNING' }, { state: 'HEALTHY' }] });
    }
    stop();
    expect(turnsOf(states())).toEqual(['RUNNING', 'DEGRADED', 'RUNNING', 'DEGRADED', 'RUNNING']);
    expect(instancesOf(await acme.read(live.id))).toEqual(instancesOf(live));
    await acme.stop(live.id);
  });

  it('should stay DEGRADED with the reason when a service that is not restarted was killed', async () => {
    const live = await acme.deployNew(stack(pidSaying('web'), ticking('side', 'x')));
    const { next, states, stop } = await follow(live.id);
    process.kill(-(await pidOf(live.id)), 'SIGKILL');
    const degraded = await next('DEGRADED', is('DEGRADED'));
    expect(degraded).toEqual({
      status: 'DEGRADED',
      statusReason: 'service web: killed by SIGKILL',
      services: [
        { name: 'side', state: 'RUNNING' },
        { name: 'web', state: 'EXITED' },
      ],
    });
    stop();
    expect(turnsOf(states())).toEqual(['RUNNING', 'DEGRADED']);
    await acme.stop(live.id);
  });

  it('should be RUNNING again once a service that is restarted is back', async () => {
    const live = await acme.deployNew(stack(pidSaying('web', 'restart: unless-stopped')));
    const { next, states, stop } = await follow(live.id);
    process.kill(-(await pidOf(live.id)), 'SIGKILL');
    const degraded = await next('DEGRADED', is('DEGRADED'));
    expect(degraded).toMatchObject({
      statusReason: 'service web: killed by SIGKILL',
      services: [{ state: 'RESTARTING' }],
    });
    const running = await next('RUNNING', is('RUNNING'));
    expect(running).toMatchObject({ statusReason: null, services: [{ state: 'RUNNING' }] });
    stop();
    expect(turnsOf(states())).toEqual(['RUNNING', 'DEGRADED', 'RUNNING']);
    const told = (await acme.log(live.id)).map(({ message }) => message).filter((text) => /^deployment /.test(text));
    expect(told.slice(-2)).toEqual(['deployment degraded: service web: killed by SIGKILL', 'deployment running']);
    await acme.stop(live.id);
  });

  it('should bring back what somebody took away behind its back, or say that it is gone', async () => {
    const live = await acme.deployNew(stack(pidSaying('kept', 'restart: always'), pidSaying('once')));
    for (const name of ['kept', 'once']) await forgetInstance(app.database.pool, app.runtimeDirectory, name);
    const settled = await acme.until(
      live.id,
      (deployment) => deployment.statusReason === 'service once: nothing is left of it on its host',
    );
    expect(settled.status).toBe('DEGRADED');
    const back = await acme.until(live.id, (deployment) => statesOf(deployment).kept === 'RUNNING');
    expect(statesOf(back)).toEqual({ kept: 'RUNNING', once: 'EXITED' });
    expect(instancesOf(back).once).toBe(instancesOf(live).once);
    expect(instancesOf(back).kept).not.toBe(instancesOf(live).kept);
    const again = await acme.deploy(live.stackId);
    expect(again).toMatchObject({ status: 'RUNNING', statusReason: null });
    await acme.stop(again.id);
  });

  it('should not show the beginning of a secret where a health check’s words are cut', async () => {
    await acme.setVariable('PASSWORD', 'correct horse battery staple', true);
    const said = 'x'.repeat(180);
    writeFileSync(gate, '');
    const live = await acme.deployNew(stack(pidSaying('web', gated(`${said} \${PASSWORD}`))));
    rmSync(gate);
    const degraded = await acme.until(live.id, ['DEGRADED']);
    expect(degraded.statusReason).toBe(`service web: health check: exit 1: ${said} ***…`);
    const lines = (await acme.log(live.id)).map(({ message }) => message);
    expect(lines).toContain(`unhealthy: exit 1: ${said} ***…`);
    expect(lines.join()).not.toContain('corr');
    await acme.stop(live.id);
  });
});

describe('a host that restarts', () => {
  /** Supervisors are started first. */
  const REVIVAL_MS = 20_000;
  const POLICIES = ['always', 'unless-stopped', 'on-failure', 'no'];
  const reboots: [string, () => Promise<void>][] = [
    ['at once', () => powerCut(app.runtimeDirectory)],
    [
      'in order',
      async () => {
        for (const pid of await supervisorsOf(app.runtimeDirectory)) process.kill(pid, 'SIGTERM');
      },
    ],
  ];

  it.each(
    reboots,
  )('should run again what its policy keeps up, of several stacks, when it ends %s', async (_how, reboot) => {
    const mixed = await acme.deployNew(
      stack(
        ...POLICIES.map((policy) => pidSaying(policy, `restart: "${policy}"`)),
        service('job', 'echo pid $$$$', 'restart: "no"'),
      ),
    );
    const kept = await acme.deployNew(stack(pidSaying('one', 'restart: always'), pidSaying('two', 'restart: always')));
    expect([mixed.status, kept.status]).toEqual(['RUNNING', 'RUNNING']);
    const former = instancesOf(mixed);
    const statuses = [await follow(mixed.id), await follow(kept.id)] as const;
    await reboot();
    for (const { next } of statuses) await next('DEGRADED', is('DEGRADED'));
    await statuses[1].next('RUNNING', is('RUNNING'), REVIVAL_MS);
    for (const { stop } of statuses) stop();
    expect(turnsOf(statuses[1].states())).toEqual(['RUNNING', 'DEGRADED', 'RUNNING']);

    const settled = await acme.until(
      mixed.id,
      (deployment) =>
        POLICIES.slice(0, 3).every((policy) => serviceOf(deployment, policy).state === 'RUNNING') &&
        serviceOf(deployment, 'no').state === 'EXITED',
    );
    expect(statesOf(settled)).toMatchObject({ no: 'EXITED', job: 'EXITED' });
    expect(settled.status).toBe('DEGRADED');
    expect(settled.statusReason).toMatch(/^service no: its supervisor (ended: it was killed|was told to end)/);
    expect(serviceOf(settled, 'no').replicas[0]).toMatchObject({ exitCode: null, restarts: 0 });
    expect(serviceOf(settled, 'job').replicas[0]).toMatchObject({ exitCode: 0 });
    const now = instancesOf(settled);
    expect(POLICIES.filter((policy) => now[policy] === former[policy])).toEqual(['no']);
    expect(now.job).toBe(former.job);
    for (const [policy, starts] of [
      ...POLICIES.slice(0, 3).map((name) => [name, 2] as const),
      ['no', 1],
      ['job', 1],
    ] as const)
      await eventually(`${starts} starts of ${policy}`, async () => (await startsOf(mixed.id, policy)) === starts);
    // A deployment brings back the rest, and leaves alone what runs.
    const again = await acme.deploy(mixed.stackId);
    expect(again.status).toBe('RUNNING');
    const changed = instancesOf(again);
    expect(Object.keys(changed).filter((name) => changed[name] !== now[name])).toEqual(['no']);
    for (const id of [again.id, kept.id]) await acme.stop(id);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
