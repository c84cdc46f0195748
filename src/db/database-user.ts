import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** The operating system's user that the embedded PostgreSQL runs as. */
export type DatabaseUser = { uid: number; gid: number };

const NAME = 'windflow-db';
const run = promisify(execFile);

/** PostgreSQL refuses to run as root: a system user of its own then, made when it is missing. Null: the server's own user. */
export async function databaseUser(): Promise<DatabaseUser | null> {
  if (process.getuid?.() !== 0) return null;
  const found = await lookUp();
  if (found) return found;
  const attempts: Array<[string, string[]]> = [
    [
      'useradd',
      [
        '--system',
        '--user-group',
        '--no-create-home',
        '--home-dir',
        '/nonexistent',
        '--shell',
        '/usr/sbin/nologin',
        NAME,
      ],
    ],
    ['adduser', ['-S', '-D', '-H', NAME]],
  ];
  const problems: string[] = [];
  for (const [program, args] of attempts) {
    await run(program, args).catch((error: Error) => problems.push(error.message.trim()));
    const made = await lookUp();
    if (made) return made;
  }
  throw new Error(
    `PostgreSQL does not run as root, and the user "${NAME}" could not be made (${problems.join('; ')}). ` +
      'Make that user, start as another user, or set DATABASE_URL.',
  );
}

async function lookUp(): Promise<DatabaseUser | null> {
  for (const line of (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === NAME) return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}
