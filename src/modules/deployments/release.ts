import {
  type Dependency,
  dependencyOrder,
  type FileMount,
  peerVariablePrefix,
  type ServiceModel,
  type StackModel,
} from '../../compose/index.ts';
import type { InstanceFile, InstanceSpec, PortBinding, VolumeMount } from '../../runtimes/runtime.ts';
import { ANY_PORT, type PortPlan } from './ports.ts';
import {
  type ContainerSources,
  essenceOfContainer,
  renderContainer,
  type UpdatePolicy,
  updatePolicyOf,
} from './release-containers.ts';

/** One replica of a release: all of a runtime's spec but which instance it becomes. */
export type ReplicaSpec = Omit<InstanceSpec, 'instanceId'>;
export type ReleaseService = {
  name: string;
  dependsOn: Dependency[];
  /** What it is told of its peers, by the name of the variable. */
  peers: Record<string, string>;
  /** How ROLLING replaces its replicas; absent in releases of processes. */
  update?: UpdatePolicy;
  replicas: ReplicaSpec[];
};
/** What a deployment runs, with nothing left to resolve: services in the order in which they start. */
export type ReleaseSpecs = { services: ReleaseService[] };
/** What the database knows of a service without decrypting its release: a hash for each replica, 0 is replica 1. */
export type ServiceOutline = { configHashes: string[] };

export type ReleaseSources = {
  /** Its variables are filled in. */
  model: StackModel;
  ports: PortPlan;
  /** The release that is live now, if any. */
  former: ReleaseSpecs | null;
  /** Null: its services are processes. */
  containers: ContainerSources | null;
  /** Keyed: specs hold secrets. */
  hash(text: string): string;
};

/** Renders a stack. A service whose peers come and go, but do not move, stays what it was in the former release. */
export function renderRelease(sources: ReleaseSources): ReleaseSpecs {
  const { model, ports, former, containers } = sources;
  // Containers find each other by name.
  const peers = containers ? {} : peerVariables(ports);
  const services: ReleaseService[] = [];
  for (const name of dependencyOrder(model)) {
    const service = model.services[name]!;
    const before = former?.services.find((candidate) => candidate.name === name);
    if (before?.peers && stillHolds(before.peers, peers, service)) {
      const same = renderService(sources, service, before.peers, services);
      if (keepsReplica(same, before)) {
        services.push(same);
        continue;
      }
    }
    services.push(renderService(sources, service, peers, services));
  }
  return { services };
}

function stillHolds(told: Record<string, string>, peers: Record<string, string>, service: ServiceModel): boolean {
  const knowsThoseItNeeds = service.dependsOn.every(({ service: peer }) => {
    const variable = `${peerVariablePrefix(peer)}_PORT`;
    return peers[variable] === told[variable];
  });
  return knowsThoseItNeeds && Object.entries(told).every(([name, value]) => (peers[name] ?? value) === value);
}

/** Whether one replica at least stays as it is: then the others are told of the same peers, also those that are new. */
function keepsReplica(service: ReleaseService, before: ReleaseService): boolean {
  return service.replicas.some(({ configHash }, index) => configHash === before.replicas[index]?.configHash);
}

function renderService(
  { model, ports, containers, hash }: ReleaseSources,
  service: ServiceModel,
  peers: Record<string, string>,
  earlier: readonly ReleaseService[],
): ReleaseService {
  const { name } = service;
  const shared = {
    ...renderShared(model, service, containers !== null),
    ...(containers && renderContainer(model, service, containers, earlier)),
  };
  const sharedHash = hash(JSON.stringify([essenceOf(shared), peers]));
  // Each by itself: how many others there are makes no difference to a replica.
  const replicas = (ports[name] ?? []).map((bindings, index): ReplicaSpec => {
    const own = { replica: index + 1, ports: bindings };
    // What the compose file says wins over what we offer.
    const offered = containers ? {} : { ...peers, ...portVariables(bindings) };
    const environment = { ...offered, ...shared.environment };
    return { ...shared, ...own, environment, configHash: hash(JSON.stringify([sharedHash, own])) };
  });
  return {
    name,
    dependsOn: service.dependsOn.filter((dependency) => Object.hasOwn(model.services, dependency.service)),
    peers,
    ...(containers && { update: updatePolicyOf(service) }),
    replicas,
  };
}

