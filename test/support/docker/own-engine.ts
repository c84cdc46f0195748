import { type ChildProcessWithoutNullStreams, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type Docker from 'dockerode';
import { eventually } from '../eventually.ts';
import { isAlive } from '../server-place.ts';
import { clientOf } from './containers.ts';

const program = path.join(import.meta.dirname, 'docker-engine');
const run = promisify(execFile);

export type OwnEngineOptions = {
  /** Flags for dockerd. */
  flags?: string;
  /** Of how many megabytes its disk is; absent: its data lie on the machine's own. */
  diskMb?: number;
};

/** An engine that one test has for itself: to be ended and started again. Needs root; nothing is left of it in the end. */
export class OwnEngine implements AsyncDisposable {
  readonly folder: string;
  readonly endpoint: string;
  readonly docker: Docker;
  readonly #name: string;
  readonly #env: NodeJS.ProcessEnv;

  static async start(name: string, options: OwnEngineOptions = {}): Promise<OwnEngine> {
    const engine = new OwnEngine(name, options.flags ?? '');
    // What an earlier run left when it was killed.
    await engine[Symbol.asyncDispose]();
    if (options.diskMb !== undefined) mountDisk(engine.folder, options.diskMb);
    await engine.up();
    return engine;
  }

  private constructor(name: string, flags: string) {
    const root = process.env.ENGINE_ROOT ?? '/tmp/docker-engines';
    this.#name = name;
    this.#env = { ...process.env, ENGINE_ROOT: root, ENGINE_OPTS: flags };
    this.folder = path.join(root, name);
    this.endpoint = `unix://${path.join(this.folder, 'docker.sock')}`;
    this.docker = clientOf(this.endpoint);
  }

  /** As its host boots; containers start as their restart policies say. */
  async up(): Promise<void> {
    await this.#do('up');
  }

  /** As its host shuts down: the engine ends its containers, then itself. */
  async down(): Promise<void> {
    await this.#do('down');
  }

  /** All of its containers end, and those with a restart policy begin again. */
  async restart(): Promise<void> {
    await this.down();
    await this.up();
  }

  /** As its host loses power. */
  async cutPower(): Promise<void> {
    const pid = Number(readFileSync(path.join(this.folder, 'init.pid'), 'utf8'));
    process.kill(pid, 'SIGKILL');
    await eventually('the end of the engine', () => !isAlive(pid));
  }

  /** A program in the engine's network. */
  spawn(...command: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn('bash', [program, 'ns', this.#name, ...command], { env: this.#env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (existsSync(path.join(this.folder, 'init.pid'))) await this.down();
    this.#removeFolder();
  }

  /** The same for a process that ends, which waits for nothing any more. */
  endNow(): void {
    spawnSync('bash', [program, 'down', this.#name], { env: this.#env });
    this.#removeFolder();
  }

  #removeFolder(): void {
    spawnSync('umount', ['-q', '-l', this.folder]);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  async #do(verb: 'up' | 'down'): Promise<void> {
    await run('bash', [program, verb, this.#name], { env: this.#env });
  }
}

/** False: nothing can be mounted here. */
export function mountDisk(folder: string, mb: number): boolean {
  mkdirSync(folder, { recursive: true });
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mb}m`, 'tmpfs', folder]).status === 0;
}
