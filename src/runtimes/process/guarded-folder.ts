import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink } from 'node:fs/promises';
import path from 'node:path';

const LINUX = process.platform === 'linux';
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;

/** A link in a place where none belongs. */
export class MisplacedLinkError extends Error {
  override name = 'MisplacedLinkError';
}

/** An open folder that belongs to a service, reached without following any link that the service may have laid. */
export class GuardedFolder implements AsyncDisposable {
  #path: string;
  #handle: FileHandle;

  private constructor(folder: string, handle: FileHandle) {
    this.#path = folder;
    this.#handle = handle;
  }

  /**
   * Opens `folder`, which lies below the folder `trusted`. Of links on the way only those are followed that `links` names, by their own
   * path, and only where they lead to exactly the folder named there.
   * @throws {MisplacedLinkError} at any other link; else what the system says
   */
  static async open(trusted: string, folder: string, links: ReadonlyMap<string, string>): Promise<GuardedFolder> {
    let current = new GuardedFolder(trusted, await open(trusted, FOLDER));
    let passed = trusted;
    for (const name of path.relative(trusted, folder).split(path.sep)) {
      await using parent = current;
      passed = path.join(passed, name);
      current = (await parent.#enter(name)) ?? (await parent.#follow(name, passed, trusted, links));
    }
    return current;
  }

  /** A path at which the system finds this name. On Linux in the open folder itself, whatever is put in its place meanwhile. */
  at(name: string): string {
    return LINUX ? `/proc/self/fd/${this.#handle.fd}/${name}` : path.join(this.#path, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  /** Null where a link is in its place. */
  async #enter(name: string): Promise<GuardedFolder | null> {
    try {
      const handle = await open(this.at(name), FOLDER | constants.O_NOFOLLOW);
      return new GuardedFolder(path.join(this.#path, name), handle);
    } catch (error) {
      const stat = await lstat(this.at(name)).catch(() => null);
      if (stat?.isSymbolicLink()) return null;
      throw error;
    }
  }

  async #follow(name: string, place: string, trusted: string, links: ReadonlyMap<string, string>) {
    const end = await readlink(this.at(name));
    if (end !== links.get(place)) throw new MisplacedLinkError(`${place} is a link to ${end}`);
    return await GuardedFolder.open(trusted, end, links);
  }
}