type SharedSpec = Omit<ReplicaSpec, 'replica' | 'ports' | 'configHash'>;

/** What a process that is equal was always hashed as stays so. */
function essenceOf({ container, ...shared }: SharedSpec): unknown {
  return container ? { ...shared, container: essenceOfContainer(container) } : shared;
}

/** What all replicas of a service have in common. */
function renderShared(model: StackModel, service: ServiceModel, isContainer: boolean): SharedSpec {
  const given = Object.entries(service.environment).filter((entry): entry is [string, string] => entry[1] !== null);
  return {
    service: service.name,
    argv: [...(service.entrypoint ?? []), ...(service.command ?? [])],
    environment: Object.fromEntries(given),
    workingDir: service.workingDir,
    files: filesOf(model, service, isContainer),
    volumes: volumesOf(service),
    healthcheck: service.healthcheck,
    restart: service.restart,
    stopSignal: service.stopSignal as NodeJS.Signals,
    stopGracePeriodMs: service.stopGracePeriodMs,
  };
}

/** PORT is the first published port, PORT_<target> each: a process listens there, not on the target. */
function portVariables(ports: PortBinding[]): Record<string, string> {
  const variables: Record<string, string> = {};
  if (ports[0]) variables.PORT = portText(ports[0]);
  for (const port of ports) if (port.target !== ANY_PORT) variables[`PORT_${port.target}`] = portText(port);
  return variables;
}

const portText = ({ published }: PortBinding): string => (published === ANY_PORT ? '(a free port)' : String(published));

/** Where a port of a service is to be found: "0.0.0.0:8080". */
export function bindingText(port: PortBinding): string {
  return `${port.host}:${portText(port)}`;
}

/** <SERVICE>_HOST and <SERVICE>_PORT of every service: names do not resolve between processes. */
function peerVariables(ports: PortPlan): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, replicas] of Object.entries(ports)) {
    const first = replicas[0]?.[0];
    if (!first) continue;
    const prefix = peerVariablePrefix(name);
    variables[`${prefix}_HOST`] = first.host === '0.0.0.0' || first.host === '::' ? '127.0.0.1' : first.host;
    variables[`${prefix}_PORT`] = portText(first);
  }
  return variables;
}

function filesOf(model: StackModel, service: ServiceModel, isContainer: boolean): InstanceFile[] {
  const mounted = [
    ...service.configs.map((mount) => ({ mount, source: model.configs[mount.source] })),
    ...service.secrets.map((mount) => ({ mount, source: model.secrets[mount.source] })),
  ];
  const files = mounted.map(({ mount, source }) => ({
    target: mount.target,
    content: source?.content ?? '',
    mode: mount.mode,
    ...(isContainer && ownerOf(mount)),
  }));
  return isContainer ? [...files, ...service.container.files] : files;
}

/** Names of users are the image's own: a number alone means the same everywhere. */
function ownerOf({ uid, gid }: FileMount): Pick<InstanceFile, 'uid' | 'gid'> {
  const number = (text: string | null) => (text !== null && /^\d+$/.test(text) ? Number(text) : undefined);
  return {
    ...(number(uid) !== undefined && { uid: number(uid) }),
    ...(number(gid) !== undefined && { gid: number(gid) }),
  };
}

function volumesOf(service: ServiceModel): VolumeMount[] {
  return service.volumes
    .filter((mount) => mount.type === 'volume')
    .map((mount, index) => ({
      name: mount.source ?? `${service.name}-${index + 1}`,
      target: mount.target,
      readOnly: mount.readOnly,
    }));
}

/** The outlines of a release as they are stored: by service. */
export function outlinesOf(specs: ReleaseSpecs): Record<string, ServiceOutline> {
  return Object.fromEntries(
    specs.services.map(({ name, replicas }) => [name, { configHashes: replicas.map(({ configHash }) => configHash) }]),
  );
}

/** Host ports of a release as they are stored: by service, then by replica. */
export function portPlanOf(specs: ReleaseSpecs): PortPlan {
  return Object.fromEntries(specs.services.map(({ name, replicas }) => [name, replicas.map(({ ports }) => ports)]));
}
