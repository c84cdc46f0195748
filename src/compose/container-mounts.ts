import { isAbsolute, normalize } from 'node:path/posix';
import type { ContainerFile, ContainerMount } from './container-model.ts';
import { readSize, readText } from './container-values.ts';
import { EXTENSION, type InlineFiles, MAX_FOLDER_FILES } from './inline-files.ts';
import type { VolumeMount } from './model.ts';
import { type Located, readMode, splitShortVolume } from './mounts.ts';
import type { Place } from './place.ts';
import { parseBytes } from './units.ts';

const PROPAGATIONS = new Set(['shared', 'rshared', 'slave', 'rslave', 'private', 'rprivate']);
const READABLE = 0o644;
const EXECUTABLE = 0o755;
/** Without a meaning of their own: what a tmpfs of a container has anyway. */
const TMPFS_DEFAULTS = new Set(['rw', 'nosuid', 'nodev', 'noexec']);

type Mounts = { mounts: ContainerMount[]; files: ContainerFile[] };

/** What a container mounts, options and all. A relative source is a file or folder that the stack brings along. */
export function readMounts(service: Place, volumes: readonly Located<VolumeMount>[], inlineFiles: InlineFiles): Mounts {
  const mounts: ContainerMount[] = [];
  const files: ContainerFile[] = [];
  const at = (place: Place) => place.reportingTo(service.report);
  for (const { mount, place } of volumes) {
    const item = at(place);
    if (!targetIsSound(mount.target, item)) continue;
    if (mount.type === 'bind' && !isAbsolute(mount.source ?? '')) {
      files.push(...readBoundFiles(mount, item, inlineFiles));
    } else {
      mounts.push(...readMount(mount, item));
    }
    if (files.length > MAX_FOLDER_FILES) {
      item.error('too-many-files', `A service may bind ${MAX_FOLDER_FILES} files; with this entry there are more.`);
      break;
    }
  }
  const taken = new Set(volumes.map(({ mount }) => plainTarget(mount.target)));
  for (const item of service.get('tmpfs').itemsOrOne()) {
    const mount = readTmpfs(item);
    if (!mount || !targetIsSound(mount.target, item)) continue;
    if (taken.has(plainTarget(mount.target))) {
      item.error('target-duplicate', 'Another mount of this service has the same target.', 'Remove one of them.');
    } else {
      taken.add(plainTarget(mount.target));
      mounts.push(mount);
    }
  }
  return { mounts, files };
}

function plainTarget(target: string): string {
  return normalize(target).replace(/(?<=.)\/$/, '');
}

function targetIsSound(target: string, item: Place): boolean {
  if (isAbsolute(target) && normalize(target) !== '/') return true;
  const message = 'The path of a mount in a container is absolute, and not "/".';
  item.error('docker-mount', message, 'Begin the target with "/".');
  return false;
}

function readMount({ type, source, target, readOnly }: VolumeMount, item: Place): ContainerMount[] {
  const access = item.isMap ? [] : (splitShortVolume(item.text() ?? '').access?.split(',') ?? []);
  if (type === 'volume') {
    const own = item.get('volume');
    const copy = !(own.get('nocopy').truth() ?? access.includes('nocopy'));
    return [{ type, source, target, readOnly, copy, subpath: readText(own.get('subpath')) }];
  }
  if (type === 'tmpfs') {
    const own = item.get('tmpfs');
    return [{ type, target, readOnly, size: readSize(own.get('size')) || null, mode: readMode(own.get('mode')) }];
  }
  if (type === 'bind') {
    const own = item.get('bind');
    const selinux = readText(own.get('selinux')) ?? access.find((mode) => mode === 'z' || mode === 'Z');
    return [
      {
        type,
        source: normalize(source ?? '').replace(/(?<=.)\/$/, ''),
        target,
        readOnly,
        propagation: readPropagation(own.get('propagation'), access),
        createHostPath: own.get('create_host_path').truth() ?? true,
        selinux: selinux === 'z' || selinux === 'Z' ? selinux : null,
      },
    ];
  }
  item.error(
    'docker-mount',
    `The runtime DOCKER cannot mount the type ${item.get('type').quote()}.`,
    'Use a named volume.',
  );
  return [];
}

function readPropagation(place: Place, access: readonly string[]): string | null {
  const text = readText(place) ?? access.find((mode) => PROPAGATIONS.has(mode)) ?? null;
  if (text === null || PROPAGATIONS.has(text)) return text;
  place.error(
    'docker-mount',
    `${place.quote()} is not a propagation.`,
    `Write one of ${[...PROPAGATIONS].join(', ')}.`,
  );
  return null;
}

function readBoundFiles({ source, target }: VolumeMount, item: Place, inlineFiles: InlineFiles): ContainerFile[] {
  const path = source ?? '';
  const text = inlineFiles.find(path);
  if (text !== null) return [boundFile(target, text)];
  const folder = Object.entries(inlineFiles.folder(path));
  if (folder.length === 0) {
    const at = item.isMap ? item.get('source') : item;
    const message = `${at.quote()} is relative to a folder that is not on the engine: a stack is this one file.`;
    const suggestion = `Use a named volume for data; put the text of a file under "${EXTENSION}: { files: … }", or into a config; or name an absolute path of the engine's host.`;
    at.error('docker-mount', message, suggestion);
  }
  return folder.map(([name, content]) => boundFile(`${target.replace(/\/+$/, '')}/${name}`, content));
}

/** A script is one that can be run, as it would be in a folder. */
function boundFile(target: string, content: string): ContainerFile {
  return { target, content, mode: content.startsWith('#!') ? EXECUTABLE : READABLE };
}

/** "/run", "/run:size=64m,mode=1777,ro". */
function readTmpfs(item: Place): ContainerMount | null {
  const text = item.resolvedText();
  if (!text) return null;
  const colon = text.indexOf(':');
  const options =
    colon < 0
      ? []
      : text
          .slice(colon + 1)
          .split(',')
          .filter(Boolean);
  const mount = { type: 'tmpfs' as const, target: colon < 0 ? text : text.slice(0, colon), readOnly: false };
  let size: number | null = null;
  let mode: number | null = null;
  for (const option of options) {
    const [name, value = ''] = option.split('=');
    if (name === 'ro') mount.readOnly = true;
    else if (name === 'size' && parseBytes(value) !== null) size = parseBytes(value);
    else if (name === 'mode' && /^[0-7]{1,4}$/.test(value)) mode = Number.parseInt(value, 8);
    else if (!TMPFS_DEFAULTS.has(option)) {
      const message = `In ${item.quote()}, an option of the file system is not used: size, mode and ro are.`;
      item.warning('tmpfs-option', message, 'Write it as "/run:size=64m,mode=1777".');
    }
  }
  return { ...mount, size, mode };
}
