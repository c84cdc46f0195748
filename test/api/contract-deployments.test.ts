import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { listen } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack, ticking } from '../support/compose-stacks.ts';
import { Deployer, type LogView, serviceOf } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

describe.concurrent('a restore that fails too', () => {
  const shared = 'volumes: ["data:/data"]';
  /** Runs until a later version has left its mark in the volume. */
  const web = service('web', 'if [ -e data/broken ]; then exit 4; fi; exec sleep 1000', shared);
  const breaks = service('web', 'touch data/broken; exit 3', shared);

  it('should leave the former deployment DEGRADED, with a reason, where some of it runs', async () => {
    const { stackId, ...former } = await acme.deployNew(stack(web, ticking('side', 'x')));
    await acme.changeStack(stackId, stack(breaks, ticking('side', 'x')));
    const failed = await acme.deploy(stackId);
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: 'service web: exited with code 3 before it was up',
    });
    const left = await acme.read(former.id);
    expect(left.status).toBe('DEGRADED');
    expect(left.statusReason).toMatch(/^deployment 2 could not be undone: service web: exited with code 4/);
    expect(serviceOf(left, 'side').state).toBe('RUNNING');
    await acme.stop(former.id);
  });

  it('should leave it STOPPED, with a reason, where nothing of it runs', async () => {
    const { stackId, ...former } = await acme.deployNew(stack(web));
    await acme.changeStack(stackId, stack(breaks));
    expect((await acme.deploy(stackId)).status).toBe('FAILED');
    const left = await acme.read(former.id);
    expect(left.status).toBe('STOPPED');
    expect(left.statusReason).toMatch(/^deployment 2 could not be undone: service web: exited with code 4/);
    expect(left.finishedAt).not.toBeNull();
    expect(await acme.present(stackId)).toEqual([]);
    expect((await acme.deploy(stackId, { stackVersion: 1 })).status).toBe('FAILED');
  });
});

describe('a deployment that could not start, with autoRollback off', () => {
  it('should leave the former one STOPPED, with a reason, where nothing of it runs any more', async () => {
    const { stackId, ...former } = await acme.deployNew(stack(ticking('web', 'x')));
    await acme.changeStack(stackId, stack('\n  web: { command: [ngnix] }'));
    expect((await acme.deploy(stackId, { autoRollback: false })).status).toBe('FAILED');
    const left = await acme.read(former.id);
    expect(left).toMatchObject({ status: 'STOPPED', services: [{ name: 'web', state: 'STOPPED' }] });
    expect(left.statusReason).toMatch(/^deployment 2 failed and was not to be undone: service web/);
    expect(left.finishedAt).not.toBeNull();
  });
});

describe('a deployment that another one takes the place of', () => {
  it('should be SUPERSEDED only when the last of its services that went is gone', async () => {
    const slow = service(
      'old',
      'echo pid $$$$; trap \\"sleep 0.7; exit 0\\" TERM; while :; do sleep 1 & wait; done',
      'stop_grace_period: 5s',
    );
    const { stackId, ...former } = await acme.deployNew(
      stack(ticking('web', 'x'), slow.replace('    stop_grace_period: 1s\n', '')),
    );
    const pid = Number((await acme.untilLogged(former.id, 'pid')).message.split(' ')[1]);
    await acme.changeStack(stackId, stack(ticking('web', 'x')));
    const next = await acme.begin(stackId);
    const isThere = () => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    await eventually('the former one is superseded', async () => (await acme.read(former.id)).status === 'SUPERSEDED');
    expect(isThere()).toBe(false);
    await acme.until(next.id, ['RUNNING']);
    await acme.stop(next.id);
  });
});

