import { createInterface } from 'node:readline';
import Docker from 'dockerode';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RuntimeError, RuntimeUnavailableError, StaleLeaseError } from '../../src/runtimes/runtime.ts';
import { buildHaproxyImage } from '../support/docker/haproxy-image.ts';
import {
  createScene,
  ECHO_PORT,
  MIRROR_PORT,
  routeTo,
  type Scene,
  UPGRADE_PORT,
} from '../support/docker/ingress-scene.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { eventually } from '../support/eventually.ts';

const DRAIN_MS = 60_000;
const SHORT_DRAIN_MS = 1_000;
const TAR_HEADER_BYTES = 512;
const STATUS = ['-o', '/dev/null', '-w', '%{http_code}'];
const WHOLE = ['-i'];

type DialOptions = { method: string; path: string; file?: unknown };

let engine: OwnEngine;
let image: string;

beforeAll(async () => {
  engine = await OwnEngine.start('ingress');
  image = await buildHaproxyImage(engine.docker);
});
afterAll(() => engine?.[Symbol.asyncDispose]());

test('should keep a TCP connection to the instance it began with until it ends, and wait for that', async () => {
  await using scene = await createScene(engine, image);
  const [old, next] = [await scene.start('v1'), await scene.start('v2')];
  const to = (instanceId: string) => [routeTo(8_081, 'tcp', [instanceId], { target: ECHO_PORT })];
  await scene.ingress.route(scene.stack, to(old), 1);
  const early = talk(8_081);
  expect(await early.hear()).toBe('v1');

  await scene.ingress.route(scene.stack, to(next), 1);
  const drained = drain(scene);
  const late = talk(8_081);
  expect(await late.hear()).toBe('v2');
  await drain(scene, SHORT_DRAIN_MS);
  expect(await early.say('still there')).toBe('still there');
  early.end();
  await drained;

  expect(await late.say('here')).toBe('here');
  late.end();
});

test('should keep an upgraded connection while instances are switched', async () => {
  await using scene = await createScene(engine, image);
  const [old, next] = [await scene.start('v1'), await scene.start('v2')];
  const to = (instanceId: string) => [routeTo(8_082, null, [instanceId], { target: UPGRADE_PORT })];
  await scene.ingress.route(scene.stack, to(old), 1);
  const socket = talk(8_082);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  expect(await socket.hear()).toBe('HTTP/1.1 101 Switching Protocols');
  while ((await socket.hear()) !== '');

  await scene.ingress.route(scene.stack, to(next), 1);

  expect(await socket.say('still there')).toBe('still there');
  socket.end();
  await drain(scene);
});

test('should close a kept connection that asks nothing more, before its instance ends', async () => {
  await using scene = await createScene(engine, image);
  const [old, next] = [await scene.start('v1'), await scene.start('v2')];
  await scene.ingress.route(scene.stack, [routeTo(8_103, null, [old])], 1);
  const socket = talk(8_103);
  expect(await socket.say('HEAD / HTTP/1.1\r\nHost: x\r\n\r')).toBe('HTTP/1.1 200 OK');
  while ((await socket.hear()) !== '');

  await scene.ingress.route(scene.stack, [routeTo(8_103, null, [next])], 1);
  expect(await scene.pids()).toHaveLength(3);
  await drain(scene);

  expect(await scene.pids()).toHaveLength(2);
  expect(await socket.hear()).toBeUndefined();
});

test('should publish a port where it is asked to', async () => {
  await using scene = await createScene(engine, image);
  await scene.ingress.route(
    scene.stack,
    [routeTo(8_104, 'http', [], { host: '127.0.0.1' }), routeTo(8_104, 'http', [], { host: '127.0.0.2' })],
    1,
  );
  const [ingress] = await scene.ingressContainers();
  expect(ingress!.Ports.map(({ IP, PublicPort }) => `${IP}:${PublicPort}`).sort()).toEqual([
    '127.0.0.1:8104',
    '127.0.0.2:8104',
  ]);
});

