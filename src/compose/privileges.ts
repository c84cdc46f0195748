import type { ContainerModel, ContainerMount, ContainerNetwork, ContainerVolume } from './container-model.ts';
import type { Path } from './finding.ts';
import { plainHostPath, reachesEngine } from './host-paths.ts';
import type { ServiceModel, StackModel } from './model.ts';

/** What a stack may ask of a host beyond a container of its own. */
export type Privilege =
  | 'privileged'
  | 'host-network'
  | 'host-namespaces'
  | 'host-paths'
  | 'docker-socket'
  | 'capabilities'
  | 'devices'
  | 'security-opt';

/** Each privilege, and what a file asks for it with. */
export const PRIVILEGES: Readonly<Record<Privilege, string>> = {
  privileged:
    "`privileged`, `cgroup_parent`, a `runtime` other than runc, `sysctls` that are the whole host's, rights of a build",
  'host-network':
    '`network_mode` host, bridge or `container:…`; a network that is external, has a `name` of its own, a driver other than bridge and overlay, or options that reach networks of the host; the network of a build',
  'host-namespaces': '`pid`, `ipc`, `uts`, `userns_mode` or `cgroup` of the host or of a container of others',
  'host-paths':
    'a bind mount; a volume that is external, has a `name` of its own, a driver other than local, or options that mount something of the host; `volumes_from` a container of others',
  'docker-socket':
    "a mount by which an engine's socket or data is reached, as far as its path tells: also `/`, `/var`, `/run` and `/proc`; `host-paths` is needed too",
  capabilities: '`cap_add` of what an engine does not give every container',
  devices: '`devices`, `device_cgroup_rules`, `gpus`',
  'security-opt': '`security_opt`, but for `no-new-privileges`, `apparmor=docker-default` and `seccomp=builtin`',
};

/** `what`: a clause such as `the capability SYS_ADMIN`. It may hold values of variables. */
export type PrivilegeUse = { privilege: Privilege; service: string; path: Path; what: string };

/** What an engine gives every container. */
const DEFAULT_CAPABILITIES = new Set(
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT'.split(
    ' ',
  ),
);
/** Options that take nothing away from a container's isolation. */
const HARMLESS_OPTION = /^(?:no-new-privileges(?:=true)?|apparmor=docker-default|seccomp=builtin)$/;
/** Kernel parameters that each container has for itself. */
const NAMESPACED =
  /^(?:net\..+|fs\.mqueue\..+|kernel\.(?:domainname|hostname|msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced))$/;
const DEFAULT_RUNTIMES = new Set(['runc', 'io.containerd.runc.v2']);

/**
 * Every use of what an owner has to allow, in the order of the file's services. What exists outside of the stack counts too: a volume or
 * network that is external or has a name of its own may be another stack's, and so is "host-paths" or "host-network".
 */
export function privilegesOf(model: StackModel): PrivilegeUse[] {
  return Object.values(model.services).flatMap((service) => usesOf(service, model));
}

type Use = [privilege: Privilege, key: string | string[], what: string];

function usesOf(service: ServiceModel, model: StackModel): PrivilegeUse[] {
  const { container } = service;
  const uses: Use[] = [
    ...isolationUses(container),
    ...namespaceUses(container),
    ...deviceUses(container, service.other),
    ...buildUses(container, service.other),
    ...container.mounts.flatMap((mount) => mountUses(mount, model.volumeDefinitions)),
    ...container.networks.flatMap(({ network }) => networkUses(network, model.networkDefinitions)),
  ];
  return uses.map(([privilege, key, what]) => ({
    privilege,
    service: service.name,
    path: ['services', service.name, ...[key].flat()],
    what,
  }));
}

function isolationUses(container: ContainerModel): Use[] {
  const uses: Use[] = [];
  const { capAdd, securityOpt, sysctls, cgroupParent, runtime } = container;
  if (container.privileged) uses.push(['privileged', 'privileged', 'all rights of the host']);
  for (const name of capAdd) {
    if (!DEFAULT_CAPABILITIES.has(name)) uses.push(['capabilities', 'cap_add', `the capability ${name}`]);
  }
  for (const option of securityOpt) {
    const name = option.startsWith('seccomp={') ? 'seccomp with a profile of its own' : option;
    if (!HARMLESS_OPTION.test(option)) uses.push(['security-opt', 'security_opt', `the security option ${name}`]);
  }
  for (const name of Object.keys(sysctls)) {
    const plain = name.replaceAll('/', '.');
    if (!NAMESPACED.test(plain)) uses.push(['privileged', 'sysctls', `the kernel parameter ${name} of the host`]);
  }
  if (cgroupParent !== null) uses.push(['privileged', 'cgroup_parent', `the control group "${cgroupParent}"`]);
  if (runtime !== null && !DEFAULT_RUNTIMES.has(runtime)) {
    uses.push(['privileged', 'runtime', `the engine's runtime "${runtime}"`]);
  }
  return uses;
}

/** Modes that keep a container to itself or to its stack. */
const OWN_NAMESPACE = /^(?:private|shareable|none|service:.*)$/;

function namespaceUses(container: ContainerModel): Use[] {
  const { networkMode, ipc, pid, uts, userns, cgroup, volumesFrom } = container;
  const uses: Use[] = [];
  if (networkMode !== null && !OWN_NAMESPACE.test(networkMode)) {
    uses.push(['host-network', 'network_mode', `the network "${networkMode}"`]);
  }
  const namespaces: [key: string, mode: string | null][] = [
    ['ipc', ipc],
    ['pid', pid],
    ['uts', uts],
    ['userns_mode', userns],
    ['cgroup', cgroup],
  ];
  for (const [key, mode] of namespaces) {
    if (mode !== null && !OWN_NAMESPACE.test(mode))
      uses.push(['host-namespaces', key, `the namespace "${key}: ${mode}"`]);
  }
  for (const source of volumesFrom) {
    if (source.startsWith('container:')) uses.push(['host-paths', 'volumes_from', `the volumes of "${source}"`]);
  }
  return uses;
}

