import { readContainer } from './container.ts';
import { toValue } from './document.ts';
import { readEnvironment } from './environment.ts';
import type { Report } from './finding.ts';
import type { InlineFiles } from './inline-files.ts';
import type { Variables } from './interpolation.ts';
import { readDuration, readHealthcheck, readReplicas, readRestart, readSignal } from './lifecycle.ts';
import type { Dependency, DependencyCondition, ServiceModel } from './model.ts';
import { readFiles, readVolumes, reportSharedTargets } from './mounts.ts';
import { namesOf, Place } from './place.ts';
import { type LocatedPort, readPorts } from './ports.ts';
import { splitWords, WordsError } from './words.ts';

/** Volumes, configs and secrets of a service together. */
export const MAX_MOUNTS = 1000;
const DEFAULT_GRACE_PERIOD_MS = 10_000;

/** A service's model beside the places that later checks point at. */
export type ServiceReading = {
  model: ServiceModel;
  place: Place;
  ports: LocatedPort[];
  shownPorts: string[];
  volumes: ReturnType<typeof readVolumes>;
  configs: ReturnType<typeof readFiles>;
  secrets: ReturnType<typeof readFiles>;
};

/** `containers`: takes what is wrong with a container only. */
export type ServiceSources = { variables: Variables | null; files: InlineFiles; containers: Report };

export function readService(
  name: string,
  written: Place,
  { variables, files, containers }: ServiceSources,
): ServiceReading {
  const place = withinMounts(written) ? written : new Place(undefined, written.path, written.position, written.report);
  const { ports, shown } = readPorts(place.get('ports'));
  const volumes = readVolumes(place.get('volumes'));
  const configs = readFiles(place.get('configs'), 'configs');
  const secrets = readFiles(place.get('secrets'), 'secrets');
  reportSharedTargets([...volumes, ...configs, ...secrets]);
  const command = readCommand(place.get('command'));
  const entrypoint = readCommand(place.get('entrypoint'));
  const model: ServiceModel = {
    name,
    image: place.get('image').text() || null,
    hasBuild: place.get('build').exists,
    command,
    entrypoint,
    environment: readEnvironment(place, variables, files),
    workingDir: place.get('working_dir').text() || null,
    ports: ports.map(({ port }) => port),
    dependsOn: readDependencies(place),
    volumes: volumes.map(({ mount }) => mount),
    configs: configs.map(({ mount }) => mount),
    secrets: secrets.map(({ mount }) => mount),
    healthcheck: readHealthcheck(place.get('healthcheck')),
    restart: readRestart(place),
    stopSignal: readSignal(place.get('stop_signal')),
    stopGracePeriodMs: readDuration(place.get('stop_grace_period')) ?? DEFAULT_GRACE_PERIOD_MS,
    replicas: readReplicas(place),
    user: place.get('user').text() || null,
    profiles: place
      .get('profiles')
      .items()
      .flatMap((item) => item.resolvedText() ?? []),
    networks: namesOf(place.get('networks'))
      .map(([network]) => network)
      .sort(),
    container: readContainer(place.reportingTo(containers), { command, entrypoint, volumes, variables, files }),
    extensions: extensionsOf(place),
    other: othersOf(place),
  };
  return { model, place, ports, shownPorts: shown, volumes, configs, secrets };
}

function withinMounts(place: Place): boolean {
  const count = ['volumes', 'configs', 'secrets'].reduce((sum, key) => sum + place.get(key).items().length, 0);
  if (count <= MAX_MOUNTS) return true;
  place.error('too-many-mounts', `The service has ${count} volumes, configs and secrets; ${MAX_MOUNTS} are the limit.`);
  return false;
}

function readCommand(place: Place): string[] | null {
  if (!place.exists) return null;
  const words = place.isList ? place.items().flatMap((item) => item.text() ?? []) : wordsOf(place);
  if (words?.some((word) => word.includes('\0'))) {
    place.error('command-invalid', 'The command holds a NUL character: no program can be given one.');
  }
  return words;
}

function wordsOf(place: Place): string[] | null {
  const text = place.text();
  if (text === null) return null;
  try {
    return splitWords(text);
  } catch (error) {
    if (!(error instanceof WordsError)) throw error;
    if (!place.isUnresolved) {
      const suggestion = 'Put the parts in a list, or let a shell run it: ["/bin/sh", "-c", "…"].';
      place.error('command-invalid', `In this command, ${error.message}.`, suggestion);
    }
    return [text];
  }
}

const CONDITIONS: DependencyCondition[] = ['service_started', 'service_healthy', 'service_completed_successfully'];

function readDependencies(place: Place): Dependency[] {
  const found = new Map<string, Dependency>();
  for (const [service, entry] of namesOf(place.get('depends_on'))) {
    const condition = CONDITIONS.find((known) => known === entry.get('condition').text()) ?? 'service_started';
    const required = entry.get('required').truth() ?? true;
    found.set(service, { service, condition, required, restart: entry.get('restart').truth() ?? false });
  }
  for (const { service } of impliedDependencies(place)) {
    if (!found.has(service))
      found.set(service, { service, condition: 'service_started', required: true, restart: false });
  }
  return [...found.values()].sort((a, b) => (a.service < b.service ? -1 : 1));
}

/** `links`, `volumes_from` and a namespace of `service:…` need the other service to be there first. */
export function impliedDependencies(place: Place): { service: string; place: Place }[] {
  const listed = ['links', 'volumes_from'].flatMap((key) => place.get(key).items());
  const named = listed.flatMap((item) => {
    const service = item.resolvedText()?.split(':')[0];
    return service && service !== 'container' ? [{ service, place: item }] : [];
  });
  const shared = ['network_mode', 'ipc', 'pid', 'uts'].flatMap((key) => {
    const at = place.get(key);
    const service = /^service:(.+)$/.exec(at.resolvedText() ?? '')?.[1];
    return service ? [{ service, place: at }] : [];
  });
  return [...named, ...shared];
}

/** Keys that have a field of their own in the model. */
const MODELLED = new Set([
  'image',
  'command',
  'entrypoint',
  'environment',
  'env_file',
  'working_dir',
  'ports',
  'depends_on',
  'volumes',
  'configs',
  'secrets',
  'healthcheck',
  'restart',
  'stop_signal',
  'stop_grace_period',
  'scale',
  'user',
  'profiles',
  'extends',
]);

export function extensionsOf(place: Place): Record<string, unknown> {
  const entries = place.entries().filter(([key]) => key.startsWith('x-'));
  return Object.fromEntries(entries.map(([key, value]) => [key, value.node ? toValue(value.node) : null]));
}

function othersOf(place: Place): Record<string, unknown> {
  const others = place.entries().flatMap(([key, value]): [string, unknown][] => {
    if (MODELLED.has(key) || key.startsWith('x-') || !value.exists) return [];
    if (key !== 'deploy') return [[key, toValue(value.node!)]];
    const { replicas: _replicas, restart_policy: _policy, ...deploy } = toValue(value.node!) as Record<string, unknown>;
    return Object.keys(deploy).length > 0 ? [[key, deploy]] : [];
  });
  return Object.fromEntries(others);
}
