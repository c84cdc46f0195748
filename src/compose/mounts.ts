import { normalize } from 'node:path/posix';
import type { FileMount, VolumeMount } from './model.ts';
import type { Place } from './place.ts';

/** A config or secret is a file that everyone in the service may read, unless it says otherwise. */
const DEFAULT_FILE_MODE = 0o444;
const SECRETS_FOLDER = '/run/secrets';
const VOLUME_TYPES = ['volume', 'bind', 'tmpfs', 'cluster', 'npipe', 'image'] as const;
const ACCESS_MODES = new Set(
  'rw ro z Z nocopy cached delegated consistent shared rshared slave rslave private rprivate'.split(' '),
);

export type Located<T> = { mount: T; place: Place };

export function readVolumes(place: Place): Located<VolumeMount>[] {
  const volumes = place.items().flatMap((item) => {
    const mount = item.isMap ? readLongVolume(item) : readShortVolume(item);
    return mount && targetIsSound(item, mount.target) ? [{ mount, place: item }] : [];
  });
  return lastOfEachTarget(volumes);
}

/** Of two entries of one list with the same target the later one counts, as the Compose Specification has it. */
function lastOfEachTarget<T extends { target: string }>(mounts: Located<T>[]): Located<T>[] {
  const byTarget = new Map<string, Located<T>>();
  for (const located of mounts) {
    const former = byTarget.get(located.mount.target);
    if (former) {
      const line = former.place.position?.line;
      const message = `This takes the place of the entry with the same target${line ? ` in line ${line}` : ''}.`;
      located.place.warning('target-duplicate', message, 'Remove one of them.');
    }
    byTarget.set(located.mount.target, located);
  }
  return [...byTarget.values()];
}

function readShortVolume(item: Place): VolumeMount | null {
  const text = item.resolvedText();
  if (text === null) return null;
  const { source, target, access, more } = splitShortVolume(text);
  if (access !== undefined && !isAccess(access)) {
    const modes = [...ACCESS_MODES].join(', ');
    item.warning(
      'volume-option',
      `The last part of ${item.quote()} is no access mode: it has no effect.`,
      `Write one of ${modes}.`,
    );
  }
  if (more || target === '' || source === '') {
    const hint = 'Write it as "name:/path", "name:/path:ro" or "./folder:/path".';
    item.error('volume-invalid', `${item.quote()} is not a volume mapping.`, hint);
    return null;
  }
  const type = source !== null && /^(?:[./~\\]|[A-Za-z]:[\\/])/.test(source) ? 'bind' : 'volume';
  return { type, source, target, readOnly: access?.split(',').includes('ro') ?? false };
}

/** "[source:]target[:access]" in its parts; `more`: there are too many. */
export function splitShortVolume(text: string) {
  const [first = '', second, third, ...more] = splitPaths(text);
  const twoAreTargetAndMode = third === undefined && second !== undefined && isAccess(second) && first.startsWith('/');
  const [source, target, access] = twoAreTargetAndMode
    ? [null, first, second]
    : second === undefined
      ? [null, first, undefined]
      : [first, second, third];
  return { source, target, access, more: more.length > 0 };
}

/** The colon of "C:\data" and of "C:/data:/data" belongs to the path; "v:/data" is a volume named v. */
function splitPaths(text: string): string[] {
  const drive = /^[A-Za-z]:\/[^:]*:\//.test(text) ? text.slice(0, 2) : '';
  const parts: string[] = [];
  for (const part of text.slice(drive.length).split(':')) {
    const last = parts.at(-1) ?? '';
    if (/^[A-Za-z]$/.test(last) && part.startsWith('\\')) parts.splice(-1, 1, `${last}:${part}`);
    else parts.push(part);
  }
  return [drive + (parts[0] ?? ''), ...parts.slice(1)];
}

function isAccess(text: string): boolean {
  return text.split(',').every((mode) => ACCESS_MODES.has(mode));
}

function readLongVolume(item: Place): VolumeMount | null {
  const type = VOLUME_TYPES.find((known) => known === item.get('type').text());
  const target = item.get('target').resolvedText();
  if (!item.get('target').exists)
    item.error('volume-invalid', 'This volume lacks "target", the path inside of the service.');
  const source = item.get('source').text();
  if (type === 'bind' && source === null)
    item.error('volume-invalid', 'This bind mount lacks "source", the path on the host.');
  if (!type || !target || item.get('source').isUnresolved || (type === 'bind' && source === null)) return null;
  return { type, source, target, readOnly: item.get('read_only').truth() ?? false };
}

/** The configs or secrets of a service as files. Without a target, a config is "/<name>", a secret "/run/secrets/<name>". */
export function readFiles(place: Place, kind: 'configs' | 'secrets'): Located<FileMount>[] {
  const folder = kind === 'secrets' ? SECRETS_FOLDER : '';
  const files = place.items().flatMap((item) => {
    const source = (item.isMap ? item.get('source') : item).resolvedText();
    if (item.isMap && !item.get('source').exists) {
      item.error('file-invalid', `This entry lacks "source", the name of one of the top-level ${kind}.`);
    }
    if (!source) return [];
    const written = item.get('target');
    if (written.isUnresolved) return [];
    const name = written.text() || null;
    const target = name === null ? `${folder}/${source}` : folder && !name.startsWith('/') ? `${folder}/${name}` : name;
    const mount = {
      source,
      target,
      uid: item.get('uid').text(),
      gid: item.get('gid').text(),
      mode: readMode(item.get('mode')) ?? DEFAULT_FILE_MODE,
    };
    return targetIsSound(item, target) ? [{ mount, place: item }] : [];
  });
  return lastOfEachTarget(files);
}

/** Permission bits are octal, with "0", "0o" or quotes; a number without them is decimal, as in YAML. */
export function readMode(place: Place): number | null {
  const text = place.resolvedText();
  if (text === null) return null;
  const quoted = place.node?.kind === 'scalar' && typeof place.node.value === 'string';
  const octal = /^0?o?([0-7]{1,4})$/.exec(text)?.[1];
  const isOctal = octal !== undefined && (quoted || text.startsWith('0'));
  const mode = isOctal ? Number.parseInt(octal, 8) : /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (mode <= 0o7777) return mode;
  place.error('mode-invalid', `${place.quote()} is no file mode.`, 'Write it in octal: 0444.');
  return null;
}

function targetIsSound(item: Place, target: string): boolean {
  if (target.includes('\0')) {
    item.error('target-invalid', 'The target path holds a NUL character.');
    return false;
  }
  if (target.split('/').includes('..')) {
    item.error('target-invalid', 'The target path must not hold "..".');
    return false;
  }
  return true;
}

/** Reports targets that two of a service's mounts share. */
export function reportSharedTargets(mounts: Located<{ target: string }>[]): void {
  const seen = new Map<string, Place>();
  for (const { mount, place } of mounts) {
    const target = normalize(mount.target).replace(/(?<=.)\/$/, '');
    const former = seen.get(target);
    if (former) {
      const line = former.position?.line;
      place.error(
        'target-duplicate',
        `Another mount of this service has the same target${line ? ` (line ${line})` : ''}.`,
      );
    } else {
      seen.set(target, place);
    }
  }
}
