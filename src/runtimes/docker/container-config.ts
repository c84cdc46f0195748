import path from 'node:path';
import type Docker from 'dockerode';
import type { ContainerMount, ContainerResources, NetworkAttachment } from '../../compose/index.ts';
import type { ContainerSpec, Healthcheck, InstanceSpec, StackRef } from '../runtime.ts';
import { containerLabels } from './labels.ts';

/** Of a log that is read all the time; what it loses when it is rotated is told. */
const DEFAULT_LOGGING = { driver: 'json-file', options: { 'max-size': '16m', 'max-file': '4' } };
const NS_PER_MS = 1e6;

/** What a container's configuration names that only the engine knows. */
export type Surroundings = {
  /** The engine's name of a network or a volume of the stack, by key. */
  networkName(key: string): string;
  volumeName(key: string): string;
  /** The id of the container in which a service of the stack runs. */
  containerOf(service: string): string;
  /** Files that are mounted, as paths on the engine's host. */
  fileMounts: readonly { source: string; target: string; readOnly: boolean }[];
};

export type ContainerBody = Docker.ContainerCreateOptions & { HostConfig: Docker.HostConfig };
export type Endpoint = Docker.EndpointSettings & { Aliases: string[] };

/** What the engine is told to make of one replica. */
export function containerBody(stack: StackRef, spec: InstanceSpec, epoch: number, around: Surroundings): ContainerBody {
  const container = containerOf(spec);
  const [first] = endpointsOf(spec, around);
  return {
    Image: container.image.id,
    ...(container.entrypoint === null ? {} : { Entrypoint: cleared(container.entrypoint) }),
    ...(container.command === null ? {} : { Cmd: container.command }),
    ...(container.user === null ? {} : { User: container.user }),
    ...(container.hostname === null ? {} : { Hostname: container.hostname }),
    ...(container.domainname === null ? {} : { Domainname: container.domainname }),
    ...(container.macAddress === null ? {} : { MacAddress: container.macAddress }),
    ...(spec.workingDir === null ? {} : { WorkingDir: absolute(spec.workingDir) }),
    Env: Object.entries(spec.environment).map(([name, value]) => `${name}=${value}`),
    Labels: { ...container.labels, ...containerLabels(stack, spec, epoch) },
    Tty: container.tty,
    OpenStdin: container.stdinOpen,
    ...(container.stopSignal === null ? {} : { StopSignal: container.stopSignal }),
    StopTimeout: stopTimeoutS(spec),
    Healthcheck: healthcheckOf(spec.healthcheck),
    ExposedPorts: Object.fromEntries([...container.expose, ...spec.ports.map(portKey)].map((port) => [port, {}])),
    HostConfig: hostConfig(spec, container, around),
    ...(first ? { NetworkingConfig: { EndpointsConfig: { [first.network]: first.endpoint } } } : {}),
  };
}

/** The networks that a container is attached to, the first one decides its gateway. Empty where a network mode says it all. */
export function endpointsOf(spec: InstanceSpec, around: Surroundings): { network: string; endpoint: Endpoint }[] {
  const container = containerOf(spec);
  if (container.networkMode !== null) return [];
  return container.networks.map((attachment, index) => ({
    network: around.networkName(attachment.network),
    endpoint: endpointOf(spec, attachment, container, index === 0),
  }));
}

/** Whole seconds are all that the engine takes; a shorter grace period becomes one. */
export function stopTimeoutS({ stopGracePeriodMs }: InstanceSpec): number {
  return Math.ceil(stopGracePeriodMs / 1_000);
}

/** What the engine calls a container: another generation may have the name already, then a part of its id follows. */
export function containerNames(spec: InstanceSpec): string[] {
  const { containerName, project } = containerOf(spec);
  const name = containerName ?? `${project}-${spec.service}-${spec.replica}`;
  return [name, `${name}-${spec.instanceId.slice(-8)}`, `${name}-${spec.instanceId}`];
}

export function containerOf({ service, container }: InstanceSpec): ContainerSpec {
  if (!container) throw new TypeError(`service ${service} says nothing of its container`);
  return container;
}

