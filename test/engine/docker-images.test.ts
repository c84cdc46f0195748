import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import type { BuildModel } from '../../src/compose/index.ts';
import type { DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts';
import { type ImageLine, type ImageRequest, RuntimeError, type StackRef } from '../../src/runtimes/runtime.ts';
import { DockerPlace, IMAGE } from '../runtimes/docker-place.ts';
import { outputOf } from '../runtimes/stack-driver.ts';

const endpoint = inject('dockerEngine');

const BUILD: BuildModel = {
  context: { type: 'files', files: {} },
  dockerfile: null,
  dockerfileInline: null,
  args: {},
  labels: {},
  target: null,
  cacheFrom: [],
  extraHosts: [],
  network: null,
  platforms: [],
  tags: [],
  shm: null,
  noCache: false,
  pull: false,
};

describe.skipIf(endpoint === null)('images of a Docker engine', () => {
  const place = new DockerPlace(endpoint ?? 'unix://');
  let runtime: DockerRuntime;
  let stack: StackRef & { project: string };
  let lines: ImageLine[];
  const never = new AbortController().signal;
  const tell = (line: ImageLine) => void lines.push(line);
  const asking = (differing: Partial<ImageRequest>): ImageRequest => ({
    service: 'web',
    name: null,
    build: null,
    pullPolicy: 'missing',
    platform: null,
    ...differing,
  });
  const resolve = (...requests: ImageRequest[]) => runtime.images.resolve(stack, requests, tell, never);
  const texts = () => lines.map(({ text }) => text);

  beforeEach(async () => {
    runtime = await place.open();
    const ref = place.newStack();
    stack = { ...ref, project: `wf-test-${ref.id.slice(0, 8)}` };
    lines = [];
  });

  afterEach(async () => {
    for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, 1_000_000);
    await runtime.removeStack(stack, { volumes: true }, 1_000_000);
    const built = await place.docker.listImages({ filters: { reference: [`${stack.project}-*`] } });
    for (const { Id } of built) await place.docker.getImage(Id).remove({ force: true });
    await runtime.close();
  });

  it('should be taken as they are where they are there', async () => {
    const [image] = await resolve(asking({ name: IMAGE }));
    expect(image).toMatchObject({
      name: IMAGE,
      id: expect.stringMatching(/^sha256:/),
      digest: null,
      healthcheck: null,
    });
    expect(lines).toEqual([]);
    expect(await runtime.images.look(stack, [asking({ name: IMAGE })])).toEqual([image]);
  });

  it('should be known beforehand only as far as nothing is pulled or built', async () => {
    const always = asking({ name: IMAGE, pullPolicy: 'always' });
    const missing = asking({ name: 'wf-not-there:1' });
    expect(await runtime.images.look(stack, [always, missing, asking({ build: BUILD })])).toEqual([null, null, null]);
  });

  it('should be built from the files of a context, and run', async () => {
    const files = {
      'app/Dockerfile': `FROM ${IMAGE}\nARG GREETING\nCOPY app/run.sh /run.sh\nRUN echo building for $GREETING\nENV TO=$GREETING\nHEALTHCHECK --interval=2s CMD test -e /run.sh\nENTRYPOINT ["/run.sh"]\n`,
      'app/run.sh': '#!/bin/sh\necho hello $TO\n',
    };
    const build = {
      ...BUILD,
      context: { type: 'files' as const, files },
      dockerfile: 'app/Dockerfile',
      args: { GREETING: 'world' },
    };
    const [image] = await resolve(asking({ build }));
    expect(image).toMatchObject({ name: `${stack.project}-web`, digest: null });
    expect(image!.healthcheck).toMatchObject({
      argv: ['/bin/sh', '-c', 'test -e /run.sh'],
      intervalMs: 2_000,
      retries: 3,
    });
    expect(texts()).toContain('building for world');
    expect(lines.every(({ service }) => service === 'web')).toBe(true);
    const spec = place.spec(stack, 'web', '', { argv: [] });
    const own = { ...spec, container: { ...spec.container!, image: image!, command: null } };
    expect(await outputOf(runtime, stack, own)).toBe('hello world\n');
  });

  it('should be built once for what they are built from, and each time where that is asked for', async () => {
    const build = { ...BUILD, dockerfileInline: `FROM ${IMAGE}\nLABEL a=b\n` };
    await resolve(asking({ build }));
    const first = lines.length;
    await resolve(asking({ build }));
    expect(lines).toHaveLength(first);
    await resolve(asking({ build, pullPolicy: 'build' }));
    expect(lines.length).toBeGreaterThan(first);
    const changed = asking({ build: { ...build, dockerfileInline: `${build.dockerfileInline}LABEL c=d\n` } });
    expect(await runtime.images.look(stack, [changed])).toEqual([null]);
    const [other] = await resolve(changed);
    expect(await runtime.images.look(stack, [changed])).toEqual([other]);
  });

  it('should say which step of a build failed', async () => {
    const build = { ...BUILD, dockerfileInline: `FROM ${IMAGE}\nRUN echo no such thing >&2; exit 4\n` };
    const building = resolve(asking({ build }));
    await expect(building).rejects.toThrow(RuntimeError);
    await expect(building).rejects.toThrow(
      /^service web: the command '.*exit 4' returned a non-zero code: 4 \(no such thing\)$/,
    );
    expect(texts()).toContain('no such thing');
  });

  it('should end a build when nobody wants it any more', async () => {
    const build = { ...BUILD, dockerfileInline: `FROM ${IMAGE}\nRUN echo begun; sleep 600\n` };
    const stop = new AbortController();
    const building = runtime.images.resolve(
      stack,
      [asking({ build })],
      (line) => line.text === 'begun' && stop.abort(),
      stop.signal,
    );
    await expect(building).rejects.toThrow('abort');
  });

  it('should be refused where they are never pulled and not there', async () => {
    const name = 'wf-not-there:1';
    await expect(resolve(asking({ name, pullPolicy: 'never' }))).rejects.toThrow(
      'service web: the image wf-not-there:1 is not there, and it is never pulled',
    );
    await expect(resolve(asking({ name: 'localhost:1/wf-not-there:1' }))).rejects.toThrow(/^service web: /);
  });

  it('should be there for an earlier release, or gone', async () => {
    const build = { ...BUILD, dockerfileInline: `FROM ${IMAGE}\nLABEL c=d\n` };
    const [image] = await resolve(asking({ build }));
    const required = [{ ...image!, service: 'web' }];
    await runtime.images.require(stack, required, tell, never);
    await place.docker.getImage(image!.id).remove({ force: true });
    await expect(runtime.images.require(stack, required, tell, never)).rejects.toThrow(
      `service web: the image ${image!.name} that it ran with is gone`,
    );
  });
});
