import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = '/usr/bin/redis-server';
export const HAS_REDIS = existsSync(PROGRAM);

/** "always": what was answered is on the disk, as with PostgreSQL's commits; "everysec", the default: a crash may lose a second of it. */
export type Appendfsync = 'always' | 'everysec';
export type BenchRedis = AsyncDisposable & { socket: string };

/** A Redis that a peer has for itself, in a folder of its own and on a socket there: it ends when this process does. */
export async function openBenchRedis(appendfsync: Appendfsync): Promise<BenchRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'wf-bench-redis-'));
  const socket = join(folder, 'socket');
  const durable = ['--appendonly', 'yes', '--appendfsync', appendfsync, '--save', ''];
  const child = spawn(PROGRAM, ['--port', '0', '--unixsocket', socket, '--dir', folder, ...durable], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const end = () => child.kill('SIGKILL');
  // Or a signal would end this process and leave the Redis.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  process.on('exit', end);
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.includes('ready to accept connections')) continue;
    child.stdout.resume();
    return {
      socket,
      async [Symbol.asyncDispose]() {
        process.off('exit', end);
        if (end()) await once(child, 'exit');
        await rm(folder, { recursive: true, force: true });
      },
    };
  }
  throw new Error('the Redis did not start');
}
