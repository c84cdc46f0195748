/**
 * A service's directory: made, filled and removed under the service's own user, so that no link which a service lays there
 * makes the supervisor touch what the service itself could not.
 */
import fs from 'node:fs';
import path from 'node:path';

/** @import { InstanceSpec } from '../../runtime.ts' */

/**
 * @typedef {{ environment: string, stack: string, services: string, volumes: string }} Places
 */

/** Something about a spec or the disk that keeps a service from starting; `message` is one clause for a person. */
export class PreparationError extends Error {
  /** @override */
  name = 'PreparationError';
}

/**
 * Where an environment's and a stack's files lie.
 * @param {string} directory the runtime's
 * @param {string} environment
 * @param {string} stack
 * @returns {Places}
 */
export function placesOf(directory, environment, stack) {
  const home = path.join(directory, 'e', environment);
  const own = path.join(home, stack);
  return { environment: home, stack: own, services: path.join(own, 'services'), volumes: path.join(own, 'volumes') };
}

/**
 * Runs synchronous work with the rights of a user. Nothing else may run in this process meanwhile: keep it synchronous.
 * @template T
 * @param {number | null} uid null: with our own rights
 * @param {() => T} work
 * @returns {T}
 */
export function asUser(uid, work) {
  if (uid === null || process.geteuid?.() !== 0 || !process.setegid || !process.seteuid) return work();
  process.setegid(uid);
  try {
    process.seteuid(uid);
    return work();
  } finally {
    process.seteuid(0);
    process.setegid(0);
  }
}

/**
 * Makes a service's root, volumes, files and working directory.
 * @param {Places} places
 * @param {InstanceSpec} spec
 * @param {number | null} uid
 * @returns {{ root: string, temporary: string, workingDir: string, files: string[] }} files: relative to the root
 */
export function prepareService(places, spec, uid) {
  const root = path.join(places.services, spec.service);
  const temporary = path.join(root, 'tmp');
  const workingDir = inside(root, spec.workingDir ?? '.', 'working_dir');
  makeEnvironmentHome(places.environment, uid);
  asUser(uid, () => {
    attempt(`the service's directory ${root}`, () => fs.mkdirSync(root, { recursive: true, mode: 0o700 }));
    for (const mount of spec.volumes) linkVolume(places.volumes, root, mount);
    for (const file of spec.files) writeFile(root, file);
    attempt('working_dir', () => fs.mkdirSync(workingDir, { recursive: true }));
    attempt('the directory for temporary files', () => fs.mkdirSync(temporary, { recursive: true, mode: 0o700 }));
  });
  const files = spec.files.map((file) => path.relative(root, inside(root, file.target, 'file')));
  return { root, temporary, workingDir, files };
}

/** Files of an instance that is forgotten. @param {string} root @param {string[]} files @param {number | null} uid */
export function removeFiles(root, files, uid) {
  asUser(uid, () => {
    for (const file of files) fs.rmSync(path.join(root, file), { force: true });
  });
}

/** What a stack leaves behind. @param {Places} places @param {number | null} uid @param {boolean} volumes its data too */
export function removeStackFiles(places, uid, volumes) {
  asUser(uid, () => {
    removeTree(places.services);
    if (volumes) removeTree(places.volumes);
    for (const directory of [places.volumes, places.stack]) removeIfEmpty(directory);
  });
  removeIfEmpty(places.environment);
}

/** Only root may give a directory to another user; its parent belongs to root, so nobody can have put a link there. @param {string} home @param {number | null} uid */
function makeEnvironmentHome(home, uid) {
  attempt(`the environment's directory ${home}`, () => {
    fs.mkdirSync(home, { recursive: true, mode: 0o700 });
    if (uid !== null && fs.lstatSync(home).uid !== uid) fs.lchownSync(home, uid, uid);
  });
  try {
    asUser(uid, () => fs.readdirSync(home));
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EACCES') throw error;
    const closed = closedAbove(home);
    throw new PreparationError(
      `user ${uid} cannot reach its directory: ${closed} is closed to others (chmod o+x ${closed})`,
    );
  }
}

