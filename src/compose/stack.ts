import { readNetworkDefinitions, readVolumeDefinitions } from './container-definitions.ts';
import { type MapNode, toValue } from './document.ts';
import { resolveExtends } from './extends.ts';
import type { Report } from './finding.ts';
import { EXTENSION, InlineFiles } from './inline-files.ts';
import type { Variables } from './interpolation.ts';
import type { FileSource, NetworkModel, StackModel, VolumeModel } from './model.ts';
import { Place } from './place.ts';
import { extensionsOf, readService, type ServiceReading } from './service.ts';

export const MAX_SERVICES = 500;
/** In each of the other sections of a file. */
export const MAX_ENTRIES = 1000;
export const MAX_NAME_LENGTH = 63;
/** Profiles of a service that a finding names. */
const MAX_NAMED_PROFILES = 5;

/** A stack's model beside the places that later checks point at. */
export type StackReading = {
  model: StackModel;
  top: Place;
  services: Map<string, ServiceReading>;
  /** Services that are left out. */
  inactive: Set<string>;
  variablesKnown: boolean;
  files: InlineFiles;
};

/** Whether each section has a number of entries that the further checks may look at. */
export function checkSizes(root: MapNode, report: Report): boolean {
  let fits = true;
  for (const [section, place] of new Place(root, [], root.position, report).entries()) {
    const limit = section === 'services' ? MAX_SERVICES : MAX_ENTRIES;
    const count = place.entries().length;
    if (count <= limit) continue;
    place.error('too-many-entries', `"${section}" has ${count} entries; ${limit} are the limit.`);
    fits = false;
  }
  return fits;
}

export type StackSources = {
  variables: Variables | null;
  profiles: readonly string[];
  report: Report;
  /** Takes what is wrong with containers only. */
  containers: Report;
};

/** Writes out every short form. Null when there are no services to read. */
export function readStack(root: MapNode, sources: StackSources): StackReading | null {
  const { variables, profiles, report, containers } = sources;
  const top = new Place(root, [], root.position, report);
  const places = top.get('services');
  const count = places.entries().length;
  if (count === 0) {
    places.error('no-services', 'The file has no services: there is nothing to deploy.', 'Name one under "services:".');
    return null;
  }
  for (const section of ['services', 'volumes', 'networks', 'configs', 'secrets']) {
    for (const [name, place] of top.get(section).entries()) checkName(name, place);
  }
  const files = new InlineFiles(top);
  const all = resolveExtends(places, report);
  const chosen = new Set(profiles);
  const active = [...all].filter(([name, place]) => isActive(name, place, chosen));
  const services = new Map(
    active.map(([name, place]) => [name, readService(name, place, { variables, files, containers })]),
  );
  const models = [...services.values()].map(({ model }) => model);
  const definitions = top.reportingTo(containers);
  const model: StackModel = {
    name: readProjectName(top.get('name')),
    services: Object.fromEntries([...services].map(([name, reading]) => [name, reading.model])),
    volumes: section(top.get('volumes'), readVolume),
    networks: section(top.get('networks'), readNetwork),
    networkDefinitions: readNetworkDefinitions(definitions, models),
    volumeDefinitions: readVolumeDefinitions(definitions, models),
    configs: section(top.get('configs'), (place) => readSource(place, variables, files)),
    secrets: section(top.get('secrets'), (place) => readSecret(place, variables, files)),
    ingress: readIngress(top.get(EXTENSION, 'ingress')),
    files: files.kept(),
    extensions: withoutFiles(extensionsOf(top)),
  };
  const inactive = new Set([...all.keys()].filter((name) => !services.has(name)));
  return { model, top, services, inactive, variablesKnown: variables !== null, files };
}

/** Names become folders, hosts and variables: the schema alone would let ".." through. */
function checkName(name: string, place: Place): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name) && name.length <= MAX_NAME_LENGTH) return;
  // The schema's check has spoken about other characters.
  if (!/^[A-Za-z0-9._-]+$/.test(name)) return;
  place.error('name-invalid', `A name begins with a letter or digit and has at most ${MAX_NAME_LENGTH} characters.`);
}