function deviceUses({ devices, deviceCgroupRules }: ContainerModel, other: Record<string, unknown>): Use[] {
  const reserved = at(other, 'deploy', 'resources', 'reservations', 'devices');
  const uses: Use[] = devices.map(({ source }): Use => ['devices', 'devices', `the device "${source}"`]);
  for (const rule of deviceCgroupRules) uses.push(['devices', 'device_cgroup_rules', `devices by the rule "${rule}"`]);
  const socket = other.use_api_socket;
  if (socket === true || socket === 'true') uses.push(['docker-socket', 'use_api_socket', "the engine's socket"]);
  if (isSomething(other.gpus)) uses.push(['devices', 'gpus', 'GPUs']);
  if (isSomething(reserved)) {
    uses.push(['devices', ['deploy', 'resources', 'reservations', 'devices'], 'devices that it reserves']);
  }
  return uses;
}

/** A build runs commands too. */
function buildUses({ build }: ContainerModel, other: Record<string, unknown>): Use[] {
  const uses: Use[] = [];
  const network = build?.network ?? null;
  if (network !== null && network !== 'none' && network !== 'default') {
    uses.push(['host-network', ['build', 'network'], `the network "${network}" for its build`]);
  }
  const privileged = at(other, 'build', 'privileged');
  if (privileged !== undefined && !/^(?:false|no|n|off|f|0)$/i.test(String(privileged))) {
    uses.push(['privileged', ['build', 'privileged'], 'all rights of the host for its build']);
  }
  if (isSomething(at(other, 'build', 'entitlements'))) {
    uses.push(['privileged', ['build', 'entitlements'], 'further rights for its build']);
  }
  return uses;
}

function mountUses(mount: ContainerMount, volumes: Record<string, ContainerVolume>): Use[] {
  if (mount.type === 'bind') return hostPathUses(mount.source);
  if (mount.type !== 'volume' || mount.source === null) return [];
  const volume = Object.hasOwn(volumes, mount.source) ? volumes[mount.source]! : null;
  return volume ? volumeUses(mount.source, volume) : [];
}

function hostPathUses(path: string): Use[] {
  const plain = plainHostPath(path);
  const uses: Use[] = [['host-paths', 'volumes', `the path "${plain}" of the host`]];
  if (reachesEngine(path))
    uses.push(['docker-socket', 'volumes', `the engine's socket or data by the path "${plain}"`]);
  return uses;
}

/** Kinds of file systems that come from elsewhere than the host. */
const REMOTE = new Set(['nfs', 'nfs4', 'cifs', 'smb3', 'tmpfs']);

function volumeUses(key: string, { external, name, driver, driverOpts }: ContainerVolume): Use[] {
  if (external || name !== null) {
    return [['host-paths', 'volumes', `the volume "${name ?? key}", which may be another stack's`]];
  }
  if (driver !== null && driver !== 'local') {
    return [['host-paths', 'volumes', `a volume of the driver "${driver}"`]];
  }
  const { type = '', device = '', o = '' } = lowerKeys(driverOpts);
  const isBind = o.split(',').some((option) => /^(?:r?bind|move|remount)$/i.test(option.trim()));
  if (Object.keys(driverOpts).length === 0 || (REMOTE.has(type.toLowerCase()) && !isBind)) return [];
  const paths = [device, ...[...o.matchAll(/dir=([^,]+)/g)].flatMap((match) => match[1]!.split(':'))];
  const known = paths.filter((path) => path.startsWith('/'));
  return known.length > 0
    ? known.flatMap(hostPathUses)
    : [['host-paths', 'volumes', `the volume "${key}", which its options make of something of the host`]];
}

/** Drivers whose networks are the stack's own, and options that do not change that. */
const OWN_NETWORKS = new Set(['bridge', 'overlay']);
const HARMLESS_NETWORK_OPTION =
  /^com\.docker\.network\.(?:driver\.mtu|container_iface_prefix|bridge\.(?:enable_icc|enable_ip_masquerade|host_binding_ipv[46]))$/;

function networkUses(key: string, networks: Record<string, ContainerNetwork>): Use[] {
  const network = Object.hasOwn(networks, key) ? networks[key]! : null;
  if (!network) return [];
  const { external, name, driver, driverOpts, ipam } = network;
  const use = (what: string): Use => ['host-network', 'networks', what];
  if (external || name !== null) return [use(`the network "${name ?? key}", which may be another stack's`)];
  if (driver !== null && !OWN_NETWORKS.has(driver)) return [use(`a network of the driver "${driver}"`)];
  const option = Object.keys(driverOpts).find((known) => !HARMLESS_NETWORK_OPTION.test(known));
  if (option !== undefined) return [use(`a network with the option "${option}"`)];
  if (ipam.driver !== null && ipam.driver !== 'default') return [use(`addresses of the driver "${ipam.driver}"`)];
  return [];
}

function lowerKeys(options: Record<string, string>): { [key: string]: string | undefined } {
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key.toLowerCase(), value]));
}

function at(value: unknown, ...keys: string[]): unknown {
  let inner = value;
  for (const key of keys) {
    if (typeof inner !== 'object' || inner === null || !Object.hasOwn(inner, key)) return undefined;
    inner = (inner as Record<string, unknown>)[key];
  }
  return inner ?? undefined;
}

function isSomething(value: unknown): boolean {
  return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
}
