import type Docker from 'dockerode';
import type { ContainerNetwork, ContainerVolume } from '../../compose/index.ts';
import { type ContainerSpec, RuntimeError, type StackRef } from '../runtime.ts';
import { type Engine, EngineError } from './connection.ts';
import { labelled, STACK, stackLabels } from './labels.ts';

const CONFLICT = 409;
const NOT_FOUND = 404;
const NO_NETWORK: ContainerNetwork = {
  name: null,
  external: false,
  internal: false,
  attachable: false,
  driver: null,
  driverOpts: {},
  enableIpv6: false,
  ipam: { driver: null, options: {}, pools: [] },
  labels: {},
};
const NO_VOLUME: ContainerVolume = { name: null, external: false, driver: null, driverOpts: {}, labels: {} };

export function networkName({ project, networkDefinitions }: ContainerSpec, key: string): string {
  const { name, external } = networkDefinitions[key] ?? NO_NETWORK;
  return name ?? (external ? key : `${project}_${key}`);
}

export function volumeName({ project, volumeDefinitions }: ContainerSpec, key: string): string {
  const { name, external } = volumeDefinitions[key] ?? NO_VOLUME;
  return name ?? (external ? key : `${project}_${key}`);
}

/** Makes the networks and volumes of a container that are missing. @throws {RuntimeError} where one of somebody else's is */
export async function prepareNetworksAndVolumes(
  engine: Engine,
  stack: StackRef,
  container: ContainerSpec,
): Promise<void> {
  const keys = container.networkMode === null ? container.networks.map(({ network }) => network) : [];
  for (const key of new Set(keys)) await prepareNetwork(engine, stack, container, key);
  const volumes = container.mounts.flatMap((mount) => (mount.type === 'volume' ? (mount.source ?? []) : []));
  for (const key of new Set(volumes)) await prepareVolume(engine, stack, container, key);
}

/** Deletes what was made for a stack. */
export async function removeNetworks(engine: Engine, stack: StackRef): Promise<void> {
  const query = { filters: labelled(`${STACK}=${stack.id}`) };
  const networks = await engine.get<Docker.NetworkInspectInfo[]>('/networks', { query });
  for (const { Id } of networks) await ignoring(NOT_FOUND, engine.delete(`/networks/${Id}`));
}

export async function removeVolumes(engine: Engine, ...labels: string[]): Promise<void> {
  const query = { filters: labelled(...labels) };
  const { Volumes: volumes } = await engine.get<{ Volumes: { Name: string }[] | null }>('/volumes', { query });
  for (const { Name } of volumes ?? [])
    await ignoring(NOT_FOUND, engine.delete(`/volumes/${encodeURIComponent(Name)}`));
}

/** Resolves with null where the engine answers with this status. */
export async function ignoring<T>(status: number, answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof EngineError && error.status === status) return null;
    throw error;
  }
}

async function prepareNetwork(engine: Engine, stack: StackRef, container: ContainerSpec, key: string): Promise<void> {
  const name = networkName(container, key);
  const definition = container.networkDefinitions[key] ?? NO_NETWORK;
  if (await hasNetwork(engine, name)) return;
  if (definition.external) {
    throw new RuntimeError(`network ${name} is external and not there: create it with "docker network create ${name}"`);
  }
  const { driver, driverOpts, internal, attachable, enableIpv6, ipam, labels } = definition;
  const body = {
    Name: name,
    CheckDuplicate: true,
    ...(driver === null ? {} : { Driver: driver }),
    Options: driverOpts,
    Internal: internal,
    Attachable: attachable,
    EnableIPv6: enableIpv6,
    ...ipamOf(ipam),
    Labels: {
      ...labels,
      ...stackLabels(stack),
      'com.docker.compose.network': key,
      'com.docker.compose.project': container.project,
    },
  };
  await ignoring(CONFLICT, engine.post('/networks/create', { body }));
}

async function hasNetwork(engine: Engine, name: string): Promise<boolean> {
  const query = { filters: JSON.stringify({ name: [name] }) };
  const networks = await engine.get<Docker.NetworkInspectInfo[]>('/networks', { query });
  // The engine's filter takes a part of a name for it.
  return networks.some((network) => network.Name === name);
}

function ipamOf({ driver, options, pools }: ContainerNetwork['ipam']): object {
  if (driver === null && pools.length === 0 && Object.keys(options).length === 0) return {};
  const config = pools.map(({ subnet, ipRange, gateway }) => ({
    ...(subnet === null ? {} : { Subnet: subnet }),
    ...(ipRange === null ? {} : { IPRange: ipRange }),
    ...(gateway === null ? {} : { Gateway: gateway }),
  }));
  return { IPAM: { Driver: driver ?? 'default', Options: options, Config: config } };
}

async function prepareVolume(engine: Engine, stack: StackRef, container: ContainerSpec, key: string): Promise<void> {
  const name = volumeName(container, key);
  const definition = container.volumeDefinitions[key] ?? NO_VOLUME;
  if (await ignoring(NOT_FOUND, engine.get(`/volumes/${encodeURIComponent(name)}`))) return;
  if (definition.external) {
    throw new RuntimeError(`volume ${name} is external and not there: create it with "docker volume create ${name}"`);
  }
  const body = {
    Name: name,
    ...(definition.driver === null ? {} : { Driver: definition.driver }),
    DriverOpts: definition.driverOpts,
    Labels: {
      ...definition.labels,
      ...stackLabels(stack),
      'com.docker.compose.volume': key,
      'com.docker.compose.project': container.project,
    },
  };
  await engine.post('/volumes/create', { body });
}
