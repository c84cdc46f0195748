import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

const PROGRAM = ['/usr/bin/redis-server', '/usr/bin/valkey-server'].find((path) => existsSync(path)) ?? null;

export const HAS_REDIS = PROGRAM !== null;
/** For the title of a suite that is skipped without it. */
export const REDIS_NEEDED = HAS_REDIS ? '' : ' (skipped: apt-get install redis-server)';

/** A Redis of one's own, in memory alone; it can go away and come back on the same port. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  #child: ChildProcess | null = null;

  constructor(port: number) {
    this.port = port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    if (PROGRAM === null) throw new Error('no redis-server is installed');
    const settings = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    this.#child = spawn(PROGRAM, settings, { cwd: '/', stdio: 'ignore' });
    await eventually('Redis answers', () => accepts(this.port));
  }

  /** Ends it at once, as a crash would. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = null;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** Stops it without a word, connections open; `resume` lets it go on. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** A Redis that serves; `await using` ends it. */
export async function startRedis(): Promise<RedisServer> {
  const redis = new RedisServer(await freePort());
  await redis.start();
  return redis;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
