import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { engineIdentity } from '../../src/runtimes/docker/connection.ts';
import { createDockerRuntime, type DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts';
import {
  type ContainerSpec,
  type InstanceSpec,
  type LogChunk,
  RuntimeError,
  RuntimeUnavailableError,
  type StackRef,
} from '../../src/runtimes/runtime.ts';
import { DockerPlace } from '../runtimes/docker-place.ts';
import { runtimeContract } from '../runtimes/runtime-contract.ts';
import {
  bytesOf,
  eventsOf,
  eventually,
  isEnd,
  logOfInstance,
  outputOf,
  readAll,
  readLog,
  statusOf,
  textOf,
  whenState,
} from '../runtimes/stack-driver.ts';
import { Detour } from './detour.ts';

const endpoint = inject('dockerEngine');
const upTo = (count: number) => Array.from({ length: count }, (_, index) => String(index + 1));

describe.skipIf(endpoint === null)('on a Docker engine', () => {
  const place = new DockerPlace(endpoint ?? 'unix://');

  runtimeContract('DOCKER', place);

  describe('DOCKER', () => {
    let runtime: DockerRuntime;
    let stack: StackRef;

    const shell = (service: string, script: string, differing: Partial<InstanceSpec> = {}) =>
      place.spec(stack, service, script, differing);
    const within = (spec: InstanceSpec, container: Partial<ContainerSpec>): InstanceSpec => ({
      ...spec,
      container: { ...spec.container!, ...container },
    });
    const logFor = (spec: InstanceSpec) => logOfInstance(runtime, stack, spec);
    const containerOf = async ({ instanceId }: InstanceSpec) => {
      const filters = { label: [`io.windflow.instance=${instanceId}`] };
      const [found] = await place.docker.listContainers({ all: true, filters });
      return found ? place.docker.getContainer(found.Id) : null;
    };

    beforeEach(async () => {
      runtime = await place.open();
      stack = place.newStack();
    });

    afterEach(async () => {
      for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, 1_000_000);
      await runtime.removeStack(stack, { volumes: true }, 1_000_000);
      await runtime.close();
    });

    describe('the log of a container', () => {
      it('should keep a burst of 10,000 lines on each stream', async () => {
        const spec = shell('burst', 'seq 1 10000 & seq 1 10000 >&2; wait');
        await runtime.start(stack, spec, 1);
        const chunks = await readLog(runtime, logFor(spec), 0, isEnd(spec));
        expect(textOf(chunks, 'STDOUT')).toBe(`${upTo(10_000).join('\n')}\n`);
        expect(textOf(chunks, 'STDERR')).toBe(`${upTo(10_000).join('\n')}\n`);
      });

      it('should keep a line of 1 MiB', async () => {
        const output = await outputOf(runtime, stack, shell('long', "head -c 1048575 /dev/zero | tr '\\0' x; echo"));
        expect(output.length).toBe(1024 * 1024);
        expect(output).toMatch(/^x+\n$/);
      });

      it('should keep binary output byte by byte where the service asks for a driver that does', async () => {
        const binary = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
        const files = [{ target: 'binary', content: binary.toString('base64'), mode: 0o400 }];
        const spec = within(shell('binary', 'base64 -d binary; echo', { files }), {
          logging: { driver: 'local', options: {} },
        });
        await runtime.start(stack, spec, 1);
        const bytes = Buffer.concat(bytesOf(await readLog(runtime, logFor(spec), 0, isEnd(spec))));
        expect(bytes.equals(Buffer.concat([binary, Buffer.from('\n')]))).toBe(true);
      });

      it('should go on from any mark with what follows it, in each restart too', async () => {
        const script = 'for i in 1 2 3 4 5; do echo $i; echo $i >&2; sleep 0.01; done; exit 3';
        const spec = shell('marked', script, { restart: { name: 'on-failure', maxRetries: 2 } });
        await runtime.start(stack, spec, 1);
        let ends = 0;
        const live = await readLog(runtime, logFor(spec), 0, (chunk) => isEnd(spec)(chunk) && ++ends === 3);
        const all = await readAll(runtime, logFor(spec));
        expect(placed(live)).toEqual(placed(all));
        expect(eventsOf(all)).toEqual([
          'started: started',
          'ended: exited with code 3',
          'restarting: restarting in 100 ms',
          'started: started',
          'ended: exited with code 3',
          'restarting: restarting in 200 ms',
          'started: started',
          'ended: exited with code 3',
        ]);
        // As a control plane that starts anew reads it.
        await runtime.close();
        runtime = await place.open();
        const end = all.at(-1)!.next;
        for (const { next, mark } of [...all.filter((_, index) => index % 5 === 0), ...live.slice(-4, -1)]) {
          const rest = await readLog(
            runtime,
            logFor(spec),
            { position: next, mark: mark! },
            (chunk) => chunk.next >= end,
          );
          expect(placed(rest)).toEqual(placed(all).filter(({ position }) => position >= next));
        }
      });

      it('should tell of what the engine rotated away before it was read', async () => {
        const spec = within(
          shell('rotated', 'echo first; until [ -e /go ]; do sleep 0.02; done; seq 1 20000; echo last'),
          {
            logging: { driver: 'json-file', options: { 'max-size': '20k', 'max-file': '2' } },
          },
        );
        await runtime.start(stack, spec, 1);
        const [first] = (await readLog(runtime, logFor(spec), 0, ({ kind }) => kind === 'output')).slice(-1);
        const exec = await (await containerOf(spec))!.exec({ Cmd: ['touch', '/go'] });
        await exec.start({ Detach: true });
        await whenState(runtime, stack, spec, 'EXITED');
        const rest = await readLog(runtime, logFor(spec), { position: first!.next, mark: first!.mark! }, isEnd(spec));
        expect(rest[0]).toMatchObject({ kind: 'gap', reason: expect.stringContaining('rotated') });
        expect(textOf(rest)).toMatch(/^\d+\n.*20000\nlast\n$/s);
      });

      it('should lose nothing where it is read more slowly than it is written, and rotated meanwhile', async () => {
        const lines = 400_000;
        const spec = within(shell('fast', `seq 1 ${lines}; echo last; sleep 600`), {
          logging: { driver: 'json-file', options: { 'max-size': '10m', 'max-file': '10' } },
        });
        await runtime.start(stack, spec, 1);
        const chunks: LogChunk[] = [];
        const end = new AbortController();
        for await (const chunk of runtime.logs(logFor(spec), { position: 0, mark: null }, end.signal)) {
          chunks.push(chunk);
          // Slower than the writer, as one that stores every line is.
          if (chunks.length % 100 === 0) await sleep(5);
          if (chunk.kind === 'output' && Buffer.from(chunk.bytes).toString().endsWith('last\n')) end.abort();
        }
        expect(textOf(chunks)).toBe(`${upTo(lines).join('\n')}\nlast\n`);
        await runtime.stop(stack, spec.instanceId, 1);
      });

      it('should read a terminal’s output', async () => {
        const spec = within(shell('terminal', 'echo out; echo err >&2'), { tty: true });
        await runtime.start(stack, spec, 1);
        expect(textOf(await readLog(runtime, logFor(spec), 0, isEnd(spec)))).toBe('out\r\nerr\r\n');
      });

      it('should be kept after the end of its instance until it is trimmed', async () => {
        const spec = shell('web', 'echo up; exec sleep 60', { stopGracePeriodMs: 1_000 });
        await runtime.start(stack, spec, 1);
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await runtime.list(stack)).toEqual([]);
        expect(await runtime.unreadLogs(stack)).toEqual([spec.instanceId]);
        const ref = logFor(spec);
        const end = new AbortController();
        const chunks = await Array.fromAsync(runtime.logs(ref, { position: 0, mark: null }, end.signal));
        expect(eventsOf(chunks).at(-1)).toBe('removed: stopped and removed');
        await runtime.trimLogs(ref, chunks.at(-1)!.position);
        expect(await runtime.unreadLogs(stack)).toEqual([spec.instanceId]);
        // One that starts anew and has stored all of it: it reads nothing, and deletes it.
        await runtime.close();
        runtime = await place.open();
        const last = { position: chunks.at(-1)!.next, mark: chunks.at(-1)!.mark! };
        await runtime.trimLogs(ref, last.position);
        expect(await Array.fromAsync(runtime.logs(ref, last, end.signal))).toEqual([]);
        expect(await runtime.unreadLogs(stack)).toEqual([]);
        expect(await containerOf(spec)).toBeNull();
        expect(await runtime.logEnd(ref)).toBe(0);
      });
    });

    describe('containers', () => {
      it('should be restarted by the engine while no control plane is there', async () => {
        const script = 'echo run >> runs; test $(wc -l < runs) -ge 3 && sleep 600; exit 1';
        const spec = shell('crashing', script, { restart: { name: 'always', maxRetries: null } });
        await runtime.start(stack, spec, 1);
        await runtime.close();
        await eventually('a third run', async () => {
          const { RestartCount, State } = await (await containerOf(spec))!.inspect();
          return RestartCount === 2 && State.Running && !State.Restarting;
        });
        runtime = await place.open();
        const reason = 'restarted 2 times, last exit code 1';
        expect(await whenState(runtime, stack, spec, 'RUNNING')).toMatchObject({ restarts: 2, exitCode: 1, reason });
      });

      it('should be found by Compose tools', async () => {
        const spec = shell('web', 'sleep 60', { replica: 2 });
        await runtime.start(stack, spec, 7);
        const { Config: config, Name: name } = await (await containerOf(spec))!.inspect();
        const { project } = spec.container!;
        expect(name).toBe(`/${project}-web-2`);
        expect(config.Labels).toMatchObject({
          'io.windflow.stack': stack.id,
          'io.windflow.epoch': '7',
          'com.docker.compose.project': project,
          'com.docker.compose.service': 'web',
          'com.docker.compose.container-number': '2',
          'com.docker.compose.oneoff': 'False',
        });
      });

      it('should let two generations of a replica run beside each other', async () => {
        const [one, two] = [shell('web', 'sleep 60'), shell('web', 'sleep 60')];
        for (const spec of [one, two]) expect(await runtime.start(stack, spec, 1)).toMatchObject({ state: 'RUNNING' });
        expect(await runtime.list(stack)).toHaveLength(2);
      });

      it('should find each other by the names of their services', async () => {
        await runtime.start(stack, shell('server', 'echo hello > index.html; httpd -f -p 80'), 1);
        const client = shell('client', 'until wget -q -O - http://server/; do sleep 0.05; done');
        expect(await outputOf(runtime, stack, client)).toBe('hello\n');
      });

      it('should say that a port is taken, and start nothing', async () => {
        const { port, release } = await place.occupyPort('tcp');
        const ports = [{ target: 80, published: port, host: '127.0.0.1', protocol: 'tcp' as const }];
        const status = await runtime.start(stack, shell('web', 'sleep 60', { ports }), 1);
        await release();
        const reason = `port ${port} of 127.0.0.1 is already in use on the engine’s host`;
        expect(status).toMatchObject({ state: 'EXITED', startedAt: null, reason });
      });

      it('should have files although nobody may write to their root', async () => {
        const files = [
          { target: '/etc/app/app.conf', content: 'port=1\n', mode: 0o444 },
          { target: '/secret', content: 'hush\n', mode: 0o400 },
        ];
        const script =
          'cat /etc/app/app.conf /secret; stat -c %a /etc/app/app.conf /secret; touch /new || echo refused';
        const spec = within(shell('app', script, { files }), { readOnly: true });
        expect(await outputOf(runtime, stack, spec)).toBe('port=1\nhush\n444\n400\nrefused\n');
        expect(await runtime.drift(stack, [spec])).toEqual(new Map());
        await runtime.stop(stack, spec.instanceId, 1);
        await runtime.removeStack(stack, { volumes: false }, 1);
        const { Volumes } = await place.docker.listVolumes({
          filters: { label: [`io.windflow.instance=${spec.instanceId}`] },
        });
        expect(Volumes).toEqual([]);
      });

      it('should be made once where a control plane died before it started one', async () => {
        const spec = shell('web', 'sleep 60');
        await runtime.start(stack, spec, 1);
        const container = (await containerOf(spec))!;
        const { Config, HostConfig, Name } = await container.inspect();
        await container.remove({ force: true });
        await place.docker.createContainer({ ...Config, HostConfig, name: Name.slice(1) });
        expect(await runtime.start(stack, spec, 1)).toMatchObject({ state: 'RUNNING' });
        expect(await runtime.list(stack)).toHaveLength(1);
      });

      it.each([
        null,
        'fixed',
      ])('should be made beside what runs, and take its name with its end: %s', async (containerName) => {
        const [one, two] = [1, 2].map(() => within(shell('web', 'sleep 60'), { containerName }));
        await runtime.start(stack, one!, 1);
        const name = (await (await containerOf(one!))!.inspect()).Name;
        await runtime.create(stack, two!, 1);
        await runtime.create(stack, two!, 1);
        const states = (await runtime.list(stack)).map(({ instanceId, state, startedAt }) => [
          instanceId === one!.instanceId,
          state,
          startedAt !== null,
        ]);
        expect(states.sort()).toEqual([
          [false, 'STARTING', false],
          [true, 'RUNNING', true],
        ]);
        await runtime.stop(stack, one!.instanceId, 1);
        expect(await runtime.start(stack, two!, 1)).toMatchObject({ state: 'RUNNING' });
        expect((await (await containerOf(two!))!.inspect()).Name).toBe(name);
      });

      it('should be refused while they are made where somebody else has their name', async () => {
        const holder = await place.docker.createContainer({ name: 'held', Image: 'busybox:local' });
        const spec = within(shell('web', 'sleep 60'), { containerName: 'held' });
        await expect(runtime.create(stack, spec, 1)).rejects.toThrow(/^service web: .*already in use/);
        await holder.remove();
        expect(await runtime.list(stack)).toEqual([]);
      });

      it('should be told as stopped when somebody removes one', async () => {
        const spec = shell('web', 'sleep 60');
        await runtime.start(stack, spec, 1);
        const seen: string[] = [];
        const stop = new AbortController();
        const watching = runtime.watch(stack, ({ state }) => seen.push(state), stop.signal);
        await eventually('the present', () => seen.includes('RUNNING'));
        await (await containerOf(spec))!.remove({ force: true });
        await eventually('its end', () => seen.at(-1) === 'STOPPED');
        stop.abort();
        await watching;
        expect(await statusOf(runtime, stack, spec.instanceId)).toBeUndefined();
      });

      it('should need networks of others to be there', async () => {
        const external = { ...EXTERNAL_NETWORK, name: 'wf-not-there' };
        const spec = within(shell('web', 'sleep 60'), { networkDefinitions: { default: external } });
        await expect(runtime.start(stack, spec, 1)).rejects.toThrow('docker network create wf-not-there');
        expect(await runtime.list(stack)).toEqual([]);
      });
    });

    it('should tell what was changed of a container by hand', async () => {
      const spec = within(shell('web', 'sleep 60'), {});
      spec.container!.resources = { ...spec.container!.resources, memory: 64 * 1024 * 1024 };
      await runtime.start(stack, spec, 1);
      expect(await runtime.drift(stack, [spec])).toEqual(new Map());
      const container = (await containerOf(spec))!;
      const changed = { Memory: 32 * 1024 * 1024, MemorySwap: 64 * 1024 * 1024, RestartPolicy: { Name: 'always' } };
      await container.update(changed);
      const network = `${spec.container!.project}_default`;
      await place.docker.getNetwork(network).disconnect({ Container: container.id });
      expect((await runtime.drift(stack, [spec])).get(spec.instanceId)).toEqual([
        { path: 'mem_limit', before: '33554432', after: '67108864' },
        { path: 'restart', before: 'always', after: 'no' },
        { path: 'networks', before: 'none', after: network },
      ]);
    });

    it('should tell of a stop by its outcome alone', async () => {
      const spec = shell('web', 'sleep 60');
      await runtime.start(stack, spec, 1);
      const seen: string[] = [];
      const stop = new AbortController();
      const watching = runtime.watch(stack, ({ state }) => seen.push(state), stop.signal);
      await eventually('the present', () => seen.length > 0);
      await runtime.stop(stack, spec.instanceId, 1);
      await eventually('its end', () => seen.at(-1) === 'STOPPED');
      stop.abort();
      await watching;
      expect(seen).toEqual(['RUNNING', 'STOPPED']);
    });

    describe('an engine that does not answer', () => {
      it('should be found again by whoever watches or reads', async () => {
        await using way = await Detour.to(endpoint!);
        const quiet = () => {};
        const connection = { endpoint: `tcp://127.0.0.1:${way.port}`, isLocal: true };
        await using far = createDockerRuntime({
          connection,
          ingressImage: 'haproxy:local',
          log: { info: quiet, warn: quiet, error: quiet },
        });
        const spec = shell('ticking', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done');
        await far.start(stack, spec, 1);
        const seen = new Set<string>();
        const stop = new AbortController();
        const watching = far.watch(stack, ({ state }) => seen.add(state), stop.signal);
        const first = await readLog(far, logFor(spec), 0, (chunk) => textOf([chunk]).includes('5\n'));
        await eventually('the present', () => seen.has('RUNNING'));
        way.close();
        await expect(far.list(stack)).rejects.toThrow(RuntimeUnavailableError);
        await expect(far.start(stack, shell('other', 'true'), 1)).rejects.toThrow(RuntimeUnavailableError);
        await way.open();
        const last = first.at(-1)!;
        const from = { position: last.next, mark: last.mark! };
        const rest = await readLog(far, logFor(spec), from, (chunk) => textOf([chunk]).includes('40\n'));
        const lines = (textOf(first) + textOf(rest)).trim().split('\n');
        expect(lines).toEqual(lines.map((_, index) => String(index + 1)));
        await runtime.stop(stack, spec.instanceId, 1);
        await eventually('its end', () => seen.has('STOPPED'));
        stop.abort();
        await watching;
      });

      it('should be told from what an engine refuses', async () => {
        await expect(engineIdentity({ endpoint: 'unix:///tmp/no-docker-engine.sock', isLocal: true })).rejects.toThrow(
          RuntimeUnavailableError,
        );
        const { version, id } = await engineIdentity({ endpoint: endpoint!, isLocal: true });
        expect(version).toMatch(/^\d+\./);
        expect(id).not.toBe('');
        const spec = within(shell('web', 'sleep 60'), { runtime: 'no-such-runtime' });
        await expect(runtime.start(stack, spec, 1)).rejects.toThrow(RuntimeError);
      });
    });
  });
});

const EXTERNAL_NETWORK = {
  name: null,
  external: true,
  internal: false,
  attachable: false,
  driver: null,
  driverOpts: {},
  enableIpv6: false,
  ipam: { driver: null, options: {}, pools: [] },
  labels: {},
};

/** Every byte and event with its position: chunks may be cut otherwise when a log is read again. */
function placed(chunks: LogChunk[]): { position: number; what: string }[] {
  return chunks.flatMap((chunk) => {
    const { position } = chunk;
    if (chunk.kind === 'event') return [{ position, what: `${chunk.event}: ${chunk.message}` }];
    if (chunk.kind === 'gap') return [{ position, what: chunk.reason }];
    return [...chunk.bytes].map((byte, index) => ({ position: position + index, what: `${chunk.stream} ${byte}` }));
  });
}
