import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { Deployer, type DeploymentView, instancesOf, serviceOf } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

const pair = (web: string, db = 'db') => `
services:
  web:
    command: ["sh", "-c", "echo ${web} $$$$ on $$PORT and $$PORT_80, peer at $$DB_HOST:$$DB_PORT; exec sleep 1000"]
    depends_on: [db]
    ports: ["80"]
  db:
    command: ["sh", "-c", "echo ${db} $$$$ on $$PORT; exec sleep 1000"]
`;

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

const portOf = (deployment: DeploymentView, service: string): number =>
  serviceOf(deployment, service).replicas[0]!.ports[0]!.published;

describe('a first deployment', () => {
  it('should be live with steps, progress, services, ports and a log', async () => {
    const stackId = await acme.newStack(pair('web'));
    const begun = await acme.begin(stackId);
    expect(begun).toMatchObject({ number: 1, status: 'QUEUED', statusReason: null, liveAt: null, progress: 0 });
    const live = await acme.until(begun.id, ['RUNNING']);
    expect(live).toMatchObject({ number: 1, statusReason: null, progress: 1, finishedAt: null, supersededBy: null });
    expect(live.revision).toBeGreaterThan(begun.revision);
    expect(Date.parse(live.liveAt!)).toBeGreaterThanOrEqual(Date.parse(live.startedAt!));
    expect(live.steps.map(({ name, state }) => [name, state])).toEqual([
      ['prepare', 'SUCCEEDED'],
      ['start db', 'SUCCEEDED'],
      ['start web', 'SUCCEEDED'],
      ['verify', 'SUCCEEDED'],
      ['commit', 'SUCCEEDED'],
    ]);
    for (const { startedAt, finishedAt } of live.steps) expect([startedAt, finishedAt]).not.toContain(null);
    expect(live.services.map(({ name, state }) => [name, state])).toEqual([
      ['db', 'RUNNING'],
      ['web', 'RUNNING'],
    ]);
    const [replica] = serviceOf(live, 'web').replicas;
    expect(replica).toMatchObject({ number: 1, state: 'RUNNING', restarts: 0, exitCode: null });
    expect(replica!.ports).toEqual([{ target: 80, published: portOf(live, 'web'), host: '0.0.0.0', protocol: 'tcp' }]);

    const [web, db] = [portOf(live, 'web'), portOf(live, 'db')];
    await acme.untilLogged(live.id, 'peer at');
    const lines = await acme.log(live.id);
    expect(lines.map(({ sequence }) => sequence)).toEqual(lines.map((_, index) => index + 1));
    const output = await acme.output(live.id);
    expect(output).toHaveLength(2);
    expect(output[0]).toMatch(new RegExp(`^db: db \\d+ on ${db}$`));
    expect(output[1]).toMatch(new RegExp(`^web: web \\d+ on ${web} and ${web}, peer at 127\\.0\\.0\\.1:${db}$`));
    const told = lines.filter(({ stream, service }) => stream === 'SYSTEM' && service === null);
    expect(told.map(({ message }) => message)).toEqual([
      'deployment preparing',
      expect.stringContaining('not on 80'),
      'deployment deploying',
      'deployment verifying',
      'deployment running',
    ]);
    await acme.stop(live.id);
  });
});

