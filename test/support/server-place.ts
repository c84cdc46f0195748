import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { signalAll } from './signal.ts';

/** Where the embedded database lies when root's data directory is closed to others. */
const SHARED_DATABASE_HOME = '/var/lib/windflow';

/** The folders of server processes under test: short, under /tmp, for the sake of unix sockets' paths. */
export class ServerPlace implements AsyncDisposable {
  readonly folder = mkdtempSync('/tmp/wfc-');
  readonly dataDirectory = join(this.folder, 'data');
  readonly runtimeDirectory = join(this.folder, 'run');
  /** Services of every user may write here. */
  readonly ground = join(this.folder, 'ground');

  constructor() {
    chmodSync(this.folder, 0o711);
    mkdirSync(this.ground);
    chmodSync(this.ground, 0o777);
  }

  /** Pids of the supervisors that run in this place. */
  supervisors(): number[] {
    return processes().filter((pid) => {
      const command = commandOf(pid);
      return command.includes('supervisor.mjs') && command.includes(`"directory":"${this.runtimeDirectory}"`);
    });
  }

  /** The embedded database's main process; null while there is none. */
  postmaster(): number | null {
    for (const home of this.#databaseHomes()) {
      const pid = Number(readText(join(home, 'data', 'postmaster.pid')).split('\n')[0]);
      if (pid > 0 && isAlive(pid)) return pid;
    }
    return null;
  }

  /** Ends what server processes left running here, and removes the folders. */
  async [Symbol.asyncDispose](): Promise<void> {
    signalAll(this.supervisors(), 'SIGTERM');
    await eventually('the end of all supervisors', () => this.supervisors().length === 0);
    const postmaster = this.postmaster();
    if (postmaster !== null) signalAll([postmaster], 'SIGINT');
    await eventually('the end of the embedded database', () => this.postmaster() === null);
    for (const home of this.#databaseHomes()) rmSync(home, { recursive: true, force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }

  #databaseHomes(): string[] {
    const hash = createHash('sha256').update(this.dataDirectory).digest('hex').slice(0, 16);
    return [join(this.dataDirectory, 'postgres'), join(SHARED_DATABASE_HOME, hash)];
  }
}

export function isAlive(pid: number): boolean {
  // A process that ended and was not waited for yet counts as gone.
  const stat = readText(`/proc/${pid}/stat`);
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
}

/** When a process started, in the kernel's ticks since boot: with its pid, what tells it from any other. */
export function startTimeOf(pid: number): string | null {
  const stat = readText(`/proc/${pid}/stat`);
  return stat === '' ? null : (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null);
}

function processes(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0);
}

function commandOf(pid: number): string {
  return readText(`/proc/${pid}/cmdline`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