test('should find out whether a connection speaks HTTP', async () => {
  await using scene = await createScene(engine, image);
  const instance = await scene.start('v1');
  await scene.ingress.route(
    scene.stack,
    [routeTo(8_083, null, [instance]), routeTo(8_084, null, [instance], { target: ECHO_PORT })],
    1,
  );

  expect(await scene.fetch(8_083, ...WHOLE)).toMatch(/^HTTP\/1.1 200 OK.*keep-alive: timeout=9.*v1$/s);
  const plain = talk(8_084);
  plain.write('not HTTP\n');
  expect([await plain.hear(), await plain.hear()]).toEqual(['v1', 'not HTTP']);
  plain.end();
});

test('should share requests among the instances of a port', async () => {
  await using scene = await createScene(engine, image);
  await scene.ingress.route(scene.stack, [routeTo(8_085, 'http', [await scene.start('a'), await scene.start('b')])], 1);
  const answers = [];
  for (let request = 0; request < 10; request += 1) answers.push(await scene.fetch(8_085));
  expect(answers.toSorted().join('')).toBe('aaaaabbbbb');
});

test('should answer 503 where no instance has a route, and nothing where HTTP is not spoken', async () => {
  await using scene = await createScene(engine, image);
  await scene.ingress.route(scene.stack, [routeTo(8_086, 'http', []), routeTo(8_087, 'tcp', [])], 1);
  expect(await scene.fetch(8_086, ...STATUS)).toBe('503');
  expect(await scene.fetch(8_087)).toBe('');

  const instance = await scene.start('v1');
  await scene.ingress.route(scene.stack, [routeTo(8_086, 'http', [instance]), routeTo(8_087, 'tcp', [instance])], 1);
  expect([await scene.fetch(8_086), await scene.fetch(8_087)]).toEqual(['v1', 'v1']);
});

test('should change nothing when it is asked for what is', async () => {
  await using scene = await createScene(engine, image);
  const routes = [routeTo(8_088, 'http', [await scene.start('v1')])];
  await scene.ingress.route(scene.stack, routes, 1);
  const before = await scene.pids();

  await scene.createIngress().route(scene.stack, routes, 1);
  await scene.createIngress().route(scene.stack, routes, 2);

  expect(await scene.pids()).toEqual(before);
  await expect(scene.ingress.route(scene.stack, routes, 1)).rejects.toThrow(StaleLeaseError);
  await expect(scene.ingress.route(scene.stack, [], 1)).rejects.toThrow(StaleLeaseError);
});

test('should take up what another began and did not finish', async () => {
  await using scene = await createScene(engine, image);
  const [old, next] = [await scene.start('v1'), await scene.start('v2')];
  await scene.ingress.route(scene.stack, [routeTo(8_089, 'http', [old])], 1);
  const broken = alteredDocker(engine.docker, ({ path }) => (path.includes('/kill?') ? new Error('broken off') : null));

  await expect(scene.createIngress(broken).route(scene.stack, [routeTo(8_089, 'http', [next])], 1)).rejects.toThrow(
    RuntimeUnavailableError,
  );
  expect(await scene.fetch(8_089)).toBe('v1');
  const workers = await scene.pids();

  await scene.createIngress().route(scene.stack, [routeTo(8_089, 'http', [old])], 1);
  expect(await scene.pids()).not.toEqual(workers);
  await scene.createIngress().route(scene.stack, [routeTo(8_089, 'http', [next])], 1);
  expect(await scene.fetch(8_089)).toBe('v2');
});

test('should keep what it has when a configuration is not taken', async () => {
  await using scene = await createScene(engine, image);
  const [old, next] = [await scene.start('v1'), await scene.start('v2')];
  await scene.ingress.route(scene.stack, [routeTo(8_102, 'http', [old])], 1);
  const garbled = alteredDocker(engine.docker, (options) => {
    if (options.method === 'PUT' && Buffer.isBuffer(options.file)) options.file.write('nonsense', TAR_HEADER_BYTES);
    return null;
  });

  const refused = scene.createIngress(garbled).route(scene.stack, [routeTo(8_102, 'http', [next])], 1);
  await expect(refused).rejects.toThrow(/^the ingress did not take its configuration: .*nonsense/);
  expect(await scene.fetch(8_102)).toBe('v1');

  await scene.ingress.route(scene.stack, [routeTo(8_102, 'http', [next])], 1);
  expect(await scene.fetch(8_102)).toBe('v2');
});

