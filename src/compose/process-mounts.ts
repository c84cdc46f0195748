import { isAbsolute, normalize } from 'node:path/posix';
import type { Place } from './place.ts';
import type { ServiceReading } from './service.ts';

/** What PROCESS makes of volumes, configs, secrets and the working directory: all lie under the service's own directory. */
export function checkMounts(reading: ServiceReading): void {
  const texts = textsOf(reading);
  for (const { mount, place } of reading.volumes) {
    if (mount.type === 'bind') checkBind(mount.source ?? '', mount.target, mount.readOnly, place);
    else if (mount.type === 'volume') checkVolume(mount.source, mount.readOnly, place);
    else if (mount.type === 'tmpfs') {
      place.warning('process-mount', 'No memory file system is mounted: this is an ordinary directory on disk.');
    } else {
      place.error('process-mount', `The runtime PROCESS cannot mount the type "${mount.type}".`, 'Use a named volume.');
    }
    if (mount.type === 'volume' || mount.type === 'tmpfs') {
      checkTarget(texts, mount.target, place, 'WARNING');
    }
  }
  for (const kind of ['configs', 'secrets'] as const) {
    for (const { mount, place } of reading[kind]) {
      const written = place.get('target').text()?.startsWith('/') ?? false;
      checkTarget(texts, mount.target, place, written ? 'WARNING' : 'INFO');
    }
  }
  const { workingDir } = reading.model;
  if (workingDir && isAbsolute(workingDir)) {
    const place = reading.place.get('working_dir');
    const message = `The working directory lies ${inRoot(workingDir, place)}, not at the absolute path of the host.`;
    place.warning('process-path', message, relativeHint(workingDir, place));
  }
}

function checkBind(source: string, target: string, readOnly: boolean, place: Place): void {
  const same = isAbsolute(source) && isAbsolute(target) && normalize(source) === normalize(target);
  if (same && readOnly) {
    const message = "Nothing is mounted: the process sees the host's own file there, as far as its user may read it.";
    place.warning('process-mount', message);
  } else {
    const message = 'The runtime PROCESS mounts nothing from the host.';
    place.error('process-mount', message, 'Use a named volume for data, or a config with "content" for a file.');
  }
}

function checkVolume(source: string | null, readOnly: boolean, place: Place): void {
  if (source === null) {
    const message =
      "A volume without a name is an ordinary part of the service's directory: it does not outlive the service.";
    place.warning('process-mount', message, 'Give it a name and declare that under the top-level "volumes".');
  }
  if (readOnly) place.warning('process-mount', 'Writing to this volume is not prevented.');
}

/** An absolute target lies under WINDFLOW_ROOT; a program that is told the absolute path would not find it. */
function checkTarget(texts: Texts, target: string, place: Place, severity: 'WARNING' | 'INFO'): void {
  if (!isAbsolute(target)) return;
  const users = pathUsers(texts, target);
  for (const { what, place: at } of users) {
    const message = `${what} names ${shownPath(target, place)}, but for a process that lies ${inRoot(target, place)}.`;
    at.error('process-path', message, relativeHint(target, place));
  }
  if (users.length > 0) return;
  const message = `The process finds this ${inRoot(target, place)}, not at the absolute path.`;
  const suggestion = relativeHint(target, place);
  place.report.add(severity, 'process-path', message, { path: place.path, position: place.position, suggestion });
}

/** Whether the path has a part that came out of a variable, and is not shown. */
function isVariable(place: Place): boolean {
  const written = place.get('target').exists ? place.get('target') : place.get('source');
  const target = place.isMap ? written : place;
  return target.node?.kind === 'scalar' && target.node.source.includes('$');
}

function shownPath(path: string, place: Place): string {
  return isVariable(place) ? 'the target path' : `"${path}"`;
}

function inRoot(path: string, place: Place): string {
  return isVariable(place) ? 'under $WINDFLOW_ROOT' : `at $WINDFLOW_ROOT${normalize(path)}`;
}

function relativeHint(path: string, place: Place): string {
  const relative = normalize(path).replace(/^\/+|\/+$/g, '') || '.';
  const shown = isVariable(place) ? 'Use the path without its leading "/"' : `Use the relative path "${relative}"`;
  return `${shown}: a process starts in $WINDFLOW_ROOT unless working_dir says otherwise.`;
}

/** What a service hands to its program. A service may have many mounts and long commands: each is put together once. */
type Texts = { commands: { what: string; text: string; place: Place }[]; paths: [name: string, path: string, Place][] };

function textsOf({ model, place }: ServiceReading): Texts {
  const commands = [
    { what: 'The entrypoint', words: model.entrypoint, place: place.get('entrypoint') },
    { what: 'The command', words: model.command, place: place.get('command') },
    { what: 'The health check', words: model.healthcheck?.argv, place: place.get('healthcheck', 'test') },
  ].map(({ what, words, place: at }) => ({ what, text: (words ?? []).join('\0'), place: at }));
  const environment = place.get('environment');
  const paths = Object.entries(model.environment).flatMap(([name, value]): Texts['paths'] =>
    value?.startsWith('/') ? [[name, value, environment.isMap ? environment.get(name) : environment]] : [],
  );
  return { commands, paths };
}

/** Where the service hands the path to its program. */
function pathUsers({ commands, paths }: Texts, target: string): { what: string; place: Place }[] {
  const path = normalize(target).replace(/(?<=.)\/$/, '');
  if (path === '/') return [];
  const inside = `${path}/`;
  return [
    ...commands.filter(({ text }) => namesPath(text, path)),
    ...paths
      .filter(([, value]) => value === path || value.startsWith(inside))
      .map(([name, , place]) => ({ what: `The variable ${name}`, place })),
  ];
}

/** Whether the text names the path or something in it: "--dir=/data/a" names "/data", "/database" and "my/data" do not. */
function namesPath(text: string, path: string): boolean {
  for (let at = text.indexOf(path); at >= 0; at = text.indexOf(path, at + 1)) {
    const before = text[at - 1] ?? ' ';
    const after = text[at + path.length] ?? ' ';
    if (!/[\w./}-]/.test(before) && !/[\w.-]/.test(after)) return true;
  }
  return false;
}
