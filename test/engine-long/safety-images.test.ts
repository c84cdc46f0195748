import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { stack } from '../support/compose-stacks.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Deployer, type DeploymentView, instancesOf } from '../support/deployer.ts';
import { container, containersOf, deployerOn, IMAGE, onEngine } from '../support/docker/containers.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { breakingRegistry, LOGIN, Registry, silentRegistry } from '../support/docker/registry.ts';
import { eventually } from '../support/eventually.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { serverApp } from '../support/server-app.ts';

const HOLD = 'exec sleep 86400';
const WRONG = 'no such secret';

describe.skipIf(inject('dockerEngine') === null || process.geteuid?.() !== 0)('images that cannot be had', () => {
  let engine: OwnEngine;
  let registry: Registry;
  let database: TestDatabase;
  let server: ServerProcess;
  let acme: Deployer;
  let live: DeploymentView & { stackId: string };
  let before: unknown;

  beforeAll(async () => {
    engine = await OwnEngine.start('images', { flags: '--max-download-attempts 1' });
    registry = await Registry.start(engine, 5000);
    database = await createTestDatabase();
    const databaseUrl = connectionUrl(database.connection);
    server = await startServer({ databaseUrl, env: { WINDFLOW_LOG_LEVEL: 'debug' } });
    const app = serverApp(server, database);
    acme = await deployerOn(app, engine.endpoint);
    live = await acme.deployNew(stack(web(IMAGE)));
    before = await seen();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    // Whatever went wrong, what ran before was not touched.
    expect(await seen()).toEqual(before);
    expect(await acme.read(live.id)).toMatchObject({ status: 'RUNNING', statusReason: null });
  });

  const web = (image: string, ...rest: string[]) => container('web', HOLD, ...rest).replace(IMAGE, image);
  const pulled = (image: string) => web(image, 'pull_policy: always');
  const built = (...steps: string[]) => `${web('unnamed').replace(/^ {4}image: .*$/m, buildOf(steps))}${FILES}`;
  const imageOf = async (of: Deployer) => (await containersOf(engine.docker, ofEnvironment(of)))[0]?.image;
  const seen = async () => ({
    containers: (await containersOf(engine.docker, ofEnvironment(acme))).map(({ id, state }) => [id, state]),
    instances: instancesOf(await acme.read(live.id)),
  });
  const begin = async (compose: string) => {
    await acme.changeStack(live.stackId, compose);
    return (await acme.begin(live.stackId)).id;
  };
  const ended = async (compose: string, status = 'FAILED') => acme.until(await begin(compose), [status]);
  const said = async (id: string, of = acme) =>
    (await of.log(id, { streams: ['SYSTEM'] })).map(({ service, message }) => `${service}: ${message}`);

  it('should follow a tag that moves with a redeploy, and go back to the very image with a rollback', async () => {
    const there = await onEngine(acme, engine.endpoint, 'tags');
    const one = await registry.publish('moving:1');
    const first = await there.deployNew(stack(pulled(`${registry.host}/moving:1`)));
    expect([first.status, await imageOf(there)]).toEqual(['RUNNING', one]);
    expect(await said(first.id, there)).toEqual(
      expect.arrayContaining([`web: pulling ${registry.host}/moving:1`, `web: pulled ${registry.host}/moving:1`]),
    );
    const two = await registry.publish('moving:1');
    const redeploy = await there.mutate('deploymentRedeploy', 'Deployment { id }', { deploymentId: first.id });
    await there.until(redeploy.id, ['RUNNING']);
    expect(await imageOf(there)).toBe(two);

    await engine.docker.getImage(one).remove({ force: true });
    const input = { deploymentId: redeploy.id, toDeploymentId: first.id };
    const { id } = await there.mutate('deploymentRollback', 'Deployment { id }', input);
    await there.until(id, ['RUNNING']);
    expect(await imageOf(there)).toBe(one);
    expect(await said(id, there)).toContainEqual(expect.stringMatching(/^web: pulled .*\/moving@sha256:/));
    await there.stop(id);
  });

  it('should say in prepare that an image of an earlier release is gone everywhere', async () => {
    const there = await onEngine(acme, engine.endpoint, 'gone');
    const one = await registry.publish('gone:1');
    const first = await there.deployNew(stack(pulled(`${registry.host}/gone:1`)));
    const [digest] = (await engine.docker.getImage(one).inspect()).RepoDigests;
    await there.changeStack(first.stackId, stack(web(IMAGE)));
    const second = await there.deploy(first.stackId);
    await engine.docker.getImage(one).remove({ force: true });
    await registry.forget(digest!);
    const { id } = await there.mutate('deploymentRollback', 'Deployment { id }', { deploymentId: second.id });
    const { statusReason, steps } = await there.until(id, ['FAILED']);
    expect(statusReason).toContain(digest);
    expect(statusReason).toMatch(/^service web: the image .* cannot be pulled: /);
    expect(steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
    expect(instancesOf(await there.read(second.id))).toEqual(instancesOf(second));
    await there.stop(second.id);
  });

  it('should name a tag that does not exist', async () => {
    await registry.publish('some:1');
    const { statusReason } = await ended(stack(pulled(`${registry.host}/some:2`)));
    expect(statusReason).toMatch(/^service web: the image 127\.0\.0\.1:5000\/some:2 cannot be pulled: .*not found/);
  });

  it('should fail when a registry breaks off in the middle of a pull', async () => {
    await registry.publish('big:1', 'head -c 3000000 /dev/urandom >/big');
    await using broken = await breakingRegistry(engine, registry, 5001, 1_000_000);
    const { statusReason, steps } = await ended(stack(pulled(`${broken.host}/big:1`)));
    expect(statusReason).toMatch(/^service web: the image 127\.0\.0\.1:5001\/big:1 cannot be pulled: /);
    expect(steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
  });

  it('should cancel a pull from a registry that never answers', async () => {
    await using silent = await silentRegistry(engine, 5002);
    const id = await begin(stack(pulled(`${silent.host}/some:1`)));
    await eventually('the pull', async () => (await said(id)).includes(`web: pulling ${silent.host}/some:1`));
    const asked = performance.now();
    await acme.tryCancel(id);
    await acme.until(id, ['CANCELLED']);
    expect(performance.now() - asked).toBeLessThan(5_000);
  });

  it('should end as an undisturbed run does after kill -9 of the server in the middle of a pull', async () => {
    const there = await onEngine(acme, engine.endpoint, 'killed');
    const silent = await silentRegistry(engine, 5004);
    const { id } = await there.begin(await there.newStack(stack(pulled(`${silent.host}/late:1`))));
    const pulling = `web: pulling ${silent.host}/late:1`;
    await eventually('the pull', async () => (await said(id, there)).includes(pulling));
    await server.kill9();
    await silent[Symbol.asyncDispose]();
    await using late = await Registry.start(engine, 5004);
    const image = await late.publish('late:1');
    await server.start();
    const { statusReason, steps } = await there.until(id, ['RUNNING']);
    expect([statusReason, await imageOf(there)]).toEqual([null, image]);
    expect(steps.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'prepare SUCCEEDED',
      'start web SUCCEEDED',
      'verify SUCCEEDED',
      'commit SUCCEEDED',
    ]);
    await there.stop(id);
  });

  it('should pull with the right credentials, and refuse wrong ones without telling them', async () => {
    await using closed = await Registry.start(engine, 5003, { isClosed: true });
    await closed.publish('secret:1');
    const compose = stack(pulled(`${closed.host}/secret:1`));
    const wrong = { registries: { [closed.host]: { ...LOGIN, password: WRONG } } };
    const there = await onEngine(acme, engine.endpoint, 'closed', wrong);
    const refused = await there.deployNew(compose);
    expect(refused.statusReason).toMatch(/^service web: the image .* cannot be pulled: .*(unauthorized|no basic auth)/);
    const told = JSON.stringify([refused, await there.log(refused.id), await stored(), server.log]);
    for (const form of [WRONG, Buffer.from(WRONG).toString('base64')]) expect(told).not.toContain(form);

    const runtimeConfig = { endpoint: engine.endpoint, registries: { [closed.host]: LOGIN } };
    const input = { environmentId: there.environmentId, runtimeConfig };
    await there.mutate('environmentUpdate', 'Environment { id }', input);
    const { id, status } = await there.deploy(refused.stackId);
    expect(status).toBe('RUNNING');
    expect((await there.stop(id)).status).toBe('STOPPED');
  });

  it('should say what a build said last, and show its lines', async () => {
    const id = await begin(stack(built('echo compiling', 'cat /files/note; echo broken pipe dream >&2; exit 3')));
    const { statusReason, steps } = await acme.until(id, ['FAILED']);
    expect(statusReason).toMatch(/^service web: the command '.*' returned a non-zero code: 3 \(broken pipe dream\)$/);
    expect(steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
    expect(await said(id)).toEqual(expect.arrayContaining(['web: compiling', 'web: a note', 'web: broken pipe dream']));
  });

  it('should cancel a build with all that runs of it', async () => {
    const id = await begin(stack(built('echo begun; sleep 600')));
    await eventually('the build', async () => (await said(id)).includes('web: begun'));
    const running = async (all = false) => (await engine.docker.listContainers({ all })).length;
    expect(await running()).toBe(2);
    const asked = performance.now();
    await acme.tryCancel(id);
    await acme.until(id, ['CANCELLED']);
    expect(performance.now() - asked).toBeLessThan(5_000);
    await eventually('the end of the build', async () => (await running(true)) === 1, { deadlineMs: 15_000 });
  });

  /** Everything of the environment that the database shows to anybody, events included. */
  async function stored(): Promise<string[]> {
    const { rows } = await database.pool.query<{ row: string }>(
      'select e::text as row from events e union all select d::text from deployments d',
    );
    return rows.map(({ row }) => row);
  }
});

const ofEnvironment = ({ environmentId }: Deployer) => decodeIdOf('Environment', environmentId)!;

const FILES = '\nx-windflow: { files: { note: "a note\\n" } }\n';
const buildOf = (steps: readonly string[]) =>
  `    build: { context: ., dockerfile_inline: ${JSON.stringify(
    [`FROM ${IMAGE}`, 'COPY . /files', ...steps.map((step) => `RUN ${step}`)].join('\n'),
  )} }`;
