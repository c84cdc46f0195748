import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import type { InstanceSpec, StackRef } from '../../src/runtimes/runtime.ts';
import { IS_ROOT, ProcessPlace } from './process-place.ts';
import { readLog, shell, textOf } from './stack-driver.ts';

const MAX_OPEN_FILES = 100;

const place = new ProcessPlace();
afterAll(() => place.dispose());

describe('drift on PROCESS', () => {
  let runtime: ProcessRuntime;
  let stack: StackRef;

  beforeEach(async () => {
    runtime = await place.open();
    stack = place.newStack();
  });

  afterEach(async () => {
    for (const { instanceId } of await runtime.list(stack)) await runtime.stop(stack, instanceId, 1);
    await runtime.removeStack(stack, { volumes: true }, 1);
    await runtime.close();
  });

  const files = Array.from({ length: 200 }, (_, index) => ({
    target: `/etc/${index}`,
    content: `${index}`,
    mode: 0o644,
  }));
  const look = (specs: InstanceSpec[], ...args: string[]) => {
    const program = path.join(import.meta.dirname, 'drift-look.ts');
    const script = `ulimit -n ${MAX_OPEN_FILES} && exec "$0" "$@"`;
    const input = JSON.stringify({ stack, specs });
    const { stdout, stderr } = spawnSync('sh', ['-c', script, process.execPath, program, place.directory, ...args], {
      input,
      encoding: 'utf8',
    });
    return stdout === '' ? stderr : JSON.parse(stdout);
  };

  it.each([
    ['the folder of a file', 'etc', 'conf'],
    ['a volume', 'data', 'conf'],
    ['all services', '../../services', 'web/etc/conf'],
  ])('should be told where a link is in the place of %s, and nothing behind it', async (_, place, file) => {
    const outside = fs.mkdtempSync('/tmp/wfp-outside-');
    onTestFinished(() => fs.rmSync(outside, { recursive: true }));
    fs.mkdirSync(path.join(outside, path.dirname(file)), { recursive: true });
    fs.writeFileSync(path.join(outside, file), 'equal', { mode: 0o644 });
    const volumes = [{ name: 'data', target: '/data', readOnly: false }];
    const target = place === 'data' ? '/data/conf' : '/etc/conf';
    const files = [{ target, content: 'equal', mode: 0o644 }];
    const script = `mv ${place} "$WINDFLOW_ROOT/../../away" && ln -s ${outside} ${place} && echo done; sleep 60`;
    const spec = shell('web', script, { files, volumes });
    await runtime.start(stack, spec, 1);
    await readLog(runtime, stack, 0, (chunk) => textOf([chunk]).includes('done'));
    const found = await runtime.drift(stack, [spec]);
    expect(found.get(spec.instanceId)).toEqual([{ target, found: 'changed' }]);
  });

  it('should need few open files, however many replicas have however many files', async () => {
    const spec = shell('web', 'sleep 60', { files });
    await runtime.start(stack, spec, 1);
    const replicas = Array.from({ length: 30 }, (_, index) => ({
      ...spec,
      instanceId: randomUUID(),
      replica: index + 1,
    }));
    expect(look(replicas)).toEqual({ found: [] });
  });

  it('should not be told where the host kept us from looking', async () => {
    const spec = shell('web', 'sleep 60', { files: files.slice(0, 1) });
    await runtime.start(stack, spec, 1);
    expect(look([spec], '--exhausted')).toEqual({
      name: 'RuntimeError',
      message: expect.stringContaining('too many open files (EMFILE)'),
    });
  });

  it.runIf(IS_ROOT)('should take a file of another user for changed, whatever is in it', async () => {
    const files = [{ target: 'conf', content: 'equal', mode: 0o644 }];
    const spec = shell('web', 'sleep 60', { files });
    await runtime.start(stack, spec, 1);
    const file = path.join(runtime.serviceRoot(stack, 'web'), 'conf');
    fs.chownSync(file, 0, 0);
    const found = await runtime.drift(stack, [spec]);
    expect(found.get(spec.instanceId)).toEqual([{ target: 'conf', found: 'changed' }]);
  });
});