describe('cursors of a log', () => {
  const PAGE = `query ($id: ID!, $filter: LogFilter, $first: Int, $last: Int, $after: String, $before: String) { deployment(id: $id) {
    logs(filter: $filter, first: $first, last: $last, after: $after, before: $before) {
      nodes { sequence cursor } edges { cursor } pageInfo { startCursor endCursor } } } }`;
  const page = async (id: string, args: object) => (await acme.ask(PAGE, { id, ...args })).deployment.logs;

  it('should be positions, the same wherever they come from and whatever the filter', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8; do echo out $$i; echo err $$i >&2; done';
    const done = await acme.deployNew(stack(service('job', script)));
    await acme.stop(done.id);
    const { nodes, edges, pageInfo } = await page(done.id, { first: 100 });
    const cursors = nodes.map(({ cursor }: LogView) => cursor);
    expect(edges.map(({ cursor }: LogView) => cursor)).toEqual(cursors);
    expect([pageInfo.startCursor, pageInfo.endCursor]).toEqual([cursors[0], cursors.at(-1)]);
    const filter = { streams: ['STDERR'] };
    const errors: LogView[] = (await page(done.id, { first: 100, filter })).nodes;
    expect(errors).toHaveLength(8);
    for (const { sequence, cursor } of nodes as LogView[]) {
      const after = (await page(done.id, { first: 100, filter, after: cursor })).nodes;
      expect(after).toEqual(errors.filter((line) => line.sequence > sequence));
      const before = (await page(done.id, { last: 100, filter, before: cursor })).nodes;
      expect(before).toEqual(errors.filter((line) => line.sequence < sequence));
    }
    // And the same as those of the subscription.
    const client = app.connect(acme.token);
    const follow = `subscription ($id: ID!, $after: String) { deploymentLogs(deploymentId: $id, after: $after) { endCursor lines { cursor } } }`;
    const { heard } = listen(client, follow, { id: done.id, after: cursors[3] });
    await eventually('its end', () => heard.end !== null);
    const batches = heard.results.map(({ data }) => data.deploymentLogs);
    expect(batches.flatMap(({ lines }) => lines.map(({ cursor }: LogView) => cursor))).toEqual(cursors.slice(4));
    expect(batches.at(-1).endCursor).toBe(cursors.at(-1));
    await client.dispose();
  });
});

describe('a reader slower than the log', () => {
  const LINES = 10_000;

  it('should be fed from storage at its own pace, without a gap', async () => {
    const padding = 'x'.repeat(1_500);
    const compose = stack(
      service(
        'web',
        `while [ ! -e data/go ]; do sleep 0.05; done; seq -f '%.0f ${padding}' 1 ${LINES}; exec sleep 1000`,
        'volumes: ["data:/data"]',
      ),
      service('starter', 'sleep 1; touch data/go; exec sleep 1000', 'volumes: ["data:/data"]'),
    );
    const live = await acme.deployNew(compose);
    const socket = new WebSocket(`ws://127.0.0.1:${app.port}/graphql`, 'graphql-transport-ws');
    const sequences: number[] = [];
    let subscribed = false;
    const send = (message: object) => socket.send(JSON.stringify(message));
    socket.on('open', () => send({ type: 'connection_init', payload: { authorization: `Bearer ${acme.token}` } }));
    socket.on('message', (text) => {
      const { type, payload } = JSON.parse(String(text));
      if (type === 'connection_ack') {
        const query = 'subscription ($id: ID!) { deploymentLogs(deploymentId: $id) { lines { sequence message } } }';
        send({ type: 'subscribe', id: '1', payload: { query, variables: { id: live.id } } });
      }
      if (type !== 'next') return;
      sequences.push(...payload.data.deploymentLogs.lines.map(({ sequence }: LogView) => sequence));
      if (!subscribed) socket.pause();
      subscribed = true;
    });
    await eventually('the first lines', () => subscribed);
    await acme.untilLogged(live.id, `${LINES} xxx`);
    expect(sequences.length).toBeLessThan(LINES / 2);
    socket.resume();
    await eventually('all lines', () => sequences.length > LINES);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    socket.terminate();
    await acme.stop(live.id);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
