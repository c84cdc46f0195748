import path from 'node:path';
import { type InstanceFile, type InstanceSpec, NO_INSTANCE, type StackRef } from '../runtime.ts';
import { type Engine, EngineError, streamProblem } from './connection.ts';
import { absolute, containerOf } from './container-config.ts';
import { ENVIRONMENT, INSTANCE, STACK } from './labels.ts';
import { ignoring } from './networks-volumes.ts';
import { packTar, type TarEntry } from './tar.ts';

const NOT_FOUND = 404;
const FOLDER_MODE = 0o755;
/** Where the volume of an instance's files lies while it is filled. */
const FILLED_AT = '/windflow-files';

export type FileMount = { source: string; target: string; readOnly: boolean };

/** Puts files into a container that was made and has not been started. */
export async function copyFiles(engine: Engine, containerId: string, files: readonly InstanceFile[]): Promise<void> {
  if (files.length === 0) return;
  const folders = await missingFolders(engine, containerId, files);
  const entries: TarEntry[] = [
    ...folders.map((folder) => ({ name: folder.slice(1), content: null, mode: FOLDER_MODE })),
    ...files.map((file) => ({ ...file, name: absolute(file.target).slice(1) })),
  ];
  await engine.put(`/containers/${containerId}/archive`, { query: { path: '/' }, archive: packTar(entries) });
}

/**
 * Puts the files of a container whose root nobody may write to into a volume of its own, and returns where they are mounted
 * from. The volume goes with the instance: `removeVolumes` finds it by its label.
 */
export async function fillFileVolume(engine: Engine, stack: StackRef, spec: InstanceSpec): Promise<FileMount[]> {
  if (!needsFileVolume(spec)) return [];
  const name = `windflow-files-${spec.instanceId}`;
  // Not the stack's own label: its data are another matter.
  const labels = { [ENVIRONMENT]: stack.environmentId, [INSTANCE]: spec.instanceId };
  await engine.post('/volumes/create', { body: { Name: name, Labels: labels } });
  const { Mountpoint: folder } = await engine.get<{ Mountpoint: string }>(`/volumes/${name}`);
  const filler = {
    Image: containerOf(spec).image.id,
    Cmd: ['-'],
    Labels: { [STACK]: NO_INSTANCE, [INSTANCE]: spec.instanceId },
    HostConfig: { Mounts: [{ Type: 'volume', Source: name, Target: FILLED_AT, VolumeOptions: { NoCopy: true } }] },
  };
  const { Id: id } = await engine.post<{ Id: string }>('/containers/create', { body: filler });
  try {
    const entries = spec.files.map((file, index) => ({ ...file, name: String(index) }));
    await engine.put(`/containers/${id}/archive`, { query: { path: FILLED_AT }, archive: packTar(entries) });
  } finally {
    await ignoring(NOT_FOUND, engine.delete(`/containers/${id}`, { query: { force: true } }));
  }
  return spec.files.map(({ target }, index) => ({ source: `${folder}/${index}`, target, readOnly: true }));
}

export function needsFileVolume(spec: InstanceSpec): boolean {
  return containerOf(spec).readOnly && spec.files.length > 0;
}

export type FileStat = { size: number; mode: number };

/** A file of a container and what the engine says of it; null: there is none. `content` null: it is none to be read. */
export async function readFile(
  engine: Engine,
  containerId: string,
  target: string,
  isWanted: (stat: FileStat) => boolean,
): Promise<{ stat: FileStat; archive: Buffer | null } | null> {
  const query = { path: absolute(target) };
  const stream = await ignoring(NOT_FOUND, engine.stream('GET', `/containers/${containerId}/archive`, { query }));
  if (!stream) return null;
  const header = String(stream.headers['x-docker-container-path-stat'] ?? '');
  const stat: FileStat = JSON.parse(Buffer.from(header, 'base64').toString('utf8'));
  if (!isWanted(stat)) {
    stream.destroy();
    return { stat, archive: null };
  }
  try {
    return { stat, archive: Buffer.concat(await stream.toArray()) };
  } catch (error) {
    throw streamProblem(error, stream);
  }
}

/** Folders on the way to files: the engine would make them with rights for everybody, and must not change those that are there. */
async function missingFolders(engine: Engine, containerId: string, files: readonly InstanceFile[]): Promise<string[]> {
  const all = new Set(files.flatMap(({ target }) => foldersAbove(absolute(target))));
  const missing: string[] = [];
  for (const folder of [...all].sort()) {
    const isMissing = missing.includes(path.posix.dirname(folder)) || !(await exists(engine, containerId, folder));
    if (isMissing) missing.push(folder);
  }
  return missing;
}

function foldersAbove(target: string): string[] {
  const folder = path.posix.dirname(target);
  return folder === '/' ? [] : [...foldersAbove(folder), folder];
}

async function exists(engine: Engine, containerId: string, target: string): Promise<boolean> {
  try {
    return (await readFile(engine, containerId, target, () => false)) !== null;
  } catch (error) {
    if (error instanceof EngineError) return false;
    throw error;
  }
}