test('should publish other ports from a new container, and the old ones again if these are taken', async () => {
  await using scene = await createScene(engine, image);
  await using other = await createScene(engine, image);
  const instance = await scene.start('v1');
  await other.ingress.route(other.stack, [routeTo(8_091, 'http', [])], 1);
  await scene.ingress.route(scene.stack, [routeTo(8_090, 'http', [instance])], 1);

  const taken = scene.ingress.route(scene.stack, [routeTo(8_091, 'http', [instance])], 1);
  await expect(taken).rejects.toThrow(/^port 8091 is already in use on the engine’s host$/);
  // It was started again: its first look at the instance comes a moment later.
  await eventually('the old port', async () => (await scene.fetch(8_090)) === 'v1');

  await scene.ingress.route(scene.stack, [routeTo(8_092, 'http', [instance])], 1);
  expect([await scene.fetch(8_090), await scene.fetch(8_092)]).toEqual(['', 'v1']);
  const names = (await scene.ingressContainers()).flatMap(({ Names }) => Names);
  expect(names).toEqual([`/${scene.stack.project}-ingress`]);
});

test('should say of a port that a program of the host holds that it is in use', async () => {
  await using scene = await createScene(engine, image);
  const holder = engine.spawn('busybox', 'nc', '-ll', '-p', '8094', '-e', 'cat');
  await eventually('the port is held', async () => {
    const conversation = talk(8_094);
    const answer = await conversation.say('held');
    conversation.end();
    return answer === 'held';
  });

  const taken = scene.ingress.route(scene.stack, [routeTo(8_094, 'http', [])], 1);
  await expect(taken).rejects.toThrow(/^port 8094 is already in use on the engine’s host$/);
  expect(await scene.ingressContainers()).toEqual([]);
  holder.kill();
});

test('should follow its instances into other networks, and leave those that it needs no more', async () => {
  await using scene = await createScene(engine, image);
  const further = `${scene.stack.project}_further`;
  await engine.docker.createNetwork({ Name: further, Internal: true });
  const [old, next] = [await scene.start('v1'), await scene.start('v2', further)];
  await scene.ingress.route(scene.stack, [routeTo(8_095, 'http', [old])], 1);
  const early = talk(8_095);
  early.write('GET / HTTP/1.1\r\nHost: x\r\n');

  await scene.ingress.route(scene.stack, [routeTo(8_095, 'http', [next])], 1);
  early.write('\r\n');
  expect(await early.hear()).toBe('HTTP/1.1 200 OK');
  early.end();
  await drain(scene);

  expect(await scene.fetch(8_095)).toBe('v2');
  const [ingress] = await scene.ingressContainers();
  expect(Object.keys(ingress!.NetworkSettings.Networks).sort()).toEqual(['0-windflow-ingress', further]);
  await scene.ingress.route(scene.stack, [], 1);
  await scene.stop(next);
  await engine.docker.getNetwork(further).remove();
});

test('should find an instance that begins again at another address', async () => {
  await using scene = await createScene(engine, image);
  const instance = await scene.start('v1');
  await scene.ingress.route(scene.stack, [routeTo(8_096, 'http', [instance])], 1);
  const container = await scene.container(instance);
  const addressOf = async () => (await container.inspect()).NetworkSettings.Networks[scene.network]!.IPAddress;
  const before = await addressOf();
  const workers = await scene.pids();

  await container.stop({ t: 0 });
  await scene.start('another');
  await container.start();

  expect(await addressOf()).not.toBe(before);
  await eventually('the instance answers again', async () => (await scene.fetch(8_096)) === 'v1');
  expect(await scene.pids()).toEqual(workers);
});

test('should lose no request when one of two instances ends', async () => {
  await using scene = await createScene(engine, image);
  const [one, other] = [await scene.start('a'), await scene.start('b')];
  await scene.ingress.route(scene.stack, [routeTo(8_097, 'http', [one, other])], 1);
  await (await scene.container(one)).stop({ t: 0 });
  const answers = [];
  for (let request = 0; request < 6; request += 1) answers.push(await scene.fetch(8_097));
  expect(answers).toEqual(Array(6).fill('b'));
});

