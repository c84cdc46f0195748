import type { ContainerMount } from './container-model.ts';
import { EXTENSION } from './inline-files.ts';
import type { FileMount, FileSource, PortMapping, ServiceModel, StackModel, VolumeMount } from './model.ts';
import { formatDuration } from './units.ts';

type Json = { [key: string]: unknown };

/**
 * The model as a compose file in its long form: plain data with sorted keys, equal for equal stacks, fit for hashing, and
 * read back by checkStack as the same model. A "$" in a value is written "$$".
 */
export function renderStack(model: StackModel): Json {
  return canonical({
    name: model.name,
    services: mapValues(model.services, (service) => serviceValue(service)),
    volumes: mapValues(model.volumes, ({ other, ...volume }) => ({
      ...asWritten(other),
      ...volume,
      external: volume.external || null,
    })),
    networks: mapValues(model.networks, ({ other, ...network }) => ({
      ...asWritten(other),
      ...network,
      external: network.external || null,
      internal: network.internal || null,
    })),
    configs: mapValues(model.configs, sourceValue),
    secrets: mapValues(model.secrets, sourceValue),
    ...extensionsOf(model),
  }) as Json;
}

/** With the files that builds and mounts are read from once more: nothing is filled in there. */
function extensionsOf({ extensions, files }: StackModel): Json {
  if (Object.keys(files).length === 0) return extensions;
  const ours = extensions[EXTENSION] as Json | undefined;
  return { ...extensions, [EXTENSION]: { ...ours, files: new Verbatim(files) } };
}

/** One service as renderStack writes it. */
export function renderService(service: ServiceModel): Json {
  return canonical(serviceValue(service)) as Json;
}

function serviceValue(service: ServiceModel): Json {
  const { restart, container } = service;
  const mounts = new Map(container.mounts.map((mount) => [mount.target, mount]));
  const retries = restart.maxRetries === null ? '' : `:${restart.maxRetries}`;
  return {
    ...asWritten(service.other),
    ...service.extensions,
    image: service.image,
    command: service.command,
    entrypoint: service.entrypoint,
    environment: new Written(service.environment),
    working_dir: service.workingDir,
    ports: service.ports.map(portValue),
    depends_on: Object.fromEntries(service.dependsOn.map(({ service: name, ...dependency }) => [name, dependency])),
    volumes: service.volumes.map((mount) => volumeValue(mount, mounts.get(mount.target))),
    configs: service.configs.map(fileValue),
    secrets: service.secrets.map(fileValue),
    healthcheck: container.noHealthcheck
      ? { disable: true }
      : service.healthcheck && {
          test: ['CMD', ...service.healthcheck.argv],
          interval: formatDuration(service.healthcheck.intervalMs),
          timeout: formatDuration(service.healthcheck.timeoutMs),
          retries: service.healthcheck.retries,
          start_period: formatDuration(service.healthcheck.startPeriodMs),
          start_interval: formatDuration(service.healthcheck.startIntervalMs),
        },
    restart: `${restart.name}${retries}`,
    stop_signal: container.stopSignal,
    stop_grace_period: formatDuration(service.stopGracePeriodMs),
    scale: service.replicas,
    user: service.user,
    profiles: service.profiles.length > 0 ? service.profiles : null,
  };
}

function portValue(port: PortMapping): Json {
  const published = port.publishedEnd === null ? `${port.published}` : `${port.published}-${port.publishedEnd}`;
  return {
    target: port.target,
    published: port.published === null ? null : published,
    host_ip: port.hostIp,
    protocol: port.protocol,
  };
}

function volumeValue(mount: VolumeMount, options: ContainerMount | undefined): Json {
  const value = { type: mount.type, source: mount.source, target: mount.target, read_only: mount.readOnly };
  if (options?.type !== mount.type) return value;
  if (options.type === 'volume')
    return { ...value, volume: { nocopy: !options.copy || null, subpath: options.subpath } };
  if (options.type === 'tmpfs') return { ...value, tmpfs: { size: options.size, mode: modeText(options.mode) } };
  const { propagation, createHostPath, selinux } = options;
  return { ...value, bind: { propagation, create_host_path: createHostPath, selinux } };
}

function modeText(mode: number | null): string | null {
  return mode === null ? null : `0${mode.toString(8).padStart(3, '0')}`;
}

function fileValue(mount: FileMount): Json {
  return { ...mount, mode: modeText(mount.mode) };
}

function sourceValue(source: FileSource): Json {
  const content = source.environment === null ? source.content : null;
  return { content, environment: source.environment, file: source.file, external: source.external || null };
}

function mapValues<T>(record: Record<string, T>, change: (value: T) => unknown): Json {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

function asWritten(values: Json): Json {
  return mapValues(values, (value) => new Written(value));
}

/** What null means something in: "labels: { a: }" is a label, "networks: { n: }" a network. */
class Written {
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

/** Texts that stand in the file as they are. */
class Verbatim {
  readonly texts: Record<string, string>;

  constructor(texts: Record<string, string>) {
    this.texts = texts;
  }
}

/** Sorts keys, leaves out null, and escapes "$" in every text. */
function canonical(value: unknown, keepsNull = false): unknown {
  if (typeof value === 'string') return value.replaceAll('$', '$$$$');
  if (Array.isArray(value)) return value.map((item) => canonical(item, keepsNull));
  if (value instanceof Verbatim) return value.texts;
  if (value instanceof Written) return canonical(value.value, true);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([, inner]) => keepsNull || inner !== null);
  const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([key, inner]) => [key, canonical(inner, keepsNull)]));
}
