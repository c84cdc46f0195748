import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { shortName } from '../../src/runtimes/process/layout.ts';
import { createProcessRuntime, type ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import { identify } from '../../src/runtimes/process/supervisor/process-identity.mjs';
import { type InstanceStatus, type LogChunk, RuntimeError, type StackRef } from '../../src/runtimes/runtime.ts';
import { IS_ROOT, ProcessPlace } from './process-place.ts';
import { runtimeContract } from './runtime-contract.ts';
import {
  bytesOf,
  eventsOf,
  eventually,
  isEnd,
  isRunning,
  logOf,
  outputOf,
  readLog,
  shell,
  statusOf,
  textOf,
  whenState,
} from './stack-driver.ts';

const place = new ProcessPlace();
afterAll(() => place.dispose());

runtimeContract('PROCESS', place);

const gapsOf = (chunks: LogChunk[]) => chunks.filter((chunk) => chunk.kind === 'gap');
const linesOf = (chunks: LogChunk[]) => textOf(chunks).split('\n').filter(Boolean);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => String(index + 1));

describe('PROCESS', () => {
  let runtime: ProcessRuntime;
  let stack: StackRef;

  beforeEach(async () => {
    runtime = await place.open();
    stack = place.newStack();
  });

  afterEach(async () => {
    for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, 1_000_000);
    await runtime.removeStack(stack, { volumes: true }, 1_000_000);
    await runtime.close();
  });

  describe('output', () => {
    it('should keep a burst of 10,000 lines on each stream', async () => {
      const spec = shell('burst', 'seq 1 10000 & seq 1 10000 >&2; wait');
      await runtime.start(stack, spec, 1);
      const chunks = await readLog(runtime, stack, 0, isEnd(spec));
      expect(textOf(chunks, 'STDOUT')).toBe(`${upTo(10_000).join('\n')}\n`);
      expect(textOf(chunks, 'STDERR')).toBe(`${upTo(10_000).join('\n')}\n`);
    });

    it('should keep a line of 1 MiB', async () => {
      const output = await outputOf(runtime, stack, shell('long', "head -c 1048575 /dev/zero | tr '\\0' x; echo"));
      expect(output.length).toBe(1024 * 1024);
      expect(output).toMatch(/^x+\n$/);
    });

    it('should keep binary output byte by byte', async () => {
      const binary = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
      const files = [{ target: 'binary', content: binary.toString('base64'), mode: 0o400 }];
      const spec = shell('binary', 'base64 -d binary', { files });
      await runtime.start(stack, spec, 1);
      expect(Buffer.concat(bytesOf(await readLog(runtime, stack, 0, isEnd(spec)))).equals(binary)).toBe(true);
    });

    it('should let a service open its output again by name', async () => {
      expect(await outputOf(runtime, stack, shell('reopening', 'echo by name > /dev/stdout'))).toBe('by name\n');
    });

    it('should still keep what a child writes after its service ended', async () => {
      const spec = shell('forking', '(until [ -e go ]; do sleep 0.02; done; echo late) & echo early');
      await runtime.start(stack, spec, 1);
      await whenState(runtime, stack, spec, 'EXITED');
      await runtime.start(stack, shell('forking', 'touch go', { replica: 2 }), 1);
      await readLog(runtime, stack, 0, (chunk) => textOf([chunk]).includes('late'));
    });
  });

  describe('surroundings', () => {
    it.each([
      ['a file', { files: [{ target: '../../escape', content: '', mode: 0o400 }] }],
      ['a working directory', { workingDir: '../..' }],
      ['a volume', { volumes: [{ name: 'data', target: '/../../data', readOnly: false }] }],
    ])('should not start with %s outside the root', async (_, differing) => {
      const status = await runtime.start(stack, shell('app', 'true', differing), 1);
      expect(status.state).toBe('EXITED');
      expect(status.reason).toContain('leads out of');
    });
  });

  describe('processes', () => {
    it('should end every process of a service, those in groups of their own too', async () => {
      const script = 'set -m; sleep 600 & echo $!; (sleep 600 & echo $!); wait';
      const spec = shell('job-control', script, { argv: ['bash', '-c', script] });
      await runtime.start(stack, spec, 1);
      const seen: LogChunk[] = [];
      await readLog(runtime, stack, 0, (chunk) => seen.push(chunk) > 0 && linesOf(seen).length === 2);
      await runtime.stop(stack, spec.instanceId, 1);
      expect(linesOf(seen).map(Number).filter(isRunning)).toEqual([]);
    });

    it('should end what a former run left behind before it restarts a service', async () => {
      const spec = shell('forking', 'sleep 600 & echo $!; exit 1', { restart: { name: 'on-failure', maxRetries: 1 } });
      await runtime.start(stack, spec, 1);
      await whenState(runtime, stack, spec, 'EXITED');
      const [first] = linesOf(await readLog(runtime, stack, 0, isEnd(spec)));
      expect(isRunning(Number(first))).toBe(false);
    });

    it('should restart a service that its policy restarts while no control plane is there', async () => {
      const script = 'echo run >> runs; test $(wc -l < runs) -ge 3 && sleep 600; exit 1';
      const spec = shell('crashing', script, { restart: { name: 'always', maxRetries: null } });
      await runtime.start(stack, spec, 1);
      await runtime.close();
      const runs = path.join(runtime.serviceRoot(stack, 'crashing'), 'runs');
      await eventually('a third run', () => fs.existsSync(runs) && fs.readFileSync(runs, 'utf8').length >= 12);
      runtime = await place.open();
      expect(await whenState(runtime, stack, spec, 'RUNNING')).toMatchObject({ restarts: 2, exitCode: 1 });
    });

    it('should remove the files of an instance that no other one has', async () => {
      const file = (target: string) => ({ target, content: target, mode: 0o400 });
      const first = shell('app', 'sleep 60', { files: [file('shared'), file('secret')] });
      const second = shell('app', 'sleep 60', { files: [file('shared')] });
      await runtime.start(stack, first, 1);
      await runtime.start(stack, second, 1);
      await runtime.stop(stack, first.instanceId, 1);
      const root = runtime.serviceRoot(stack, 'app');
      expect(fs.existsSync(path.join(root, 'secret'))).toBe(false);
      expect(fs.existsSync(path.join(root, 'shared'))).toBe(true);
    });

    it('should give a service no open file but its input and its output', async () => {
      expect(await outputOf(runtime, stack, shell('files', 'exec ls /proc/self/fd'))).toBe('0\n1\n2\n3\n');
    });

    it('should find Node for services that need it', async () => {
      const script = 'PATH="${PATH##*:}" exec node -p 6*7';
      expect(await outputOf(runtime, stack, shell('script', script))).toBe('42\n');
    });
  });

  describe('a control plane that is killed', () => {
    it('should be followed by one that finds the same processes and every line', async () => {
      const script =
        'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i % 10)) = 0 ] && sleep 0.002; done; exit 3';
      const spec = shell('counting', script);
      const host = spawn(process.execPath, [path.join(import.meta.dirname, 'process-host.ts'), place.directory], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      host.stdin.write(`${JSON.stringify({ stack, spec })}\n`);
      const [answer] = await once(createInterface({ input: host.stdout }), 'line');
      const started: InstanceStatus = JSON.parse(answer);
      const first = await readLog(runtime, stack, 0, (chunk) => chunk.kind === 'output');
      host.kill('SIGKILL');
      await once(host, 'exit');
      expect(await statusOf(runtime, stack, spec.instanceId)).toMatchObject({ pid: started.pid, restarts: 0 });
      const rest = await readLog(runtime, stack, first.at(-1)?.next ?? 0, isEnd(spec));
      expect([...linesOf(first), ...linesOf(rest)]).toEqual(upTo(3_000));
      expect(await whenState(runtime, stack, spec, 'EXITED')).toMatchObject({ exitCode: 3 });
    });
  });

  describe('a supervisor', () => {
    // A former test's stack may still have its own for a moment.
    const supervisorsOf = (of: StackRef) =>
      place.supervisors().filter((pid) => path.basename(place.homeOf(pid)) === shortName(of.id));
    const supervisorOf = async () => eventually('a supervisor', () => supervisorsOf(stack)[0]);

    it('should be one for a stack, however many control planes start it at once', async () => {
      const others = await Promise.all([place.open(), place.open(), place.open()]);
      const spec = shell('web', 'sleep 60');
      const statuses = await Promise.all(others.map((other) => other.start(stack, spec, 1)));
      expect(new Set(statuses.map(({ pid }) => pid)).size).toBe(1);
      await eventually('a single supervisor', () => supervisorsOf(stack).length === 1);
      for (const other of others) await other.close();
    });

    it('should end when nothing runs any more, and be followed by one that remembers', async () => {
      const place = new ProcessPlace({ idleEndMs: 100 });
      const runtime = await place.open();
      const spec = shell('job', 'echo done; exit 3');
      await runtime.start(stack, spec, 1);
      await eventually('its end', () => place.supervisors().length === 0);
      const ended = { state: 'EXITED', exitCode: 3, reason: 'exited with code 3' };
      expect(await statusOf(runtime, stack, spec.instanceId)).toMatchObject(ended);
      expect(textOf(await readLog(runtime, stack, 0, isEnd(spec)))).toBe('done\n');
      expect(await runtime.start(stack, spec, 1)).toMatchObject(ended);
      await runtime.stop(stack, spec.instanceId, 1);
      expect(await runtime.list(stack)).toEqual([]);
      await runtime.close();
      await place.dispose();
    });

    it('should end with its services when its directory is removed', async () => {
      const place = new ProcessPlace();
      const runtime = await place.open();
      const { pid } = await runtime.start(stack, shell('web', 'sleep 600'), 1);
      fs.rmSync(place.directory, { recursive: true });
      await eventually('its end', () => place.supervisors().length === 0);
      expect(isRunning(pid ?? 0)).toBe(false);
      await runtime.close();
    });

    it('should end with its stack', async () => {
      const spec = shell('web', 'sleep 60');
      await runtime.start(stack, spec, 1);
      await runtime.stop(stack, spec.instanceId, 1);
      await runtime.removeStack(stack, { volumes: true }, 1);
      await eventually('its end', () => place.supervisors().length === 0);
      expect(fs.readdirSync(path.join(place.directory, 'e'))).toEqual([]);
    });

    it('should be gone with all its files once its stack is forgotten', async () => {
      const spec = shell('web', 'echo web; sleep 60');
      await runtime.start(stack, spec, 1);
      await runtime.stop(stack, spec.instanceId, 1);
      await runtime.removeStack(stack, { volumes: true }, 1);
      const home = path.join(place.directory, 's', shortName(stack.id));
      expect(fs.existsSync(home)).toBe(true);
      await runtime.forgetStack(stack, 1);
      expect(fs.existsSync(home)).toBe(false);
      await eventually('its end', () => place.supervisors().length === 0);
    });

    it('should leave records that say what became of its instances when it is killed', async () => {
      const seen: InstanceStatus[] = [];
      const stop = new AbortController();
      const watching = runtime.watch(stack, (status) => seen.push(status), stop.signal);
      const running = shell('web', 'echo up; sleep 600');
      const done = shell('job', 'exit 6');
      const { pid } = await runtime.start(stack, running, 7);
      await runtime.start(stack, done, 7);
      await whenState(runtime, stack, done, 'EXITED');
      const end = await runtime.logEnd(logOf(stack));
      process.kill(await supervisorOf(), 'SIGKILL');
      await eventually('the supervisor’s end', () => place.supervisors().length === 0);

      const reason = 'its supervisor ended: it was killed';
      expect(await statusOf(runtime, stack, running.instanceId)).toMatchObject({
        state: 'EXITED',
        reason,
        pid: null,
        exitCode: null,
      });
      expect(await statusOf(runtime, stack, done.instanceId)).toMatchObject({ state: 'EXITED', exitCode: 6 });
      await eventually('the report', () => seen.some((status) => status.reason === reason));
      expect(isRunning(pid ?? 0)).toBe(true);
      await expect(runtime.stop(stack, running.instanceId, 6)).rejects.toThrow('epoch 6 is over');

      const next = shell('web', 'echo again; sleep 600', { replica: 2 });
      await runtime.start(stack, next, 7);
      expect(isRunning(pid ?? 0)).toBe(false);
      expect(await runtime.start(stack, running, 7)).toMatchObject({ state: 'EXITED', reason });
      const chunks = await readLog(runtime, stack, end, (chunk) => textOf([chunk]) === 'again\n');
      expect(eventsOf(chunks)[0]).toBe(`ended: ${reason}`);
      await eventually('the new status', () => seen.some(({ instanceId }) => instanceId === next.instanceId));
      stop.abort();
      await watching;
    });

    it('should end its services when it is told to end', async () => {
      const spec = shell('web', 'trap "exit 0" TERM; sleep 600 & wait');
      const { pid } = await runtime.start(stack, spec, 1);
      const job = shell('job', 'exit 4');
      await runtime.start(stack, job, 1);
      await whenState(runtime, stack, job, 'EXITED');
      process.kill(await supervisorOf(), 'SIGTERM');
      await eventually('the supervisor’s end', () => place.supervisors().length === 0);
      expect(isRunning(pid ?? 0)).toBe(false);
      const reason = 'its supervisor was told to end (SIGTERM)';
      // It did not end by itself, whatever its code: it is not done.
      const ended = { state: 'EXITED', reason, pid: null, exitCode: null };
      expect(await statusOf(runtime, stack, spec.instanceId)).toMatchObject(ended);
      expect(await statusOf(runtime, stack, job.instanceId)).toMatchObject({
        exitCode: 4,
        reason: 'exited with code 4',
      });
    });

    it('should not believe a record whose pid belongs to another process now', async () => {
      const spec = shell('web', 'sleep 600');
      await runtime.start(stack, spec, 1);
      const supervisor = await supervisorOf();
      const file = path.join(place.homeOf(supervisor), 'state', `${spec.instanceId}.json`);
      process.kill(supervisor, 'SIGKILL');
      await eventually('the supervisor’s end', () => place.supervisors().length === 0);
      const record = JSON.parse(fs.readFileSync(file, 'utf8'));
      process.kill(-record.group.pid, 'SIGKILL');
      const stranger = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
      const pid = stranger.pid ?? 0;
      fs.writeFileSync(file, JSON.stringify({ ...record, group: { ...identify(pid), startTime: '1' } }));
      await runtime.start(stack, shell('web', 'true', { replica: 2 }), 1);
      expect(isRunning(pid)).toBe(true);
      stranger.kill('SIGKILL');
      await once(stranger, 'exit');
    });
  });

  describe('a runtime directory', () => {
    it('should be refused where everybody may write into it', async () => {
      const place = new ProcessPlace();
      fs.chmodSync(place.directory, 0o777);
      const runtime = await place.open();
      await expect(runtime.start(stack, shell('web', 'true'), 1)).rejects.toThrow('everybody may write');
      await runtime.close();
      await place.dispose();
    });

    it('should be refused where its path is too long for a socket', () => {
      const log = { info: () => {}, warn: () => {}, error: () => {} };
      const directory = `/tmp/${'long'.repeat(20)}`;
      expect(() => createProcessRuntime({ directory, nodePath: process.execPath, log })).toThrow(RuntimeError);
      expect(() => createProcessRuntime({ directory, nodePath: process.execPath, log })).toThrow('too long');
    });
  });

  describe.runIf(IS_ROOT)('as root', () => {
    it('should run each environment’s services under its own user, and no other group', async () => {
      const output = await outputOf(
        runtime,
        stack,
        shell('web', 'id -u; id -G; stat -c %u .; id -un; id -gn; echo $USER'),
      );
      const { uid } = stack;
      const name = `windflow-${uid}`;
      expect(output.trim().split('\n')).toEqual([uid, uid, uid, name, name, name].map(String));
    });

    it('should keep services away from the supervisor, the log and other environments', async () => {
      const other = place.newStack();
      const secret = shell('other', 'echo hush > file; sleep 600');
      await runtime.start(other, secret, 1);
      const otherRoot = runtime.serviceRoot(other, 'other');
      const script = [
        `ls ${place.directory} 2>&1`,
        `ls ${place.directory}/s 2>&1`,
        `ls ${place.directory}/e 2>&1`,
        `cat ${otherRoot}/file 2>&1`,
        'exit 0',
      ].join('; ');
      const lines = (await outputOf(runtime, stack, shell('web', script))).trim().split('\n');
      expect(lines).toHaveLength(4);
      for (const line of lines) expect(line).toContain('Permission denied');
      await runtime.stop(other, secret.instanceId, 1);
      await runtime.removeStack(other, { volumes: true }, 1);
    });

    it('should say which directory keeps services from their own', async () => {
      const closed = new ProcessPlace({ under: 'closed' });
      const runtime = await closed.open();
      const above = path.dirname(closed.directory);
      fs.chmodSync(above, 0o700);
      const { reason } = await runtime.start(stack, shell('web', 'true'), 1);
      expect(reason).toContain(`${above} is closed to others (chmod o+x ${above})`);
      await runtime.close();
      await closed.dispose();
    });

    it('should write files with the service’s rights, wherever its links lead', async () => {
      const outside = fs.mkdtempSync('/tmp/wfp-outside-');
      await outputOf(runtime, stack, shell('web', `ln -s ${outside} etc`));
      const files = [{ target: '/etc/planted', content: '', mode: 0o444 }];
      const status = await runtime.start(stack, shell('web', 'true', { files }), 1);
      expect(status).toMatchObject({ state: 'EXITED', reason: expect.stringContaining('may not do that') });
      expect(fs.readdirSync(outside)).toEqual([]);
      fs.rmdirSync(outside);
    });
  });
});