/** An absolute path in a container. */
export function absolute(target: string): string {
  return path.posix.resolve('/', target);
}

export function resourceConfig(resources: ContainerResources) {
  return {
    NanoCpus: resources.nanoCpus ?? undefined,
    CpuShares: resources.cpuShares ?? undefined,
    CpuPeriod: resources.cpuPeriod ?? undefined,
    CpuQuota: resources.cpuQuota ?? undefined,
    CpusetCpus: resources.cpuset ?? undefined,
    Memory: resources.memory ?? undefined,
    MemoryReservation: resources.memoryReservation ?? undefined,
    MemorySwap: resources.memorySwap ?? undefined,
    MemorySwappiness: resources.memorySwappiness ?? undefined,
    PidsLimit: resources.pids ?? undefined,
    ShmSize: resources.shm ?? undefined,
    OomKillDisable: resources.oomKillDisable || undefined,
    OomScoreAdj: resources.oomScoreAdj ?? undefined,
  };
}

function hostConfig(spec: InstanceSpec, container: ContainerSpec, around: Surroundings): Docker.HostConfig {
  const logging = container.logging ?? DEFAULT_LOGGING;
  const binds = container.mounts.filter(isBound);
  return {
    ...resourceConfig(container.resources),
    Binds: binds.map(bindText),
    Mounts: [
      ...container.mounts.filter((mount) => !isBound(mount)).map((mount) => mountOf(mount, around)),
      ...around.fileMounts.map((file) => fileMount(file)),
    ],
    VolumesFrom: container.volumesFrom.map((from) => volumesFrom(from, around)),
    PortBindings: portBindings(spec),
    RestartPolicy: { Name: spec.restart.name, MaximumRetryCount: spec.restart.maxRetries ?? 0 },
    LogConfig: { Type: logging.driver, Config: logging.options },
    NetworkMode: networkMode(container, around),
    Init: container.init ?? undefined,
    ReadonlyRootfs: container.readOnly,
    Privileged: container.privileged,
    CapAdd: container.capAdd,
    CapDrop: container.capDrop,
    SecurityOpt: container.securityOpt,
    GroupAdd: container.groupAdd,
    Devices: container.devices.map(({ source, target, permissions }) => ({
      PathOnHost: source,
      PathInContainer: target,
      CgroupPermissions: permissions,
    })),
    DeviceCgroupRules: container.deviceCgroupRules,
    Sysctls: container.sysctls,
    Ulimits: Object.entries(container.ulimits).map(([name, { soft, hard }]) => ({
      Name: name,
      Soft: soft,
      Hard: hard,
    })),
    StorageOpt: container.storageOpt,
    Dns: container.dns,
    DnsOptions: container.dnsOpt,
    DnsSearch: container.dnsSearch,
    ExtraHosts: container.extraHosts,
    IpcMode: sharedMode(container.ipc, around),
    PidMode: sharedMode(container.pid, around),
    UTSMode: container.uts ?? undefined,
    UsernsMode: container.userns ?? undefined,
    CgroupnsMode: container.cgroup ?? undefined,
    CgroupParent: container.cgroupParent ?? undefined,
    Runtime: container.runtime ?? undefined,
    Annotations: container.annotations,
  } as Docker.HostConfig;
}

function endpointOf(
  spec: InstanceSpec,
  { aliases, ipv4Address, ipv6Address, linkLocalIps, driverOpts }: NetworkAttachment,
  { links, macAddress }: ContainerSpec,
  isFirst: boolean,
): Endpoint {
  const [name = ''] = containerNames(spec);
  const hasAddress = ipv4Address !== null || ipv6Address !== null || linkLocalIps.length > 0;
  const addresses = { IPv4Address: ipv4Address ?? '', IPv6Address: ipv6Address ?? '', LinkLocalIPs: linkLocalIps };
  return {
    Aliases: [...new Set([spec.service, name, ...aliases])],
    ...(hasAddress ? { IPAMConfig: addresses } : {}),
    // By the name that a service has in its networks: a container's id is none, and would hide it.
    ...(links.length > 0 ? { Links: links } : {}),
    ...(isFirst && macAddress !== null ? { MacAddress: macAddress } : {}),
    DriverOpts: driverOpts,
  } as Endpoint;
}

