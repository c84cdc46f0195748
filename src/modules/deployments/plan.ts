import { diffServices, type FieldChange } from '../../compose/index.ts';
import type { Drift, Healthcheck, PortBinding } from '../../runtimes/runtime.ts';
import { isAsWanted, type ObservedInstance } from './observation.ts';
import { bindingText, type ReleaseSpecs, type ReplicaSpec } from './release.ts';
import { shownContainer } from './release-containers.ts';

/** SCALE: only the number of replicas changes, those that stay are left alone. */
export type ChangeAction = 'CREATE' | 'RECREATE' | 'SCALE' | 'REMOVE' | 'UNCHANGED';
export type ServiceChange = { service: string; action: ChangeAction; fields: FieldChange[] };

const CHANGED_BY_HAND = '(changed by hand)';
const MISSING = '(missing)';

/** What has to happen to what runs so that it becomes this release: in the order of starting, then what goes. Fields hold secrets. */
export function planChanges(next: ReleaseSpecs, running: readonly ObservedInstance[]): ServiceChange[] {
  const changes = next.services.map(({ name, replicas }) => changeOf(name, replicas, ofService(running, name)));
  const wanted = new Set(next.services.map(({ name }) => name));
  const gone = new Set(running.map(({ service }) => service).filter((service) => !wanted.has(service)));
  const removals = [...gone].sort().map((service): ServiceChange => {
    const specs = ofService(running, service).map(({ spec }) => spec);
    return { service, action: 'REMOVE', fields: diffServices(shown(specs), NOTHING) };
  });
  return [...changes, ...removals];
}

/**
 * What is equal for two plans that do the same, wherever they are made. How an instance fails at this very moment makes no difference,
 * nor that its restart policy is at work; nor do files, which only a server on the same host sees.
 */
export function essenceOf(next: ReleaseSpecs, running: readonly ObservedInstance[]): string {
  const steady = running.map((instance) => ({
    ...instance,
    isAlive: instance.isAlive || instance.state === 'RESTARTING',
    drift: [],
  }));
  return JSON.stringify(
    planChanges(next, steady).map(({ service, action, fields }) => [
      service,
      action,
      fields.map(({ path, before, after }) => (isStatePath(path) ? [path] : [path, before, after])),
    ]),
  );
}

function ofService(running: readonly ObservedInstance[], name: string): ObservedInstance[] {
  return running.filter(({ service }) => service === name).toSorted((a, b) => a.replica - b.replica);
}

function changeOf(service: string, replicas: readonly ReplicaSpec[], running: ObservedInstance[]): ServiceChange {
  const specs = running.map(({ spec }) => spec);
  if (running.length === 0 && replicas.length > 0)
    return { service, action: 'CREATE', fields: diffServices(NOTHING, shown(replicas)) };
  const stays = (spec: ReplicaSpec) => running.some((instance) => isAsWanted(instance, spec));
  const differs = replicas.some((spec) => running.some(({ replica }) => replica === spec.replica) && !stays(spec));
  if (differs) {
    const fields = [...diffServices(shown(specs), shown(replicas)), ...troubles(running)];
    return { service, action: 'RECREATE', fields };
  }
  if (replicas.length === running.length && replicas.every(stays)) return { service, action: 'UNCHANGED', fields: [] };
  const [before, after] = [String(running.length), String(replicas.length)];
  return { service, action: 'SCALE', fields: [{ path: 'deploy.replicas', before, after }] };
}

/** What differs from what was started without anybody having asked for it. */
function troubles(running: readonly ObservedInstance[]): FieldChange[] {
  return running.flatMap(({ replica, state, exitCode, isAlive, drift, spec }) => {
    const fields = drift.map((found) => driftField(found, spec));
    if (!isAlive) {
      const before = exitCode === null ? state : `${state}, exit code ${exitCode}`;
      fields.push({ path: `replicas[${replica}].state`, before, after: spec.healthcheck ? 'HEALTHY' : 'RUNNING' });
    }
    return fields;
  });
}

function driftField(drift: Drift, { replica, files }: ReplicaSpec): FieldChange {
  if (!('target' in drift)) return { ...drift, path: `replicas[${replica}].${drift.path}` };
  const { target, found } = drift;
  return {
    path: `replicas[${replica}].files[${JSON.stringify(target)}]`,
    before: found === 'missing' ? MISSING : CHANGED_BY_HAND,
    after: files.find((file) => file.target === target)?.content ?? null,
  };
}

const isStatePath = (path: string): boolean => /^replicas\[\d+\]\.state$/.test(path);

/** A service that is not there, so that one that comes or goes shows field by field too. */
const NOTHING = { environment: {}, files: {}, volumes: {}, ports: {}, deploy: {} };

/** A service in the words of a compose file, resolved. The replicas of a service differ in nothing but their ports. */
function shown(replicas: readonly ReplicaSpec[]): Record<string, unknown> {
  const [first] = replicas;
  if (!first) return NOTHING;
  const { argv, environment, workingDir, files, volumes, healthcheck, restart, stopSignal, stopGracePeriodMs } = first;
  return {
    ...(first.container ? shownContainer(first.container) : { command: argv, volumes: shownVolumes(volumes) }),
    environment,
    working_dir: workingDir,
    files: Object.fromEntries(files.map(({ target, content, mode }) => [target, { content, mode: mode.toString(8) }])),
    ports: portsOf(replicas),
    healthcheck: healthcheck && shownHealthcheck(healthcheck),
    restart: restart.maxRetries === null ? restart.name : `${restart.name}:${restart.maxRetries}`,
    stop_signal: stopSignal,
    stop_grace_period: milliseconds(stopGracePeriodMs),
    deploy: { replicas: replicas.length },
  };
}

function shownVolumes(volumes: ReplicaSpec['volumes']): Record<string, string> {
  return Object.fromEntries(volumes.map(({ name, target, readOnly }) => [target, readOnly ? `${name}:ro` : name]));
}

function portsOf(replicas: readonly ReplicaSpec[]): Record<string, string> {
  const named = (replica: number, { target, protocol }: PortBinding) =>
    `${target}/${protocol}${replicas.length > 1 ? ` of replica ${replica}` : ''}`;
  return Object.fromEntries(
    replicas.flatMap(({ replica, ports }) => ports.map((port) => [named(replica, port), bindingText(port)])),
  );
}

function shownHealthcheck({ argv, retries, ...times }: Healthcheck): Record<string, unknown> {
  return {
    test: argv,
    interval: milliseconds(times.intervalMs),
    timeout: milliseconds(times.timeoutMs),
    retries,
    start_period: milliseconds(times.startPeriodMs),
    start_interval: milliseconds(times.startIntervalMs),
  };
}

const milliseconds = (value: number): string => `${value}ms`;
