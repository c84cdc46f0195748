import { constants, type Stats } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import path from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { type FileDrift, type InstanceFile, type InstanceSpec, RuntimeError } from '../runtime.ts';
import { GuardedFolder, MisplacedLinkError } from './guarded-folder.ts';
import { Slots } from './slots.ts';
import { inside, type Places } from './supervisor/service-files.mjs';

/** Folders that are looked through at once, by all callers together: each takes an open file or two. */
const FOLDERS_AT_ONCE = 8;
const MODE_BITS = 0o777;
/** What the system says of a place where no file is. */
const MISSING = new Set(['ENOENT', 'ENOTDIR']);
/** What it says of something other than the file that was made there; all else is said of the host, not of the file. */
const CHANGED = new Set(['ELOOP', 'EISDIR', 'ENXIO', 'ENODEV', 'EACCES', 'EPERM']);

type Look = { file: InstanceFile; found: 'same' | FileDrift['found'] };
type Replica = Pick<InstanceSpec, 'instanceId' | 'files' | 'volumes'>;
/** Where a stack's files lie, and the user whom they belong to; null: whoever runs the server. */
export type DriftPlace = { places: Places; uid: number | null };

const slots = new Slots(FOLDERS_AT_ONCE);

/**
 * Files of one service's replicas that are not any more what they were made as, by instance id. The replicas share their root: each
 * file is looked at once. What lies there instead is not read: it may be anything.
 * @throws {RuntimeError} where the host kept us from looking
 */
export async function serviceDrift(
  place: DriftPlace,
  service: string,
  replicas: readonly Replica[],
): Promise<[string, FileDrift[]][]> {
  const root = path.join(place.places.services, service);
  const links = volumeLinks(place.places, root, replicas);
  const looks = new Map<string, Look[]>();
  const instances = replicas.map(({ instanceId, files }) => ({
    instanceId,
    looks: files.map((file) => lookFor(looks, file)),
  }));
  const byFolder = Map.groupBy([...looks.values()].flat(), ({ file }) =>
    path.dirname(inside(root, file.target, 'file')),
  );
  await Promise.all(
    [...byFolder].map(([folder, inFolder]) => slots.run(() => lookInto(place, folder, links, inFolder))),
  );
  return instances.map(({ instanceId, looks }) => [instanceId, looks.flatMap(driftOf)]);
}

/** The links that stand for volumes in a service's root, and where each leads. */
function volumeLinks({ volumes }: Places, root: string, replicas: readonly Replica[]): Map<string, string> {
  const mounts = replicas.flatMap((replica) => replica.volumes);
  return new Map(mounts.map(({ name, target }) => [inside(root, target, `volume ${name}`), path.join(volumes, name)]));
}

/** The one look for equal files. */
function lookFor(looks: Map<string, Look[]>, file: InstanceFile): Look {
  const sameTarget = looks.get(file.target) ?? [];
  looks.set(file.target, sameTarget);
  const known = sameTarget.find(({ file: { content, mode } }) => mode === file.mode && content === file.content);
  if (known) return known;
  const look: Look = { file, found: 'same' };
  sameTarget.push(look);
  return look;
}

function driftOf({ file: { target }, found }: Look): FileDrift[] {
  return found === 'same' ? [] : [{ target, found }];
}

async function lookInto(
  { places, uid }: DriftPlace,
  where: string,
  links: ReadonlyMap<string, string>,
  looks: readonly Look[],
): Promise<void> {
  // All below belongs to the service's user, whose links would let it learn with root's rights what it may not read.
  const opened = await GuardedFolder.open(path.dirname(places.environment), where, links).catch(foundBy);
  if (!(opened instanceof GuardedFolder)) {
    for (const look of looks) look.found = opened;
    return;
  }
  await using folder = opened;
  const owner = process.geteuid?.() === 0 ? uid : null;
  for (const look of looks) look.found = await lookAt(folder, look.file, owner).catch(foundBy);
}

async function lookAt(folder: GuardedFolder, file: InstanceFile, owner: number | null): Promise<Look['found']> {
  const place = folder.at(path.basename(file.target));
  const wanted = Buffer.from(file.content);
  const isAlike = (stat: Stats) =>
    stat.isFile() &&
    stat.size === wanted.length &&
    (stat.mode & file.mode & MODE_BITS) === (file.mode & MODE_BITS) &&
    // A hard link names another user's file without being a link.
    (owner === null || stat.uid === owner);
  // Asked before it is opened: opening is enough to wake whoever waits at a pipe.
  if (!isAlike(await lstat(place))) return 'changed';
  await using handle = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if (!isAlike(await handle.stat())) return 'changed';
  const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(wanted.length), position: 0 });
  return buffer.subarray(0, bytesRead).equals(wanted) ? 'same' : 'changed';
}

/** What an error says of a file. @throws {RuntimeError} where it says nothing of it */
function foundBy(error: NodeJS.ErrnoException): FileDrift['found'] {
  const { code = '', errno, message } = error;
  if (MISSING.has(code)) return 'missing';
  if (CHANGED.has(code) || error instanceof MisplacedLinkError) return 'changed';
  const why = errno === undefined ? message : `${getSystemErrorMessage(errno)} (${code})`;
  throw new RuntimeError(`the files of a service could not be looked at: ${why}`);
}
