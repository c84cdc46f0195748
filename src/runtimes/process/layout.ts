import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { RuntimeError, type StackRef } from '../runtime.ts';
import { type Places, placesOf } from './supervisor/service-files.mjs';

/** Unix socket paths end at 108 bytes on Linux, at 104 on macOS. */
const MAX_SOCKET_PATH_BYTES = 100;
const NAME_LENGTH = 16;

/** Where a stack's private part lies; only the owner of the runtime directory enters it. */
export type StackHome = { name: string; home: string; socket: string; state: string; spool: string; memory: string };

/** Paths in a runtime directory, and what has to be there before a supervisor starts. */
export class Layout {
  readonly directory: string;

  /** @throws {RuntimeError} where the directory's path is too long for a control socket in it */
  constructor(directory: string) {
    this.directory = path.resolve(directory);
    const longest = Buffer.byteLength(path.join(this.directory, 's', 'x'.repeat(NAME_LENGTH), 'control.sock'));
    if (longest >= MAX_SOCKET_PATH_BYTES) {
      const most = Buffer.byteLength(this.directory) - (longest - MAX_SOCKET_PATH_BYTES) - 1;
      throw new RuntimeError(
        `the runtime directory's path is too long for a unix socket: ${this.directory} (at most ${most} bytes)`,
      );
    }
  }

  stack(stack: StackRef): StackHome {
    const name = shortName(stack.id);
    const home = path.join(this.directory, 's', name);
    return {
      name,
      home,
      socket: path.join(home, 'control.sock'),
      state: path.join(home, 'state'),
      spool: path.join(home, 'spool'),
      memory: path.join(home, 'supervisor.json'),
    };
  }

  /** Where the files of a stack's services lie. */
  places(stack: StackRef): Places {
    return placesOf(this.directory, shortName(stack.environmentId), shortName(stack.id));
  }

  /** The directory that a service sees as its root: `WINDFLOW_ROOT`. */
  serviceRoot(stack: StackRef, service: string): string {
    return path.join(this.places(stack).services, service);
  }

  /** What is left of a stack's files? */
  hasFiles(stack: StackRef): boolean {
    return fs.existsSync(this.places(stack).stack);
  }

  /**
   * Makes the directories of the runtime and of a stack. As root the way to the services' directories can be walked by
   * every user, but not listed; what is private stays closed.
   */
  prepare(stack: StackRef): StackHome {
    const isRoot = process.geteuid?.() === 0;
    const passage = isRoot ? 0o711 : 0o700;
    makeDirectory(this.directory, passage);
    makeDirectory(path.join(this.directory, 'e'), passage);
    makeDirectory(path.join(this.directory, 'bin'), isRoot ? 0o755 : 0o700);
    makeDirectory(path.join(this.directory, 's'), 0o700);
    const paths = this.stack(stack);
    makeDirectory(paths.home, 0o700);
    return paths;
  }

  /** Deletes a stack's private part: its log and its records. */
  async removeHome(stack: StackRef): Promise<void> {
    await fs.promises.rm(this.stack(stack).home, { recursive: true, force: true, maxRetries: 3 });
  }

  /**
   * Puts a Node for services into `bin`, reachable for every user, whatever folder the server's own lies in. Replaced as a whole when
   * the server's differs.
   */
  async prepareNode(nodePath: string): Promise<void> {
    const target = path.join(this.directory, 'bin', 'node');
    const source = await fs.promises.realpath(nodePath);
    if (process.geteuid?.() !== 0) return await linkTo(source, target);
    const wanted = await fs.promises.stat(source);
    const present = await fs.promises.stat(target).catch(() => null);
    if (present?.size === wanted.size && Math.abs(present.mtimeMs - wanted.mtimeMs) < 1_000) return;
    const draft = `${target}.${randomUUID()}`;
    try {
      await fs.promises.copyFile(source, draft, fs.constants.COPYFILE_FICLONE);
      await fs.promises.chmod(draft, 0o755);
      await fs.promises.utimes(draft, wanted.atime, wanted.mtime);
      const copied = await fs.promises.stat(draft);
      if (copied.size !== wanted.size) throw new RuntimeError(`the copy of ${source} in ${target} is incomplete`);
      await fs.promises.rename(draft, target);
    } finally {
      await fs.promises.rm(draft, { force: true });
    }
  }
}

/** Short enough for a socket's path, the same for an id for ever. */
export function shortName(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, NAME_LENGTH);
}

function makeDirectory(directory: string, mode: number): void {
  try {
    fs.mkdirSync(directory, { recursive: true, mode });
    const stat = fs.statSync(directory);
    if (stat.uid !== process.geteuid?.()) throw new Error('it belongs to another user');
    if (stat.mode & 0o002) throw new Error('everybody may write into it (chmod o-w)');
    if ((stat.mode & 0o777) !== mode) fs.chmodSync(directory, mode);
  } catch (error) {
    throw new RuntimeError(`the runtime directory ${directory} cannot be used: ${(error as Error).message}`);
  }
}

async function linkTo(source: string, target: string): Promise<void> {
  const present = await fs.promises.readlink(target).catch(() => null);
  if (present === source) return;
  const draft = `${target}.${randomUUID()}`;
  await fs.promises.rm(draft, { force: true });
  await fs.promises.symlink(source, draft);
  await fs.promises.rename(draft, target);
}