describe('deploying again', () => {
  let stackId: string;
  let first: DeploymentView;
  beforeAll(async () => {
    ({ stackId, ...first } = await acme.deployNew(pair('web')));
  });

  it('should touch nothing where nothing differs, and move what runs and its ports to the new deployment', async () => {
    await acme.untilLogged(first.id, 'peer at');
    const again = await acme.deploy(stackId);
    expect(again).toMatchObject({ number: 2, status: 'RUNNING', progress: 1 });
    expect(instancesOf(again)).toEqual(instancesOf(first));
    expect(serviceOf(again, 'web').replicas).toEqual(serviceOf(first, 'web').replicas);
    expect(again.steps.map(({ name, state, message }) => [name, state, message])).toEqual([
      ['prepare', 'SUCCEEDED', null],
      ['start db', 'SKIPPED', 'unchanged'],
      ['start web', 'SKIPPED', 'unchanged'],
      ['verify', 'SUCCEEDED', null],
      ['commit', 'SUCCEEDED', null],
    ]);
    expect(await acme.output(again.id)).toEqual([]);
    const former = await acme.read(first.id);
    expect(former).toMatchObject({
      status: 'SUPERSEDED',
      statusReason: 'deployment 2 took its place',
      supersededBy: { id: again.id },
    });
    expect(former.finishedAt).not.toBeNull();
    expect(former.services.map(({ state }) => state)).toEqual(['STOPPED', 'STOPPED']);
  });

  it('should replace the changed service alone', async () => {
    const before = await acme.deploy(stackId);
    await acme.changeStack(stackId, pair('changed'));
    const after = await acme.deploy(stackId);
    expect(after.status).toBe('RUNNING');
    expect(instancesOf(after).db).toBe(instancesOf(before).db);
    expect(instancesOf(after).web).not.toBe(instancesOf(before).web);
    expect(portOf(after, 'web')).toBe(portOf(before, 'web'));
    expect(after.steps.map(({ name, state, message }) => [name, state, message])).toContainEqual([
      'start web',
      'SUCCEEDED',
      'replaces what runs',
    ]);
    await acme.untilLogged(after.id, 'changed');
    expect(await acme.present(stackId)).toEqual(['db', 'web']);
  });

  it('should take away a service that the compose file has no longer', async () => {
    await acme.changeStack(stackId, 'services: { db: { command: [sh, -c, "exec sleep 1000"] } }');
    const after = await acme.deploy(stackId);
    expect(after.status).toBe('RUNNING');
    expect(after.services.map(({ name }) => name)).toEqual(['db']);
    expect(await acme.present(stackId)).toEqual(['db']);
  });

  it('should run an older version when asked for it', async () => {
    const old = await acme.deploy(stackId, { stackVersion: 1 });
    expect(old.status).toBe('RUNNING');
    await acme.untilLogged(old.id, 'web');
    expect(await acme.tryDeploy(stackId, { stackVersion: 99 })).toMatchObject({ __typename: 'ValidationError' });
    expect(await acme.tryDeploy(stackId, { strategy: 'ROLLING' })).toMatchObject({
      __typename: 'ValidationError',
      fields: [{ path: ['strategy'], message: expect.stringContaining('RECREATE') }],
    });
    expect(await acme.tryDeploy(stackId, { healthTimeoutSeconds: 0 })).toMatchObject({ __typename: 'ValidationError' });
  });

  it('should go one at a time, in the order of numbers, whoever comes at once', async () => {
    const asked = await Promise.all(Array.from({ length: 4 }, () => acme.begin(stackId)));
    const numbers = asked.map(({ number }) => number).sort((a, b) => a - b);
    expect(numbers).toEqual(numbers.map((_, index) => numbers[0]! + index));
    await acme.until(asked.find(({ number }) => number === numbers.at(-1))!.id, ['RUNNING']);
    const done = await Promise.all(asked.map(({ id }) => acme.read(id)));
    const inOrder = done.toSorted((a, b) => a.number - b.number);
    expect(inOrder.map(({ status }) => status)).toEqual(['SUPERSEDED', 'SUPERSEDED', 'SUPERSEDED', 'RUNNING']);
    for (const [index, { startedAt }] of inOrder.entries()) {
      const before = inOrder[index - 1];
      if (before) expect(Date.parse(startedAt!)).toBeGreaterThanOrEqual(Date.parse(before.liveAt!));
    }
    expect(asked.map(({ statusReason }) => statusReason)).toContain(`waits for deployment ${numbers[0]}`);
    for (const { statusReason } of done.filter(({ status }) => status === 'RUNNING')) expect(statusReason).toBeNull();
  });
});

describe('a service that restarted often long ago', () => {
  it('should not keep the next deployment from going live', async () => {
    const compose = (other: string) => `
services:
  flaky:
    command: ["sh", "-c", "echo x >> data/starts; [ $$(wc -l < data/starts) -gt 3 ] || { sleep 0.7; exit 1; }; exec sleep 1000"]
    restart: always
    volumes: ["starts:/data"]
  other:
    command: ["sh", "-c", "echo ${other}; exec sleep 1000"]
volumes: { starts: {} }
`;
    const { stackId, ...first } = await acme.deployNew(compose('one'));
    const settled = await acme.until(
      first.id,
      (deployment) => deployment.status === 'RUNNING' && serviceOf(deployment, 'flaky').replicas[0]!.restarts === 3,
    );
    await acme.changeStack(stackId, compose('two'));
    const next = await acme.deploy(stackId);
    expect(next).toMatchObject({ status: 'RUNNING', statusReason: null });
    expect(instancesOf(next).flaky).toBe(instancesOf(settled).flaky);
    await acme.stop(next.id);
  });
});