describe('PROCESS with a small spool', () => {
  it('should never make a service wait, and tell exactly what is missing', async () => {
    const small = new ProcessPlace({ spoolBytes: 1024 * 1024 });
    const runtime = await small.open();
    const stack = small.newStack();
    try {
      const count = 300_000;
      const spec = shell('chatty', `seq 1 ${count}; until [ -e go ]; do sleep 0.02; done; echo last`);
      await runtime.start(stack, spec, 1);
      const first: LogChunk[] = [];
      const marker = shell('chatty', 'echo written', { replica: 2 });
      await eventually('all output was taken', () => pipeIsIdle(runtime, stack, spec.instanceId));
      await runtime.start(stack, marker, 1);
      const end = await runtime.logEnd(logOf(stack));
      first.push(...(await readLog(runtime, stack, 0, (chunk) => chunk.next >= end)));
      await runtime.trimLogs(logOf(stack), end);
      const resumed = shell('chatty', 'touch go', { replica: 3 });
      await runtime.start(stack, resumed, 1);
      const rest = await readLog(runtime, stack, end, isEnd(spec));
      const [gap, ...more] = gapsOf(rest).filter(({ instanceId }) => instanceId === spec.instanceId);
      const stored = linesOf(first);
      expect(more).toEqual([]);
      expect(stored).toEqual(upTo(stored.length));
      expect(gap).toMatchObject({
        lines: count - stored.length,
        stream: 'STDOUT',
        reason: expect.stringContaining('bound'),
      });
      const written = upTo(count).reduce((sum, line) => sum + line.length + 1, 0);
      expect(gap?.bytes).toBe(written - stored.reduce((sum, line) => sum + line.length + 1, 0));
      expect(textOf(rest, 'STDOUT', spec.instanceId)).toBe('last\n');
    } finally {
      await runtime.close();
      await small.dispose();
    }
  });
});

