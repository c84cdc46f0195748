import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type InstanceSpec,
  type InstanceStatus,
  type LogChunk,
  type LogRef,
  type Runtime,
  RuntimeError,
  type StackRef,
  StaleLeaseError,
} from '../../src/runtimes/runtime.ts';
import {
  endOf,
  eventsOf,
  eventually,
  isEnd,
  logOf,
  logOfInstance,
  outputOf,
  readAll,
  readLog,
  statusOf,
  textOf,
  whenState,
} from './stack-driver.ts';

/** A runtime's place in the world, e.g. one runtime directory: whoever opens it sees what runs there. */
export type RuntimePlace = {
  readonly logsBy: Runtime['logsBy'];
  /** Whether what a service left behind runs on until it is stopped. */
  readonly keepsChildren: boolean;
  /** The variables that every service has. */
  readonly variables: readonly string[];
  /** As a control plane that starts anew would. */
  open(): Promise<Runtime>;
  newStack(): StackRef;
  /** A replica of a service that runs a shell script and is never restarted, unless `differing` says otherwise. */
  spec(stack: StackRef, service: string, script: string, differing?: Partial<InstanceSpec>): InstanceSpec;
  /** Whether a process of an instance runs: the one that its status names, or one that it named itself. */
  isRunning(spec: InstanceSpec, pid: number): Promise<boolean>;
  /** Something that takes a port where services publish theirs. */
  occupyPort(protocol: 'tcp' | 'udp'): Promise<{ port: number; release(): Promise<void> }>;
};

