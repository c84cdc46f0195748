import { isIP } from 'node:net';
import type { ContainerModel, NetworkAttachment } from './container-model.ts';
import { isGiven, readRecord, readText, readTexts } from './container-values.ts';
import { namesOf, type Place } from './place.ts';

type Networking = Pick<
  ContainerModel,
  | 'networkMode'
  | 'networks'
  | 'dns'
  | 'dnsOpt'
  | 'dnsSearch'
  | 'extraHosts'
  | 'macAddress'
  | 'expose'
  | 'appProtocols'
  | 'links'
>;

/** The engine's name of an interface that a network is attached by. */
const INTERFACE_OPTION = 'com.docker.network.endpoint.ifname';

export function readNetworking(service: Place): Networking {
  const networkMode = readNetworkMode(service.get('network_mode'));
  const { networks, macAddress } = readNetworks(service.get('networks'));
  return {
    networkMode,
    networks: networkMode === null ? networks : [],
    dns: readAddresses(service.get('dns')),
    dnsOpt: readTexts(service.get('dns_opt')),
    dnsSearch: readTexts(service.get('dns_search')),
    extraHosts: readHosts(service.get('extra_hosts')),
    macAddress: readText(service.get('mac_address')) ?? (networkMode === null ? macAddress : null),
    expose: readExposed(service.get('expose')),
    appProtocols: readAppProtocols(service.get('ports')),
    links: readTexts(service.get('links')).map((link) => (link.includes(':') ? link : `${link}:${link}`)),
  };
}

function readNetworkMode(place: Place): string | null {
  const mode = place.resolvedText();
  if (!mode) return null;
  if (mode === 'default') return 'bridge';
  if (mode === 'none' || mode === 'host' || mode === 'bridge' || /^(?:service|container):./.test(mode)) return mode;
  const suggestion = 'Write none, host, bridge or "service:name"; a network of the stack belongs under "networks".';
  place.error('network-mode-invalid', `${place.quote()} is not a mode of networks.`, suggestion);
  return null;
}

/** Priorities part them, then names, as other tools have it. Without any, there is the stack's "default". */
function readNetworks(place: Place): { networks: NetworkAttachment[]; macAddress: string | null } {
  const named = new Map(namesOf(place).filter(([name]) => !name.startsWith('x-')));
  if (named.size === 0) named.set('default', place.get('default'));
  const found = [...named].map(([network, at]) => {
    const name = readText(at.get('interface_name'));
    const attachment: NetworkAttachment = {
      network,
      aliases: readTexts(at.get('aliases')),
      ipv4Address: readAddress(at.get('ipv4_address'), 4),
      ipv6Address: readAddress(at.get('ipv6_address'), 6),
      linkLocalIps: readAddresses(at.get('link_local_ips')),
      driverOpts: { ...readRecord(at.get('driver_opts')), ...(name !== null && { [INTERFACE_OPTION]: name }) },
    };
    const priority = Number(at.get('priority').resolvedText() ?? 0);
    return { attachment, priority, macAddress: readText(at.get('mac_address')) };
  });
  found.sort((a, b) => b.priority - a.priority || (a.attachment.network < b.attachment.network ? -1 : 1));
  return { networks: found.map(({ attachment }) => attachment), macAddress: found[0]?.macAddress ?? null };
}

function readAddress(place: Place, version: 4 | 6): string | null {
  const text = readText(place);
  if (text === null || isIP(text) === version) return text;
  place.error('address-invalid', `${place.quote()} is not an IPv${version} address.`);
  return null;
}

function readAddresses(place: Place): string[] {
  for (const item of place.itemsOrOne()) {
    const text = item.resolvedText();
    if (text !== null && !isIP(text)) item.error('address-invalid', `${item.quote()} is not an IP address.`);
  }
  return readTexts(place).filter((text) => isIP(text));
}

/** "name:address", "name=address", or a mapping of names to one or several addresses; IPv6 with or without brackets. */
export function readHosts(place: Place): string[] {
  const named = place
    .entries()
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, inner]) => inner.itemsOrOne().map((at) => hostLine(name, at.resolvedText(), at)));
  const listed = place.items().map((item) => {
    const [, name = '', address = ''] = /^([^=:]+)[=:](.+)$/s.exec(item.resolvedText() ?? '') ?? [];
    return hostLine(name, address, item);
  });
  return [...new Set([...named, ...listed].flat())];
}

function hostLine(name: string, value: string | null, at: Place): string[] {
  if (name === '' || !value) return [];
  const address = value.trim().replace(/^\[(.*)\]$/, '$1');
  if (isIP(address) || address === 'host-gateway') return [`${name.trim()}:${address}`];
  const suggestion = 'Write it as "name=10.0.0.5", or "name=host-gateway" for the engine\'s host.';
  at.error('host-invalid', `${at.quote()} does not give a host an address.`, suggestion);
  return [];
}

const MAX_PORT = 65_535;
const MAX_EXPOSED = 1000;

/** "80", "3000-3005/udp": each port with its protocol. */
function readExposed(place: Place): string[] {
  const ports = new Set<string>();
  for (const item of place.items()) {
    const text = item.resolvedText();
    if (text === null) continue;
    const [, first, last = first, protocol = 'tcp'] =
      /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
    const [from, to] = [Number(first), Number(last)];
    if (!(from >= 1 && from <= to && to <= MAX_PORT)) {
      item.error('port-invalid', `${item.quote()} is not a port that can be exposed.`, 'Write it as "80" or "53/udp".');
      continue;
    }
    if (ports.size + to - from + 1 > MAX_EXPOSED) {
      item.error('too-many-ports', `A service may expose ${MAX_EXPOSED} ports; with this entry there are more.`);
      break;
    }
    for (let port = from; port <= to; port++) ports.add(`${port}/${protocol.toLowerCase()}`);
  }
  return [...ports];
}

/** By port of the container; the short form of a port says nothing of it. */
function readAppProtocols(place: Place): Record<string, string> {
  const given = place
    .items()
    .map((item) => [readText(item.get('target')), readText(item.get('app_protocol'))] as const);
  return Object.fromEntries(given.flatMap(([target, name]) => (target && name ? [[target, name.toLowerCase()]] : [])));
}

const MODE_EXCLUDES = [
  'ports',
  'expose',
  'hostname',
  'dns',
  'dns_opt',
  'dns_search',
  'extra_hosts',
  'links',
  'mac_address',
];

/** A container in another one's network has that one's ports and names. */
export function checkNetworkMode(networkMode: string | null, service: Place, services: ReadonlySet<string>): void {
  const at = service.get('network_mode');
  const [, kind, name = ''] = /^(service|container):(.*)$/.exec(networkMode ?? '') ?? [];
  if (kind === 'service' && !services.has(name)) {
    at.error(
      'network-mode-invalid',
      `${at.quote()} names no service of the stack.`,
      'Name one that is deployed with it.',
    );
  }
  if (kind !== undefined) {
    for (const key of MODE_EXCLUDES) {
      if (!isGiven(service.get(key))) continue;
      const message = `"${key}" is given, and the service has the network of another container.`;
      service.get(key).error('network-conflict', message, `Give "${key}" to the one whose network it is.`);
    }
  } else if (networkMode === 'host' || networkMode === 'none') {
    const what = networkMode === 'host' ? 'what the service listens on is on the host anyway' : 'nothing reaches it';
    for (const key of ['ports', 'links']) {
      if (!isGiven(service.get(key))) continue;
      service.get(key).warning('network-mode-unused', `With ${at.quote()} as its network, ${what}: this is not used.`);
    }
  }
}
