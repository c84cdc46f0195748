import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { lockFolder } from './process-lock.ts';

it('should be held by one process at a time and be free again after a kill -9', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wf-lock-'));
  const source = new URL('./process-lock.ts', import.meta.url).href;
  const script = `const { lockFolder } = await import(${JSON.stringify(source)});
    const lock = await lockFolder(${JSON.stringify(folder)}, 'test'); console.log(lock ? 'held' : 'refused'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [line] = await once(child.stdout, 'data');
    expect(String(line).trim()).toBe('held');
    expect(await lockFolder(folder, 'test')).toBeNull();
    const other = await lockFolder(folder, 'other');
    expect(other).not.toBeNull();
    await other?.release();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const lock = await lockFolder(folder, 'test');
    expect(lock).not.toBeNull();
    await lock?.release();
  } finally {
    child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});
