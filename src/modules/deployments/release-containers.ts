import { createHash } from 'node:crypto';
import { argvOf, type ServiceModel, type StackModel } from '../../compose/index.ts';
import type { ContainerSpec, Healthcheck, ImageRequest, ResolvedImage, Runtime } from '../../runtimes/runtime.ts';
import type { ReleaseService, ReplicaSpec } from './release.ts';

/** Together under the 63 characters of a name in DNS. */
const STACK_LENGTH = 30;
const ENVIRONMENT_LENGTH = 20;
const SUFFIX_LENGTH = 8;

/** `deploy.update_config`. `parallelism` 0: all at once. */
export type UpdatePolicy = { parallelism: number; order: 'start-first' | 'stop-first' };

/** Other than Compose we start first where nothing is said: that is what ROLLING is for. */
export function updatePolicyOf({ other }: ServiceModel): UpdatePolicy {
  const { update_config: written = {} } = (other.deploy ?? {}) as { update_config?: Record<string, unknown> };
  const parallelism = written.parallelism === undefined ? 1 : Number(written.parallelism);
  return { parallelism, order: written.order === 'stop-first' ? 'stop-first' : 'start-first' };
}

/** What makes the services of a stack containers. */
export type ContainerSources = {
  project: string;
  /** By service; null where it is not known yet what the image will be. */
  images: ReadonlyMap<string, ResolvedImage | null>;
};

/** Names a stack in an environment for its engine: never another one, since volumes are named after it. */
export function projectName(place: {
  stackId: string;
  environmentId: string;
  stackSlug: string;
  environmentSlug: string;
}): string {
  const { stackId, environmentId, stackSlug, environmentSlug } = place;
  const suffix = createHash('sha256').update(`${stackId}\n${environmentId}`).digest('hex').slice(0, SUFFIX_LENGTH);
  const names = [stackSlug.slice(0, STACK_LENGTH), environmentSlug.slice(0, ENVIRONMENT_LENGTH), suffix];
  return names.join('-').replace(/^-+/, '');
}

/** The images that a stack runs, one for each service. */
export function imageRequests(model: StackModel): ImageRequest[] {
  return Object.values(model.services).map(({ name, image, container: { build, pullPolicy, platform } }) => ({
    service: name,
    name: image,
    build,
    pullPolicy,
    platform,
  }));
}

/** What the images come to as far as it is known now, for a plan; nothing is pulled or built. */
export async function lookForImages(
  runtime: Pick<Runtime, 'images'> | null,
  stack: Parameters<NonNullable<Runtime['images']>['look']>[0],
  model: StackModel,
): Promise<ContainerSources['images']> {
  const requests = imageRequests(model);
  const found = (await runtime?.images?.look(stack, requests)) ?? [];
  return new Map(requests.map(({ service }, index) => [service, found[index] ?? null]));
}

/** In the place of an image that is not known before it is pulled or built. */
function unknownImage({ image, name, container }: ServiceModel): ResolvedImage {
  return {
    name: image ?? `(built for ${name})`,
    id: '',
    digest: null,
    platform: container.platform,
    healthcheck: null,
  };
}

/** What all replicas of a service have in common in their containers. */
export function renderContainer(
  model: StackModel,
  service: ServiceModel,
  { project, images }: ContainerSources,
  others: readonly ReleaseService[],
): Pick<ReplicaSpec, 'argv' | 'volumes' | 'healthcheck'> & { container: ContainerSpec } {
  const { build: _build, pullPolicy: _policy, platform: _platform, files: _files, ...container } = service.container;
  const image = images.get(service.name) ?? unknownImage(service);
  const attached = container.networks.map(({ network }) => network);
  const mounted = container.mounts.flatMap((mount) => (mount.type === 'volume' ? (mount.source ?? []) : []));
  return {
    argv: argvOf(service),
    volumes: [],
    healthcheck: healthcheckOf(service, image),
    container: {
      ...container,
      project,
      image,
      behindIngress: model.ingress && service.ports.length > 0,
      ...joinedBy(service.container, others),
      networkDefinitions: pick(model.networkDefinitions, attached),
      volumeDefinitions: pick(model.volumeDefinitions, mounted),
    },
  };
}