describe.runIf(IS_ROOT && canMount())('PROCESS on a full disk', () => {
  it('should keep services running, and go on with an exact gap when there is room again', async () => {
    const full = new ProcessPlace();
    const disk = path.join(full.directory, 's');
    fs.mkdirSync(disk);
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'tmpfs', disk]);
    const runtime = await full.open();
    const stack = full.newStack();
    try {
      const script = 'i=0; while [ ! -e done ]; do i=$((i+1)); echo $i; echo $i > progress; sleep 0.001; done';
      const spec = shell('ticking', script);
      const { pid } = await runtime.start(stack, spec, 1);
      await readLog(runtime, stack, 0, (chunk) => chunk.kind === 'output');
      const root = runtime.serviceRoot(stack, 'ticking');
      const progress = () => Number(fs.readFileSync(path.join(root, 'progress'), 'utf8'));
      const filler = path.join(disk, 'filler');
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096', 'count=1024']);
      let stood = { end: 0, progress: 0 };
      await eventually('the log stands still while the service goes on', async () => {
        const end = await runtime.logEnd(logOf(stack));
        if (end !== stood.end) stood = { end, progress: progress() };
        return progress() >= stood.progress + 100;
      });
      await expect(runtime.start(stack, shell('more', 'true'), 1)).rejects.toThrow('no space left');
      expect(await statusOf(runtime, stack, spec.instanceId)).toMatchObject({ state: 'RUNNING', pid });
      fs.rmSync(filler);
      const seen = await readLog(runtime, stack, 0, (chunk) => chunk.kind === 'gap');
      seen.push(...(await readLog(runtime, stack, seen.at(-1)?.next ?? 0, (chunk) => chunk.kind === 'output')));
      fs.writeFileSync(path.join(root, 'done'), '');
      seen.push(...(await readLog(runtime, stack, seen.at(-1)?.next ?? 0, isEnd(spec))));
      const missing = gapsOf(seen).reduce((sum, gap) => sum + (gap.kind === 'gap' ? gap.lines : 0), 0);
      expect(linesOf(seen).length + missing).toBe(progress());
      expect(gapsOf(seen)[0]).toMatchObject({ reason: 'the disk was full' });
    } finally {
      await runtime.close();
      for (const supervisor of full.supervisors()) process.kill(supervisor, 'SIGTERM');
      await eventually('the end of all supervisors', () => full.supervisors().length === 0);
      spawnSync('umount', ['-l', disk]);
      await full.dispose();
    }
  });
});

/** Whether a service has written everything and waits: what it does next is sleep. */
async function pipeIsIdle(runtime: ProcessRuntime, stack: StackRef, instanceId: string): Promise<boolean> {
  const pid = (await statusOf(runtime, stack, instanceId))?.pid ?? 0;
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children !== '' && fs.readFileSync(`/proc/${children.split(' ')[0]}/comm`, 'utf8').trim() === 'sleep';
}

function canMount(): boolean {
  const directory = fs.mkdtempSync('/tmp/wfp-mount-');
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory]).status === 0;
  if (mounted) spawnSync('umount', [directory]);
  fs.rmdirSync(directory);
  return mounted;
}