test('should tell instances who asks', async () => {
  await using scene = await createScene(engine, image);
  const instance = await scene.start('v1');
  const mirror = { target: MIRROR_PORT };
  await scene.ingress.route(
    scene.stack,
    [routeTo(8_098, 'http', [instance], mirror), routeTo(8_101, null, [instance], mirror)],
    1,
  );
  for (const port of [8_098, 8_101]) {
    expect(await scene.fetch(port)).toMatch(/^x-forwarded-proto: http$.*^x-forwarded-for: [\d.]+$/ms);
    expect(await scene.fetch(port, '-H', 'X-Forwarded-Proto: https')).toMatch(/^x-forwarded-proto: https$/m);
  }
});

test('should leave nothing behind where no port is left', async () => {
  await using scene = await createScene(engine, image);
  await scene.ingress.route(scene.stack, [routeTo(8_105, 'http', [])], 1);

  await scene.ingress.route(scene.stack, [], 1);
  await scene.ingress.route(scene.stack, [], 1);

  expect(await scene.ingressContainers()).toEqual([]);
  expect((await engine.docker.listNetworks()).filter(({ Name }) => Name.includes('ingress'))).toEqual([]);
  await scene.ingress.drain(scene.stack, DRAIN_MS, new AbortController().signal);
});

test('should refuse names that are not of a project, and ports that are none', async () => {
  await using scene = await createScene(engine, image);
  const { ingress, stack } = scene;
  for (const project of ['', 'a b', 'A', '../x', 'x\ny', '-x']) {
    await expect(ingress.route({ ...stack, project }, [routeTo(8_099, 'http', [])], 1)).rejects.toThrow(RuntimeError);
  }
  const udp = {
    ...routeTo(8_099, null, []),
    port: { target: 53, published: 8_099, host: '', protocol: 'udp' as const },
  };
  await expect(ingress.route(stack, [udp], 1)).rejects.toThrow('port 8099: an ingress takes TCP alone, not udp');
  expect(await scene.ingressContainers()).toEqual([]);
});

test('should say that an image cannot be had, and that nobody answers', async () => {
  await using scene = await createScene(engine, 'localhost:9/haproxy:none');
  const routes = [routeTo(8_099, 'http', [])];
  await expect(scene.ingress.route(scene.stack, routes, 1)).rejects.toThrow(
    /^the ingress’s image localhost:9\/haproxy:none cannot be pulled: /,
  );
  const nobody = scene.createIngress(new Docker({ socketPath: '/nowhere/docker.sock' }));
  await expect(nobody.route(scene.stack, routes, 1)).rejects.toThrow(RuntimeUnavailableError);
  await expect(nobody.drain(scene.stack, DRAIN_MS, new AbortController().signal)).rejects.toThrow(
    RuntimeUnavailableError,
  );
});

test('should serve again after the engine’s host began again, while nobody controls it', async () => {
  await using scene = await createScene(engine, image);
  await scene.ingress.route(scene.stack, [routeTo(8_100, 'http', [await scene.start('v1')])], 1);
  await engine.restart();
  await eventually('the instance answers again', async () => (await scene.fetch(8_100)) === 'v1');
});

function drain(scene: Scene, timeoutMs = DRAIN_MS): Promise<void> {
  return scene.ingress.drain(scene.stack, timeoutMs, new AbortController().signal);
}

/** A conversation in lines over one connection. */
function talk(port: number) {
  const child = engine.spawn('busybox', 'nc', '127.0.0.1', String(port));
  // Whoever answers nothing may be gone before anything is said.
  child.stdin.on('error', () => {});
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const hear = async () => (await lines.next()).value as string;
  return {
    hear,
    write: (text: string) => child.stdin.write(text),
    say(line: string) {
      child.stdin.write(`${line}\n`);
      return hear();
    },
    end: () => child.kill(),
  };
}

/** The same engine, whose requests can be altered, or broken off with an error. */
function alteredDocker(docker: Docker, alter: (options: DialOptions) => Error | null): Docker {
  const { socketPath } = docker.modem as unknown as { socketPath: string };
  const altered = new Docker({ socketPath });
  const dial = altered.modem.dial.bind(altered.modem);
  altered.modem.dial = (options, answered) => {
    const error = alter(options as DialOptions);
    if (error) answered?.(error, null);
    else dial(options, answered);
  };
  return altered;
}