describe('variables', () => {
  it('should reach services as they are, newlines and equals signs too, and secrets be masked wherever they come out', async () => {
    const secret = 'hunter2/with+signs';
    await acme.setVariable('PLAIN', 'a=b\nsecond line = "quoted" $HOME');
    await acme.setVariable('TOKEN', secret, true);
    const compose = `
services:
  printer:
    command:
      - sh
      - -c
      - |
        printf '%s\\n' "plain is $$PLAIN"
        echo "token $$TOKEN has $$(printf %s "$$TOKEN" | wc -c) bytes"
        printf %s "$$TOKEN" | base64
        echo "again: $$(cat token.txt)" >&2
        echo "to \${TOKEN}"
        exit 3
    environment: { PLAIN: "\${PLAIN}", TOKEN: "\${TOKEN}" }
    configs: [{ source: token, target: token.txt }]
    restart: "no"
configs: { token: { content: "\${TOKEN}" } }
`;
    const failed = await acme.deployNew(compose);
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: 'service printer: exited with code 3 before it was up',
    });
    const output = await acme.output(failed.id);
    // What goes to standard error has its own order beside standard output's.
    const toStderr = 'printer: again: ***';
    expect(output).toContain(toStderr);
    expect(output.filter((line) => line !== toStderr)).toEqual([
      'printer: plain is a=b',
      'printer: second line = "quoted" $HOME',
      `printer: token *** has ${secret.length} bytes`,
      expect.stringMatching(/^printer: \*\*\*/),
      'printer: to ***',
    ]);
    const { rows } = await app.database.pool.query(
      `select coalesce(string_agg(t::text, ' '), '') as text from (
         select message as t from log_lines union all select data::text from events
         union all select specs from releases union all select status_reason from deployments) x`,
    );
    expect(rows[0].text).not.toContain(secret);
    expect(rows[0].text).not.toContain(Buffer.from(secret).toString('base64'));
  });

  it('should be masked in the reason of a deployment that fails', async () => {
    await acme.setVariable('PROGRAM', 'no-such-program-of-acme', true);
    const failed = await acme.deployNew('services: { web: { command: ["${PROGRAM}"] } }');
    expect(failed.status).toBe('FAILED');
    expect(failed.statusReason).toContain('command not found');
    expect(JSON.stringify([failed, await acme.log(failed.id)])).not.toContain('no-such-program');
  });
});

describe('files that a stack brings along', () => {
  it('should be there: env files, and configs and secrets by file', async () => {
    await acme.setVariable('NAME', 'acme');
    const live = await acme.deployNew(`
x-windflow:
  files:
    web.env: |
      GREETING="Hello, \${NAME:-nobody}"
    web.conf: |
      level=info
services:
  web:
    command: ["sh", "-c", "cat conf/web.conf run/secrets/token; echo $$GREETING; exec sleep 1000"]
    env_file: [web.env]
    configs: [{ source: conf, target: /conf/web.conf }]
    secrets: [token]
configs: { conf: { file: ./web.conf } }
secrets: { token: { file: ./web.conf } }
`);
    expect(live.status).toBe('RUNNING');
    await acme.untilLogged(live.id, 'Hello');
    expect(await acme.output(live.id)).toEqual(['web: level=info', 'web: level=info', 'web: Hello, acme']);
    await acme.stop(live.id);
  });
});

describe('ports', () => {
  const fixed = (port: number) => `services: { web: { command: [sleep, "1000"], ports: ["${port}:${port}"] } }`;
  const freePort = async (): Promise<{ port: number; close: () => Promise<void> }> => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
  };

  it('should be refused when a stranger’s program listens there', async () => {
    const stranger = await freePort();
    const failed = await acme.deployNew(fixed(stranger.port));
    expect(failed).toMatchObject({
      status: 'FAILED',
      statusReason: `service web: port ${stranger.port}/tcp is already in use by another program on this host`,
    });
    expect(failed.services).toMatchObject([{ name: 'web', state: 'STOPPED', replicas: [] }]);
    await stranger.close();
    expect((await acme.deploy(failed.stackId)).status).toBe('RUNNING');
  });

  it('should be refused when another stack has them, and be free again when that one is stopped', async () => {
    const free = await freePort();
    await free.close();
    const one = await acme.deployNew(fixed(free.port));
    expect(one.status).toBe('RUNNING');
    const two = await acme.deployNew(fixed(free.port));
    expect(two).toMatchObject({
      status: 'FAILED',
      statusReason: `service web: port ${free.port}/tcp is taken by the stack "web" in the environment "dev"`,
    });
    await acme.stop(one.id);
    const three = await acme.deploy(two.stackId);
    expect(three.status).toBe('RUNNING');
    await acme.stop(three.id);
    await eventually('no reservation is left', async () => {
      const { rowCount } = await app.database.pool.query('select 1 from port_reservations where port = $1', [
        free.port,
      ]);
      return rowCount === 0;
    });
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