function joinedBy(
  { networkMode, ipc, pid, volumesFrom }: ServiceModel['container'],
  others: readonly ReleaseService[],
): Pick<ContainerSpec, 'joined'> {
  const shared = [networkMode, ipc, pid].flatMap((mode) => /^service:(.+)$/.exec(mode ?? '')?.[1] ?? []);
  const mounted = volumesFrom.filter((from) => !from.startsWith('container:')).map((from) => from.split(':')[0]);
  const joined = others.filter(({ name }) => shared.includes(name) || mounted.includes(name));
  if (joined.length === 0) return {};
  return { joined: Object.fromEntries(joined.map(({ name, replicas }) => [name, replicas[0]?.configHash ?? ''])) };
}

/** The service's own; the image's, unless the service does without. */
function healthcheckOf({ healthcheck, container }: ServiceModel, image: ResolvedImage): Healthcheck | null {
  return healthcheck ?? (container.noHealthcheck ? null : image.healthcheck);
}

function pick<T>(record: Record<string, T>, keys: readonly string[]): Record<string, T> {
  return Object.fromEntries(keys.flatMap((key) => (record[key] === undefined ? [] : [[key, record[key]]])));
}

/** What decides whether two containers run the same: by which name an image was found makes no difference. */
export function essenceOfContainer({ image, ...container }: ContainerSpec): unknown {
  return { ...container, image: image.id };
}

const SHORT_ID_LENGTH = 12;

/** A container in the words of a compose file. */
export function shownContainer(container: ContainerSpec): Record<string, unknown> {
  const { resources, image, mounts, networks } = container;
  return withoutNothing({
    image:
      image.id === '' ? image.name : `${image.name} (${image.id.replace(/^sha256:/, '').slice(0, SHORT_ID_LENGTH)})`,
    entrypoint: container.entrypoint,
    command: container.command,
    user: container.user,
    group_add: container.groupAdd,
    hostname: container.hostname,
    domainname: container.domainname,
    container_name: container.containerName,
    labels: container.labels,
    annotations: container.annotations,
    tty: container.tty,
    stdin_open: container.stdinOpen,
    init: container.init,
    read_only: container.readOnly,
    privileged: container.privileged,
    cap_add: container.capAdd,
    cap_drop: container.capDrop,
    security_opt: container.securityOpt,
    devices: container.devices.map(({ source, target, permissions }) => `${source}:${target}:${permissions}`),
    device_cgroup_rules: container.deviceCgroupRules,
    sysctls: container.sysctls,
    ulimits: container.ulimits,
    storage_opt: container.storageOpt,
    cpus: resources.nanoCpus === null ? null : resources.nanoCpus / 1e9,
    cpu_shares: resources.cpuShares,
    cpu_period: resources.cpuPeriod,
    cpu_quota: resources.cpuQuota,
    cpuset: resources.cpuset,
    mem_limit: resources.memory,
    mem_reservation: resources.memoryReservation,
    memswap_limit: resources.memorySwap,
    mem_swappiness: resources.memorySwappiness,
    pids_limit: resources.pids,
    shm_size: resources.shm,
    oom_kill_disable: resources.oomKillDisable,
    oom_score_adj: resources.oomScoreAdj,
    containers_of: Object.fromEntries(
      Object.entries(container.joined ?? {}).map(([name, hash]) => [name, hash.slice(0, SHORT_ID_LENGTH)]),
    ),
    network_mode: container.networkMode,
    networks: Object.fromEntries(networks.map(({ network, ...attachment }) => [network, withoutNothing(attachment)])),
    dns: container.dns,
    dns_opt: container.dnsOpt,
    dns_search: container.dnsSearch,
    extra_hosts: container.extraHosts,
    mac_address: container.macAddress,
    expose: container.expose,
    app_protocols: container.appProtocols,
    links: container.links,
    ipc: container.ipc,
    pid: container.pid,
    uts: container.uts,
    userns_mode: container.userns,
    cgroup: container.cgroup,
    cgroup_parent: container.cgroupParent,
    runtime: container.runtime,
    volumes: Object.fromEntries(mounts.map(({ target, ...mount }) => [target, withoutNothing(mount)])),
    volumes_from: container.volumesFrom,
    logging: container.logging,
    network_definitions: container.networkDefinitions,
    volume_definitions: container.volumeDefinitions,
  });
}

/** What is not asked for does not show. */
function withoutNothing(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => !isNothing(value)));
}

function isNothing(value: unknown): boolean {
  if (value === null || value === undefined || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
