import type { ContainerNetwork, ContainerVolume, IpamPool } from './container-model.ts';
import { readRecord, readText } from './container-values.ts';
import type { ServiceModel } from './model.ts';
import type { Place } from './place.ts';

/** The networks that services are attached to, the implicit "default" among them, by key. */
export function readNetworkDefinitions(
  top: Place,
  services: readonly ServiceModel[],
): Record<string, ContainerNetwork> {
  const used = services.flatMap(({ container }) => container.networks.map(({ network }) => network));
  const networks = top.get('networks');
  const known = [...new Set(used)].sort().filter((name) => name === 'default' || networks.has(name));
  return Object.fromEntries(known.map((name) => [name, readNetwork(name, networks.get(name))]));
}

/** The volumes that services mount, by key. */
export function readVolumeDefinitions(top: Place, services: readonly ServiceModel[]): Record<string, ContainerVolume> {
  const used = services.flatMap(({ container }) =>
    container.mounts.flatMap((mount) => (mount.type === 'volume' && mount.source !== null ? [mount.source] : [])),
  );
  const volumes = top.get('volumes');
  const known = [...new Set(used)].sort().filter((name) => volumes.has(name));
  return Object.fromEntries(known.map((name) => [name, readVolume(name, volumes.get(name))]));
}

function readNetwork(key: string, place: Place): ContainerNetwork {
  const ipam = place.get('ipam');
  return {
    ...readIdentity(key, place),
    internal: place.get('internal').truth() ?? false,
    attachable: place.get('attachable').truth() ?? false,
    driver: readText(place.get('driver')),
    driverOpts: readRecord(place.get('driver_opts')),
    enableIpv6: place.get('enable_ipv6').truth() ?? false,
    ipam: {
      driver: readText(ipam.get('driver')),
      options: readRecord(ipam.get('options')),
      pools: ipam.get('config').items().map(readPool),
    },
    labels: readRecord(place.get('labels')),
  };
}

function readPool(place: Place): IpamPool {
  return {
    subnet: readText(place.get('subnet')),
    ipRange: readText(place.get('ip_range')),
    gateway: readText(place.get('gateway')),
  };
}

function readVolume(key: string, place: Place): ContainerVolume {
  return {
    ...readIdentity(key, place),
    driver: readText(place.get('driver')),
    driverOpts: readRecord(place.get('driver_opts')),
    labels: readRecord(place.get('labels')),
  };
}

/** What exists elsewhere has its key as its name, unless it says otherwise. */
function readIdentity(key: string, place: Place): { name: string | null; external: boolean } {
  const external = place.get('external');
  const isExternal = external.isMap || external.truth() === true;
  const name = readText(place.get('name')) ?? readText(external.get('name'));
  return { name: name ?? (isExternal ? key : null), external: isExternal };
}