function isActive(name: string, place: Place, profiles: ReadonlySet<string>): boolean {
  const own = place.get('profiles').items();
  const names = own.flatMap((item) => item.resolvedText() ?? []);
  if (own.length === 0 || profiles.has('*') || names.some((profile) => profiles.has(profile))) return true;
  const shown = own.slice(0, MAX_NAMED_PROFILES).map((item) => item.quote());
  const list = own.length > shown.length ? `${shown.join(', ')} …` : shown.join(' or ');
  const suggestion = 'Name one of its profiles in the variable COMPOSE_PROFILES to deploy it.';
  place
    .get('profiles')
    .info('profile-inactive', `The service "${name}" is left out: the profile ${list} is not active.`, suggestion);
  return false;
}

function readProjectName(place: Place): string | null {
  const name = place.resolvedText();
  if (name === null || /^[a-z0-9][a-z0-9_-]*$/.test(name)) return name;
  const message = `${place.quote()} is not a name for a project: what does not fit is left out.`;
  const rule = 'Use lower-case letters, digits, "-" and "_", a letter or digit first.';
  place.warning('name-changed', message, rule);
  return (
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]/g, '')
      .replace(/^[_-]+/, '') || null
  );
}

function section<T>(place: Place, read: (place: Place) => T): Record<string, T> {
  return Object.fromEntries(place.entries().map(([name, entry]) => [name, read(entry)]));
}

function isExternal(place: Place): boolean {
  const external = place.get('external');
  return external.isMap || external.truth() === true;
}

function rest(place: Place, modelled: string[]): Record<string, unknown> {
  const entries = place.entries().filter(([key, value]) => !modelled.includes(key) && value.exists);
  return Object.fromEntries(entries.map(([key, value]) => [key, toValue(value.node!)]));
}

function readVolume(place: Place): VolumeModel {
  return {
    external: isExternal(place),
    driver: place.get('driver').text(),
    other: rest(place, ['external', 'driver']),
  };
}

function readNetwork(place: Place): NetworkModel {
  return {
    external: isExternal(place),
    internal: place.get('internal').truth() ?? false,
    driver: place.get('driver').text(),
    other: rest(place, ['external', 'internal', 'driver']),
  };
}

function readIngress(place: Place): boolean {
  if (place.isMap || place.isList) place.error('boolean-invalid', '"ingress" is true or false.');
  return place.truth() ?? false;
}

/** What the files hold is part of the services, configs and secrets by then. */
function withoutFiles(extensions: Record<string, unknown>): Record<string, unknown> {
  const { [EXTENSION]: ours, ...others } = extensions;
  const { files: _files, ...rest } = (ours ?? {}) as Record<string, unknown>;
  return Object.keys(rest).length > 0 ? { ...others, [EXTENSION]: rest } : others;
}

function readSecret(place: Place, variables: Variables | null, files: InlineFiles): FileSource {
  const source = readSource(place, variables, files);
  const inline = place.get('content').exists ? place.get('content') : place.get('file');
  if (inline.exists && source.environment === null && source.content !== null) {
    const message =
      'The secret stands in the compose file, for all who may read the stack; other tools refuse "content" here.';
    const suggestion = 'Store it as a secret variable and name that: "environment: NAME".';
    inline.warning('secret-inline', message, suggestion);
  }
  return source;
}

function readSource(place: Place, variables: Variables | null, files: InlineFiles): FileSource {
  const given = ['content', 'environment', 'file'].filter((key) => place.get(key).exists);
  const external = isExternal(place);
  if (given.length + (external ? 1 : 0) !== 1) {
    place.error('source-invalid', 'This needs exactly one source: "content", "environment", "file" or "external".');
  }
  const environment = place.get('environment').resolvedText();
  const value =
    environment !== null && variables && Object.hasOwn(variables, environment) ? variables[environment] : null;
  const read = place.get('file').exists ? files.read(place.get('file')) : null;
  const content = environment === null ? (read ?? place.get('content').text()) : (value ?? null);
  return { content, environment, file: read === null ? place.get('file').text() : null, external };
}