/** The first directory on the way that other users cannot pass. @param {string} place */
function closedAbove(place) {
  const names = path.dirname(place).split(path.sep);
  const way = names.map((_, index) => names.slice(0, index + 1).join(path.sep) || path.sep);
  return way.find((directory) => (fs.statSync(directory).mode & 0o001) === 0) ?? path.dirname(place);
}

/** @param {string} volumes @param {string} root @param {InstanceSpec['volumes'][number]} mount */
function linkVolume(volumes, root, mount) {
  const data = path.join(volumes, mount.name);
  if (path.dirname(data) !== volumes) throw new PreparationError(`volume ${mount.name}: not a name for a volume`);
  const link = inside(root, mount.target, `volume ${mount.name}`);
  if (link === root) throw new PreparationError(`volume ${mount.name}: its target is the service's directory itself`);
  attempt(`volume ${mount.name}`, () => {
    fs.mkdirSync(data, { recursive: true, mode: 0o700 });
    fs.mkdirSync(path.dirname(link), { recursive: true });
    const present = fs.lstatSync(link, { throwIfNoEntry: false });
    if (present?.isSymbolicLink()) {
      if (fs.readlinkSync(link) === data) return;
      fs.unlinkSync(link);
    } else if (present?.isDirectory()) fs.rmdirSync(link);
    fs.symlinkSync(data, link);
  });
}

/** @param {string} root @param {InstanceSpec['files'][number]} file */
function writeFile(root, { target, content, mode }) {
  const file = inside(root, target, 'file');
  if (file === root) throw new PreparationError(`file ${target}: names the service's directory itself`);
  const draft = `${file}.windflow-tmp`;
  attempt(`file ${target}`, () => {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    try {
      fs.rmSync(draft, { force: true });
      fs.writeFileSync(draft, content, { flag: 'wx', mode: 0o600 });
      fs.chmodSync(draft, (mode & 0o777) | 0o400);
      fs.renameSync(draft, file);
    } catch (error) {
      fs.rmSync(draft, { force: true });
      throw error;
    }
  });
}

/**
 * A path of the compose file, absolute or not, as a place in the service's root.
 * @param {string} root
 * @param {string} target
 * @param {string} what
 */
export function inside(root, target, what) {
  const resolved = path.join(root, target);
  if (resolved !== root && !resolved.startsWith(root + path.sep)) {
    throw new PreparationError(`${what} ${target}: leads out of the service's directory`);
  }
  return resolved.endsWith(path.sep) ? resolved.slice(0, -1) : resolved;
}

/** @param {string} what @param {() => void} work */
function attempt(what, work) {
  try {
    work();
  } catch (error) {
    const { code, path: where, message } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new PreparationError(
      `${what}: ${SENTENCES[code ?? ''] ?? message}${where && !what.includes(where) ? ` (${where})` : ''}`,
    );
  }
}

/** @type {Record<string, string>} */
const SENTENCES = {
  EACCES: 'the environment’s user may not do that',
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  ENOTEMPTY: 'a directory with files is in its place',
  EISDIR: 'a directory is in its place',
  ENOTDIR: 'a file is in the place of a directory above it',
  EEXIST: 'something else is in its place',
};

/** @param {string} directory */
function removeTree(directory) {
  try {
    fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EACCES') throw error;
    openDirectories(directory);
    fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** A service may have closed directories to itself. @param {string} directory */
function openDirectories(directory) {
  fs.chmodSync(directory, 0o700);
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) openDirectories(path.join(directory, entry.name));
  }
}

/** @param {string} directory */
function removeIfEmpty(directory) {
  try {
    fs.rmdirSync(directory);
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT' && code !== 'EEXIST') throw error;
  }
}