/** What every runtime promises. Services are shell scripts: `sh`, `sleep` and coreutils are all they need. */
export function runtimeContract(name: string, place: RuntimePlace): void {
  describe(`${name}: what a runtime promises`, () => {
    let runtime: Runtime;
    let stack: StackRef;

    const shell = (service: string, script: string, differing: Partial<InstanceSpec> = {}) =>
      place.spec(stack, service, script, differing);
    const logFor = (spec: InstanceSpec): LogRef => logOfInstance(runtime, stack, spec);
    /** What replicas and services have in common. */
    const shared = [{ name: 'shared', target: 'shared', readOnly: false }];

    beforeEach(async () => {
      runtime = await place.open();
      stack = place.newStack();
    });

    afterEach(async () => {
      const highest = 1_000_000;
      for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, highest);
      await runtime.removeStack(stack, { volumes: true }, highest);
      await runtime.close();
    });

    describe('starting', () => {
      it('should start an instance and say what runs', async () => {
        const ports = [{ target: 80, published: 8080, host: '127.0.0.1', protocol: 'tcp' as const }];
        const spec = shell('web', 'sleep 60', { replica: 2, configHash: 'abc', ports });
        const status = await runtime.start(stack, spec, 1);
        const { instanceId } = spec;
        expect(status).toMatchObject({ instanceId, service: 'web', replica: 2, configHash: 'abc', ports, restarts: 0 });
        expect(status).toMatchObject({ state: 'RUNNING', exitCode: null, reason: null });
        expect(Date.parse(status.startedAt ?? '')).toBeGreaterThan(Date.now() - 60_000);
        expect(await runtime.list(stack)).toEqual([status]);
      });

      it('should start an instance once, however often it is asked', async () => {
        const spec = shell('once', 'echo started; sleep 60');
        const statuses = await Promise.all([1, 2, 3].map(() => runtime.start(stack, spec, 1)));
        expect(new Set(statuses.map(({ pid }) => pid)).size).toBe(1);
        expect(
          eventsOf(await readAll(runtime, logFor(spec))).filter((event) => event.startsWith('started')),
        ).toHaveLength(1);
      });

      it('should run nothing of an instance that is made ready, before it is started', async () => {
        const [started, left] = [shell('web', 'echo started; sleep 60'), shell('left', 'echo never')];
        for (const spec of [started, left]) await runtime.create(stack, spec, 1);
        expect((await runtime.list(stack)).filter(({ startedAt }) => startedAt !== null)).toEqual([]);
        expect(await runtime.start(stack, started, 1)).toMatchObject({ state: 'RUNNING' });
        await runtime.create(stack, started, 1);
        await runtime.stop(stack, left.instanceId, 1);
        const listed = await runtime.list(stack);
        expect(listed.map(({ instanceId, state }) => [instanceId, state])).toEqual([[started.instanceId, 'RUNNING']]);
        expect(textOf(await readAll(runtime, logFor(left)))).not.toContain('never');
      });

      it('should not start an instance again that has ended, until it was stopped', async () => {
        const spec = shell('once', 'echo ran');
        await outputOf(runtime, stack, spec);
        await whenState(runtime, stack, spec, 'EXITED');
        expect(await runtime.start(stack, spec, 1)).toMatchObject({ state: 'EXITED', exitCode: 0 });
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await outputOf(runtime, stack, spec)).toBe('ran\n');
      });

      it('should say of a command that does not exist that it was not found', async () => {
        const spec = shell('typo', '', { argv: ['ngnix', '-g'], restart: { name: 'always', maxRetries: null } });
        const expected = { state: 'EXITED', exitCode: 127, reason: 'command not found: ngnix', pid: null };
        expect(await runtime.start(stack, spec, 1)).toMatchObject(expected);
        expect(await runtime.start(stack, spec, 1)).toMatchObject(expected);
      });

      it('should say of a file that is no program that it is not executable', async () => {
        const files = [{ target: '/run.sh', content: 'echo hi', mode: 0o444 }];
        const status = await runtime.start(stack, shell('plain', '', { argv: ['./run.sh'], files }), 1);
        expect(status).toMatchObject({
          state: 'EXITED',
          exitCode: 126,
          reason: expect.stringContaining('not executable'),
        });
      });

      it.each([
        ['a name with a slash', { service: '../web' }, 'service'],
        ['an id that is no UUID', { instanceId: 'web-1' }, 'UUID'],
        ['no command', { argv: [] }, 'no command'],
        ['a NUL byte in a variable', { environment: { A: 'a\0b' } }, 'NUL'],
        ['a variable named A=B', { environment: { 'A=B': 'c' } }, 'variable'],
      ])('should refuse %s', async (_, differing, message) => {
        const start = runtime.start(stack, shell('web', 'true', differing), 1);
        await expect(start).rejects.toThrow(RuntimeError);
        await expect(start).rejects.toThrow(message);
        expect(await runtime.list(stack)).toEqual([]);
      });
    });

    describe('ending', () => {
      it.each([
        ['exit 0', 0, 'exited with code 0'],
        ['exit 3', 3, 'exited with code 3'],
        ['kill -9 $$', 137, 'killed by SIGKILL'],
        ['kill -TERM $$', 143, 'killed by SIGTERM'],
      ])('should know how %j ended', async (script, exitCode, reason) => {
        const spec = shell('job', script);
        await runtime.start(stack, spec, 1);
        expect(await whenState(runtime, stack, spec, 'EXITED')).toMatchObject({
          exitCode,
          reason,
          pid: null,
          restarts: 0,
        });
      });

      it('should let a service end itself at its stop signal, and forget it', async () => {
        const spec = shell('polite', "trap 'echo bye; exit 0' USR1; echo ready; while :; do sleep 0.05; done", {
          stopSignal: 'SIGUSR1',
        });
        await runtime.start(stack, spec, 1);
        await readLog(runtime, logFor(spec), 0, (chunk) => chunk.kind === 'output');
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await runtime.list(stack)).toEqual([]);
        const chunks = await readAll(runtime, logFor(spec));
        expect(textOf(chunks)).toBe('ready\nbye\n');
        expect(eventsOf(chunks).slice(-2)).toEqual(['ended: exited with code 0', 'removed: stopped and removed']);
      });

      it('should kill what ignores its stop signal after the grace period, children too', async () => {
        const script = "trap '' TERM; (trap '' TERM; while :; do sleep 60; done) & echo $!; while :; do sleep 60; done";
        const spec = shell('stubborn', script, { stopGracePeriodMs: 100 });
        const { pid } = await runtime.start(stack, spec, 1);
        const chunks = await readLog(runtime, logFor(spec), 0, (chunk) => chunk.kind === 'output');
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await place.isRunning(spec, pid ?? 0)).toBe(false);
        expect(await place.isRunning(spec, Number(textOf(chunks)))).toBe(false);
      });

      it.runIf(place.keepsChildren)('should stop what a service left behind when it ended', async () => {
        const spec = shell('forking', 'sleep 600 & echo $!');
        const child = Number(await outputOf(runtime, stack, spec));
        await whenState(runtime, stack, spec, 'EXITED');
        expect(await place.isRunning(spec, child)).toBe(true);
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await place.isRunning(spec, child)).toBe(false);
      });

      it('should do nothing when an instance is absent or was stopped', async () => {
        const spec = shell('web', 'sleep 60');
        await runtime.stop(stack, spec.instanceId, 1);
        await runtime.start(stack, spec, 1);
        await Promise.all([runtime.stop(stack, spec.instanceId, 1), runtime.stop(stack, spec.instanceId, 1)]);
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await runtime.list(stack)).toEqual([]);
      });
    });

    describe('restarts', () => {
      it('should restart a failing service as often as its policy says', async () => {
        const restart = { name: 'on-failure' as const, maxRetries: 2 };
        const spec = shell('crashing', 'echo run; exit 7', { restart });
        await runtime.start(stack, spec, 1);
        const reason = 'exited with code 7, restarted 2 times';
        expect(await whenState(runtime, stack, spec, 'EXITED')).toMatchObject({
          exitCode: 7,
          restarts: 2,
          loopRestarts: 2,
          reason,
        });
        const chunks = await readAll(runtime, logFor(spec));
        expect(textOf(chunks)).toBe('run\nrun\nrun\n');
        expect(eventsOf(chunks)).toContain('restarting: restarting in 100 ms');
        expect(eventsOf(chunks)).toContain('restarting: restarting in 200 ms');
      });

      it('should keep the first failure of a crash loop', async () => {
        const script =
          'if [ -e again ]; then echo address in use >&2; exit 98; fi; touch again; echo cannot open config >&2; exit 3';
        const spec = shell('crashing', script, { restart: { name: 'on-failure', maxRetries: 1 } });
        await runtime.start(stack, spec, 1);
        const { reason } = await whenState(runtime, stack, spec, 'EXITED');
        expect(reason).toBe(
          'exited with code 3 (cannot open config), restarted once, last: exited with code 98 (address in use)',
        );
      });

      it('should not restart on-failure what ended well', async () => {
        const spec = shell('job', 'exit 0', { restart: { name: 'on-failure', maxRetries: null } });
        await runtime.start(stack, spec, 1);
        expect(await whenState(runtime, stack, spec, 'EXITED')).toMatchObject({ restarts: 0 });
      });

      it('should cancel a restart that is due when it is stopped', async () => {
        const spec = shell('crashing', 'exit 1', { restart: { name: 'always', maxRetries: null } });
        await runtime.start(stack, spec, 1);
        await eventually(
          'two restarts',
          async () => ((await statusOf(runtime, stack, spec.instanceId))?.restarts ?? 0) >= 2,
        );
        await whenState(runtime, stack, spec, 'RESTARTING');
        await runtime.stop(stack, spec.instanceId, 1);
        expect(await runtime.list(stack)).toEqual([]);
        expect(eventsOf(await readAll(runtime, logFor(spec))).at(-1)).toBe('removed: stopped and removed');
      });
    });

    describe('health', () => {
      const check = { intervalMs: 50, timeoutMs: 2_000, retries: 2, startPeriodMs: 0, startIntervalMs: 50 };

      const waiting = 'cd shared; until [ -e go ]; do sleep 0.02; done; touch ready; sleep 60';

      it('should be STARTING until the first success', async () => {
        const healthcheck = { ...check, argv: ['sh', '-c', 'test -e shared/ready'], retries: 1_000 };
        const spec = shell('web', waiting, { healthcheck, volumes: shared });
        expect(await runtime.start(stack, spec, 1)).toMatchObject({ state: 'STARTING' });
        await runtime.start(stack, shell('web', 'touch shared/go', { replica: 2, volumes: shared }), 1);
        await whenState(runtime, stack, spec, 'HEALTHY');
        await readLog(runtime, logFor(spec), 0, (chunk) => chunk.kind === 'event' && chunk.message === 'healthy');
      });

      it('should be UNHEALTHY after enough failures, say why, and recover', async () => {
        const healthcheck = { ...check, argv: ['sh', '-c', 'test -e shared/ready || { echo no answer; exit 7; }'] };
        const spec = shell('web', waiting, { healthcheck, volumes: shared });
        await runtime.start(stack, spec, 1);
        const { reason } = await whenState(runtime, stack, spec, 'UNHEALTHY');
        expect(reason).toBe('health check: exit 7: no answer');
        await runtime.start(stack, shell('web', 'touch shared/go', { replica: 2, volumes: shared }), 1);
        expect(await whenState(runtime, stack, spec, 'HEALTHY')).toMatchObject({ reason: null });
        expect(eventsOf(await readAll(runtime, logFor(spec)))).toContain('health: unhealthy: exit 7: no answer');
      });

      it('should count a probe that hangs as failed, and end it', async () => {
        const healthcheck = {
          ...check,
          argv: ['sh', '-c', 'echo $$ >> shared/probes; sleep 600'],
          timeoutMs: 100,
          retries: 1,
        };
        const spec = shell('web', 'sleep 60', { healthcheck, volumes: shared });
        await runtime.start(stack, spec, 1);
        const { reason } = await whenState(runtime, stack, spec, 'UNHEALTHY');
        expect(reason).toBe('health check: no answer within 100 ms');
        const probes = await outputOf(
          runtime,
          stack,
          shell('web', 'cat shared/probes', { replica: 2, volumes: shared }),
        );
        await runtime.stop(stack, spec.instanceId, 1);
        const left = await Promise.all(
          probes
            .trim()
            .split('\n')
            .map((pid) => place.isRunning(spec, Number(pid))),
        );
        expect(left).not.toContain(true);
      });
    });

    describe('the log', () => {
      it('should hold both streams, and the end after the last output', async () => {
        const spec = shell('writer', 'echo out; echo err >&2; printf unfinished');
        await runtime.start(stack, spec, 1);
        const chunks = await readLog(runtime, logFor(spec), 0, isEnd(spec));
        expect(textOf(chunks, 'STDOUT')).toBe('out\nunfinished');
        expect(textOf(chunks, 'STDERR')).toBe('err\n');
        expect(eventsOf(chunks)).toEqual([
          expect.stringMatching(/^started: started(, pid \d+)?$/),
          'ended: exited with code 0',
        ]);
        expect(chunks.every((chunk) => Math.abs(chunk.time - Date.now()) < 60_000)).toBe(true);
      });

      it('should be readable from any position, also in the middle of a chunk', async () => {
        const spec = shell('writer', 'seq 1 400; seq 401 800 >&2; sleep 0.05; seq 801 1000');
        await runtime.start(stack, spec, 1);
        const all = await readLog(runtime, logFor(spec), 0, isEnd(spec));
        const bytes = new Map<number, number>();
        for (const chunk of all) {
          if (chunk.kind !== 'output') continue;
          for (const [index, byte] of chunk.bytes.entries()) bytes.set(chunk.position + index, byte);
        }
        const end = all.at(-1)?.next ?? 0;
        for (let from = 0; from < end; from += 97) {
          const seen = await readLog(runtime, logFor(spec), from, isEnd(spec));
          const outputs = seen.filter((chunk): chunk is LogChunk & { kind: 'output' } => chunk.kind === 'output');
          const got = outputs.flatMap((chunk) =>
            [...chunk.bytes].map((byte, index) => [chunk.position + index, byte] as const),
          );
          expect(got).toEqual([...bytes].filter(([position]) => position >= from));
          expect(seen.every((chunk) => chunk.position >= from)).toBe(true);
        }
      });

      it('should go on live, and end when its reader has enough', async () => {
        const spec = shell('ticking', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done');
        await runtime.start(stack, spec, 1);
        const first = await readLog(runtime, logFor(spec), 0, (chunk) => textOf([chunk]).includes('5\n'));
        const rest = await readLog(runtime, logFor(spec), first.at(-1)?.next ?? 0, (chunk) =>
          textOf([chunk]).includes('20\n'),
        );
        const lines = (textOf(first) + textOf(rest)).trim().split('\n');
        expect(lines).toEqual(lines.map((_, index) => String(index + 1)));
        const stop = new AbortController();
        const reading = Array.fromAsync(runtime.logs(logFor(spec), { position: 0, mark: null }, stop.signal));
        stop.abort();
        await reading;
      });

      it('should keep what was not trimmed, and its positions', async () => {
        const spec = shell('writer', 'seq 1 1000');
        await runtime.start(stack, spec, 1);
        const chunks = await readLog(runtime, logFor(spec), 0, isEnd(spec));
        const last = chunks.at(-1);
        const known = runtime.logsBy === 'stack' ? last?.next : null;
        expect(await runtime.logEnd(logFor(spec))).toBe(known);
        await runtime.trimLogs(logFor(spec), last?.position ?? 0);
        expect((await readLog(runtime, logFor(spec), last?.position ?? 0, isEnd(spec))).at(-1)).toEqual(last);
        expect(await runtime.logEnd(logFor(spec))).toBe(known);
      });
    });

    describe('surroundings of a service', () => {
      it('should give a service its own variables and a minimal environment, never the control plane’s', async () => {
        process.env.WINDFLOW_TEST_SECRET = 'of the server';
        const environment = { GREETING: 'hello\nworld', EMPTY: '' };
        const output = await outputOf(runtime, stack, shell('env', 'env -0', { environment }));
        delete process.env.WINDFLOW_TEST_SECRET;
        const variables = new Map(
          output.split('\0').flatMap((entry) => {
            const at = entry.indexOf('=');
            return at < 0 ? [] : [[entry.slice(0, at), entry.slice(at + 1)] as const];
          }),
        );
        // Shells set these by themselves.
        const ofTheShell = ['OLDPWD', 'PWD', 'SHLVL', '_'];
        const names = [...variables.keys()].filter((variable) => !ofTheShell.includes(variable));
        expect(names.sort()).toEqual(['EMPTY', 'GREETING', ...place.variables].sort());
        expect(variables.get('GREETING')).toBe('hello\nworld');
      });

      it('should put files where the spec says, inside the service’s own root', async () => {
        const files = [
          { target: '/etc/app/app.conf', content: 'port=1\n', mode: 0o444 },
          { target: 'secret', content: 'hush\n', mode: 0o400 },
        ];
        const script = 'cat "$WINDFLOW_ROOT/etc/app/app.conf" secret; stat -c %a etc/app/app.conf secret';
        expect(await outputOf(runtime, stack, shell('app', script, { files }))).toBe('port=1\nhush\n444\n400\n');
      });

      it('should replace files of an earlier instance', async () => {
        const file = (content: string) => ({ files: [{ target: 'conf', content, mode: 0o400 }] });
        expect(await outputOf(runtime, stack, shell('app', 'cat conf', file('one')))).toBe('one');
        expect(await outputOf(runtime, stack, shell('app', 'cat conf', file('two')))).toBe('two');
      });

      it('should keep a volume’s data for later instances and other services', async () => {
        const volumes = [{ name: 'data', target: '/var/lib/data', readOnly: false }];
        const writer = shell('writer', 'echo kept > var/lib/data/file', { volumes });
        await outputOf(runtime, stack, writer);
        await runtime.stop(stack, writer.instanceId, 1);
        const reader = shell('reader', 'cat data/file', {
          volumes: [{ name: 'data', target: 'data', readOnly: true }],
        });
        expect(await outputOf(runtime, stack, reader)).toBe('kept\n');
      });

      it('should start in the working directory, made where it is missing', async () => {
        expect(
          await outputOf(runtime, stack, shell('app', 'echo ${PWD#"$WINDFLOW_ROOT"}', { workingDir: '/srv/app' })),
        ).toBe('/srv/app\n');
      });
    });

    describe('usage', () => {
      const of = async (...specs: InstanceSpec[]) =>
        runtime.usage(
          stack,
          specs.map(({ instanceId }) => instanceId),
        );

      it('should be the memory and the CPU time of all processes of an instance, which grows while one is busy', async () => {
        const [busy, idle] = [shell('busy', 'sh -c "while :; do :; done"; true'), shell('idle', 'sleep 60')];
        await runtime.start(stack, busy, 1);
        await runtime.start(stack, idle, 1);
        const usage = await of(busy, idle);
        expect(usage.map(({ instanceId }) => instanceId).sort()).toEqual([busy.instanceId, idle.instanceId].sort());
        for (const { sampledAt, memoryBytes, cpuMs } of usage) {
          expect(Math.abs(sampledAt - Date.now())).toBeLessThan(60_000);
          expect(memoryBytes).toBeGreaterThan(0);
          expect(cpuMs).toBeGreaterThanOrEqual(0);
        }
        let last = 0;
        await eventually('300 ms of CPU time', async () => {
          const [now] = await of(busy);
          expect(now!.cpuMs).toBeGreaterThanOrEqual(last);
          last = now!.cpuMs;
          return last > 300;
        });
        const [quiet] = await of(idle);
        expect(quiet!.cpuMs).toBeLessThan(last);
      });

      it('should not fall when a process ends that used some', async () => {
        // Ended by its CPU time, however long the machine takes to give it that much.
        const script = '(ulimit -t 1; while :; do :; done); echo over; sleep 60';
        const spec = shell('worker', script);
        await runtime.start(stack, spec, 1);
        const before = await eventually('CPU time of the child', async () => {
          const [now] = await of(spec);
          return now!.cpuMs >= 100 ? now!.cpuMs : null;
        });
        await readLog(runtime, logFor(spec), 0, (chunk) => textOf([chunk]).includes('over'));
        expect((await of(spec))[0]!.cpuMs).toBeGreaterThanOrEqual(before);
      });

      it('should leave out what is absent, ended, or of another stack', async () => {
        const [ended, running, absent] = [shell('job', 'exit 0'), shell('web', 'sleep 60'), shell('db', 'sleep 60')];
        await runtime.start(stack, ended, 1);
        await runtime.start(stack, running, 1);
        await whenState(runtime, stack, ended, 'EXITED');
        expect((await of(ended, running, absent)).map(({ instanceId }) => instanceId)).toEqual([running.instanceId]);
        expect(await runtime.usage(place.newStack(), [running.instanceId])).toEqual([]);
        expect(await of()).toEqual([]);
        await runtime.stop(stack, running.instanceId, 1);
        expect(await of(running)).toEqual([]);
      });
    });

    describe('drift', () => {
      const files = ['one', 'two', 'three'].map((name) => ({
        target: `/etc/${name}.conf`,
        content: name,
        mode: 0o644,
      }));

      it('should be nothing while files are as they were given', async () => {
        const spec = shell('web', 'sleep 60', { files });
        await runtime.start(stack, spec, 1);
        expect(await runtime.drift(stack, [spec])).toEqual(new Map());
      });

      it('should be nothing for files in a volume', async () => {
        const volumes = [{ name: 'data', target: '/var/lib/data', readOnly: false }];
        const inVolume = [{ target: '/var/lib/data/conf/one.conf', content: 'one', mode: 0o644 }];
        const spec = shell('web', 'sleep 60', { files: [...inVolume, ...files], volumes });
        await runtime.start(stack, spec, 1);
        expect(await runtime.drift(stack, [spec])).toEqual(new Map());
      });

      it('should be files that were changed, replaced or taken away', async () => {
        const script =
          'cd etc && chmod u+w *.conf && echo more >> one.conf && rm two.conf three.conf && mkfifo three.conf && echo done; sleep 60';
        const [spec, other] = [shell('web', script, { files }), shell('db', 'sleep 60', { files })];
        await runtime.start(stack, other, 1);
        await runtime.start(stack, spec, 1);
        await readLog(runtime, logFor(spec), 0, (chunk) => textOf([chunk]).includes('done'));
        const found = (await runtime.drift(stack, [spec, other])).get(spec.instanceId);
        expect(found).toEqual([
          { target: '/etc/one.conf', found: 'changed' },
          { target: '/etc/two.conf', found: 'missing' },
          { target: '/etc/three.conf', found: 'changed' },
        ]);
        expect((await runtime.drift(stack, [spec, other])).has(other.instanceId)).toBe(false);
      });
    });

    describe('watching', () => {
      it('should report what is there, then every change', async () => {
        const before = shell('before', 'sleep 60');
        await runtime.start(stack, before, 1);
        const seen: InstanceStatus[] = [];
        const stop = new AbortController();
        const watching = runtime.watch(stack, (status) => seen.push(status), stop.signal);
        await eventually('the present', () => seen.some((status) => status.instanceId === before.instanceId));
        const job = shell('job', 'exit 4');
        await runtime.start(stack, job, 1);
        const ended = ({ instanceId, state }: InstanceStatus) => instanceId === job.instanceId && state === 'EXITED';
        expect((await eventually('the end', () => seen.find(ended))).exitCode).toBe(4);
        await runtime.stop(stack, before.instanceId, 1);
        await eventually('the removal', () =>
          seen.some(({ instanceId, state }) => instanceId === before.instanceId && state === 'STOPPED'),
        );
        stop.abort();
        await watching;
      });
    });

    describe('another control plane', () => {
      it('should find the same processes and every line in between', async () => {
        const spec = shell('ticking', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done');
        const started = await runtime.start(stack, spec, 1);
        const first = await readLog(runtime, logFor(spec), 0, (chunk) => chunk.kind === 'output');
        await runtime.close();
        runtime = await place.open();
        expect(await runtime.list(stack)).toEqual([started]);
        const lines = (chunks: LogChunk[]) => textOf(chunks).split('\n').filter(Boolean);
        const rest = await readLog(runtime, logFor(spec), first.at(-1)?.next ?? 0, (chunk) =>
          lines([chunk]).some((line) => +line >= 60),
        );
        const all = [...lines(first), ...lines(rest)];
        expect(all).toEqual(all.map((_, index) => String(index + 1)));
      });

      it('should learn how a service ended in the meantime', async () => {
        const spec = shell('job', 'sleep 0.1; exit 9');
        await runtime.start(stack, spec, 1);
        await runtime.close();
        runtime = await place.open();
        expect(await whenState(runtime, stack, spec, 'EXITED')).toMatchObject({ exitCode: 9 });
        expect(await runtime.start(stack, spec, 1)).toMatchObject({ state: 'EXITED', exitCode: 9 });
      });

      it('should be refused with a lease that is over', async () => {
        const spec = shell('web', 'sleep 60');
        await runtime.start(stack, spec, 5);
        const later = await place.open();
        await expect(later.start(stack, shell('web', 'true'), 4)).rejects.toThrow(StaleLeaseError);
        await expect(later.stop(stack, spec.instanceId, 4)).rejects.toThrow(StaleLeaseError);
        await expect(later.removeStack(stack, { volumes: true }, 4)).rejects.toThrow(StaleLeaseError);
        await later.stop(stack, spec.instanceId, 6);
        await expect(runtime.start(stack, shell('web', 'true'), 5)).rejects.toThrow(StaleLeaseError);
        await later.close();
      });
    });

    describe('a stack’s end', () => {
      it('should be refused while instances are left', async () => {
        await runtime.start(stack, shell('web', 'sleep 60'), 1);
        await expect(runtime.removeStack(stack, { volumes: true }, 1)).rejects.toThrow(RuntimeError);
      });

      it('should take volumes only when that was asked for', async () => {
        const volumes = [{ name: 'data', target: 'data', readOnly: false }];
        const look = () => shell('app', 'cat data/file || echo none; echo kept > data/file', { volumes });
        const run = async () => {
          const spec = look();
          const output = await outputOf(runtime, stack, spec);
          await runtime.stop(stack, spec.instanceId, 1);
          return output;
        };
        expect(await run()).toBe('none\n');
        await runtime.removeStack(stack, { volumes: false }, 1);
        expect(await run()).toBe('kept\n');
        await runtime.removeStack(stack, { volumes: true }, 1);
        expect(await run()).toBe('none\n');
      });

      it('should be forgotten with its log, once nothing is left of it', async () => {
        const spec = shell('one', 'echo one');
        await outputOf(runtime, stack, spec);
        await expect(runtime.forgetStack(stack, 1)).rejects.toThrow(RuntimeError);
        await runtime.stop(stack, spec.instanceId, 2);
        await runtime.removeStack(stack, { volumes: true }, 2);
        await expect(runtime.forgetStack(stack, 1)).rejects.toThrow(StaleLeaseError);
        for (const epoch of [2, 2]) await runtime.forgetStack(stack, epoch);
        expect(await runtime.logEnd(logFor(spec))).toBe(0);
        expect(await runtime.list(stack)).toEqual([]);
      });

      it.runIf(place.logsBy === 'stack')('should never give a position twice', async () => {
        await outputOf(runtime, stack, shell('one', 'echo one'));
        for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, 1);
        const end = await endOf(runtime, stack);
        await runtime.removeStack(stack, { volumes: true }, 1);
        await runtime.trimLogs(logOf(stack), end);
        expect(await runtime.logEnd(logOf(stack))).toBe(end);
        const spec = shell('two', 'echo two');
        await runtime.start(stack, spec, 1);
        expect(textOf(await readLog(runtime, logFor(spec), end, isEnd(spec)))).toBe('two\n');
      });
    });

    describe('ports', () => {
      it.each(['tcp', 'udp'] as const)('should tell a free %s port from one in use', async (protocol) => {
        const { port, release } = await place.occupyPort(protocol);
        expect(await runtime.portIsFree('127.0.0.1', port, protocol)).toBe(false);
        expect(await runtime.portIsFree('0.0.0.0', port, protocol)).toBe(false);
        await release();
        expect(await runtime.portIsFree('127.0.0.1', port, protocol)).toBe(true);
      });
    });
  });
}