function networkMode({ networkMode: mode, networks }: ContainerSpec, around: Surroundings): string {
  if (mode !== null) return sharedMode(mode, around) ?? mode;
  const [first] = networks;
  return first ? around.networkName(first.network) : 'none';
}

/** "service:x" is Compose's word; the engine knows containers. */
function sharedMode(mode: string | null, around: Surroundings): string | undefined {
  if (!mode?.startsWith('service:')) return mode ?? undefined;
  return `container:${around.containerOf(mode.slice('service:'.length))}`;
}

function volumesFrom(from: string, around: Surroundings): string {
  if (from.startsWith('container:')) return from.slice('container:'.length);
  const [service = '', ...options] = from.split(':');
  return [around.containerOf(service), ...options].join(':');
}

/** As a text the engine takes what it does not as a mount: a folder that it makes, and a label for SELinux. */
function isBound(mount: ContainerMount): mount is ContainerMount & { type: 'bind' } {
  return mount.type === 'bind' && (mount.createHostPath || mount.selinux !== null);
}

function bindText({ source, target, readOnly, propagation, selinux }: ContainerMount & { type: 'bind' }): string {
  const options = [readOnly ? 'ro' : 'rw', propagation, selinux].filter((option) => option !== null);
  return `${source}:${absolute(target)}:${options.join(',')}`;
}

function mountOf(mount: ContainerMount, around: Surroundings): Docker.MountSettings {
  const common = { Target: absolute(mount.target), ReadOnly: mount.readOnly };
  if (mount.type === 'tmpfs') {
    const options = { SizeBytes: mount.size ?? 0, Mode: mount.mode ?? 0 };
    return { Type: 'tmpfs', Source: '', ...common, TmpfsOptions: options };
  }
  if (mount.type === 'bind') {
    const options = { Propagation: (mount.propagation ?? 'rprivate') as Docker.MountPropagation };
    return { Type: 'bind', Source: mount.source, ...common, BindOptions: options };
  }
  const options = { NoCopy: !mount.copy, ...(mount.subpath === null ? {} : { Subpath: mount.subpath }) };
  const source = mount.source === null ? '' : around.volumeName(mount.source);
  return { Type: 'volume', Source: source, ...common, VolumeOptions: options } as Docker.MountSettings;
}

function fileMount({ source, target, readOnly }: Surroundings['fileMounts'][number]): Docker.MountSettings {
  return { Type: 'bind', Source: source, Target: absolute(target), ReadOnly: readOnly };
}

/** Those of TCP that belong to an ingress are bound there. */
function portBindings({ ports, container }: InstanceSpec): Docker.PortMap {
  const bound = container?.behindIngress ? ports.filter(({ protocol }) => protocol === 'udp') : ports;
  const bindings = Map.groupBy(bound, portKey);
  return Object.fromEntries(
    [...bindings].map(([key, same]) => [
      key,
      same.map(({ host, published }) => ({ HostIp: host, HostPort: String(published) })),
    ]),
  );
}

function portKey({ target, protocol }: InstanceSpec['ports'][number]): string {
  return `${target}/${protocol}`;
}

/** Without one of its own a service has none, whatever its image says: whoever deploys takes over the image's. */
function healthcheckOf(check: Healthcheck | null): Docker.HealthConfig {
  if (check === null) return { Test: ['NONE'] };
  const { argv, intervalMs, timeoutMs, retries, startPeriodMs, startIntervalMs } = check;
  return {
    Test: ['CMD', ...argv],
    Interval: intervalMs * NS_PER_MS,
    Timeout: timeoutMs * NS_PER_MS,
    Retries: retries,
    StartPeriod: startPeriodMs * NS_PER_MS,
    StartInterval: startIntervalMs * NS_PER_MS,
  } as Docker.HealthConfig;
}

/** An empty list means to the engine that the image's own is kept. */
function cleared(entrypoint: string[]): string[] {
  return entrypoint.length === 0 ? [''] : entrypoint;
}
