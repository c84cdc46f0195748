import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { serviceUserName } from './supervisor/service-user-name.mjs';

/** Somebody else may just be changing the host's users. */
const ATTEMPTS = 5;
const RETRY_MS = 200;
/** Exit code of both programs when another process was faster. */
const ALREADY_THERE = 9;
const run = promisify(execFile);

/**
 * Gives the number of an environment's user a name on this host, where it has none: some programs, PostgreSQL's initdb among them, refuse to run
 * under a user that cannot be looked up. Throws with the reason; services run without a name as well.
 */
export async function nameServiceUser(uid: number): Promise<void> {
  const name = serviceUserName(uid);
  const number = ['--gid', String(uid)];
  const noLogin = ['--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'];
  if (!(await isNamed('/etc/group', uid))) await attempt('groupadd', ['--system', ...number, name]);
  if (!(await isNamed('/etc/passwd', uid))) {
    await attempt('useradd', ['--system', '--uid', String(uid), ...number, ...noLogin, name]);
  }
}

async function attempt(program: string, args: string[]): Promise<void> {
  for (let count = 1; ; count += 1) {
    try {
      await run(program, args);
      return;
    } catch (error) {
      const { code } = error as { code?: string | number };
      if (code === ALREADY_THERE) return;
      if (count >= ATTEMPTS || code === 'ENOENT') throw error;
      await sleep(RETRY_MS);
    }
  }
}

async function isNamed(file: string, id: number): Promise<boolean> {
  const entries = await readFile(file, 'utf8');
  return entries.split('\n').some((line) => line.split(':')[2] === String(id));
}
