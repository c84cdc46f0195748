import { isIP } from 'node:net';
import { formatPort, type PortMapping } from './model.ts';
import type { Place } from './place.ts';

/** A service may have this many ports, ranges written out. */
export const MAX_PORTS = 1000;
const MAX_PORT = 65_535;

export type LocatedPort = { port: PortMapping; place: Place };
type Range = { first: number; last: number };

/** A service's ports, and how a list of services shows them: an entry whose variables are not known as it stands. */
export function readPorts(place: Place): { ports: LocatedPort[]; shown: string[] } {
  const ports: LocatedPort[] = [];
  const shown: string[] = [];
  // The same mapping twice counts once, as the Compose Specification has it.
  const known = new Set<string>();
  for (const item of place.items()) {
    const unresolved = item.isUnresolved || item.entries().some(([, value]) => value.isUnresolved);
    if (unresolved) {
      shown.push(item.isMap ? (item.get('target').text() ?? '') : (item.text() ?? ''));
      continue;
    }
    const read = item.isMap ? readLong(item) : readShort(item);
    if (ports.length + read.length > MAX_PORTS) {
      item.error('too-many-ports', `A service may have ${MAX_PORTS} ports; with this entry there are more.`);
      break;
    }
    for (const port of read) {
      const text = formatPort(port);
      if (known.has(text)) continue;
      known.add(text);
      ports.push({ port, place: item });
      shown.push(text);
    }
  }
  return { ports, shown };
}

const SHORT_HINT = 'Write it as "8080:80", "127.0.0.1:8080:80", "8000-8010:80" or "53:53/udp".';

function readShort(item: Place): PortMapping[] {
  const text = item.text();
  if (text === null) return [];
  const { address, published, target, protocol } = splitShort(text);
  const targetRange = parseRange(target);
  const publishedRange = published === '' ? null : parseRange(published);
  if (!targetRange || (published !== '' && !publishedRange)) {
    item.error('port-invalid', `${item.quote()} is not a port mapping.`, SHORT_HINT);
    return [];
  }
  if (address && !isIP(address)) {
    item.error('port-invalid', `The address in ${item.quote()} is not an IP address.`, SHORT_HINT);
    return [];
  }
  const hostIp = address || null;
  return pair(item, { target: targetRange, published: publishedRange, hostIp, protocol: protocolOf(item, protocol) });
}

/** "[address:][published]:target[/protocol]"; an IPv6 address with or without brackets. */
function splitShort(text: string): { address: string; published: string; target: string; protocol: string } {
  const slash = text.lastIndexOf('/');
  const protocol = slash < 0 ? 'tcp' : text.slice(slash + 1);
  const mapping = slash < 0 ? text : text.slice(0, slash);
  const [, bracketed, rest = mapping] = /^\[([^\]]*)\]:(.*)$/s.exec(mapping) ?? [];
  const parts = rest.split(':');
  const address = bracketed ?? parts.slice(0, -2).join(':');
  return { address, published: parts.at(-2) ?? '', target: parts.at(-1) ?? '', protocol };
}

function readLong(item: Place): PortMapping[] {
  const targetPlace = item.get('target');
  if (!targetPlace.exists) {
    item.error('port-invalid', 'This port lacks "target", the port inside of the service.');
    return [];
  }
  const target = targetPlace.whole(1, MAX_PORT);
  if (target === null) return [];
  const publishedText = item.get('published').text();
  const published = publishedText ? parseRange(publishedText) : null;
  if (publishedText && !published) {
    item
      .get('published')
      .error('port-invalid', `${item.get('published').quote()} is neither a port nor a range of ports.`);
    return [];
  }
  const hostIp = item.get('host_ip').text();
  if (hostIp && !isIP(hostIp)) {
    item.get('host_ip').error('port-invalid', `${item.get('host_ip').quote()} is not an IP address.`);
    return [];
  }
  const protocol = protocolOf(item.get('protocol'), item.get('protocol').text() ?? 'tcp');
  return pair(item, { target: { first: target, last: target }, published, hostIp: hostIp || null, protocol });
}

function protocolOf(place: Place, text: string): 'tcp' | 'udp' {
  const protocol = text.toLowerCase();
  if (protocol === 'tcp' || protocol === 'udp') return protocol;
  place.error('port-protocol', `The protocol of ${place.quote()} is not supported; tcp and udp are.`);
  return 'tcp';
}

function parseRange(text: string): Range | null {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  return range.first <= range.last && range.last <= MAX_PORT ? range : null;
}

/** Ranges of the same length pair up; a published range for a single target means any free port of it. */
function pair(
  item: Place,
  port: { target: Range; published: Range | null; hostIp: string | null; protocol: 'tcp' | 'udp' },
): PortMapping[] {
  const { target, hostIp, protocol } = port;
  // Published 0 asks for any free port, as leaving it out does.
  const published = port.published?.last === 0 ? null : port.published;
  if (target.first === 0) {
    item.error('port-invalid', `${item.quote()} names port 0; ports are 1 to ${MAX_PORT}.`);
    return [];
  }
  const count = target.last - target.first + 1;
  const publishedCount = published ? published.last - published.first + 1 : 0;
  if (count > MAX_PORTS || (published && count > 1 && count !== publishedCount)) {
    const reason =
      count > MAX_PORTS ? `is longer than ${MAX_PORTS} ports` : 'does not have as many ports on both sides';
    item.error('port-invalid', `The range in ${item.quote()} ${reason}.`);
    return [];
  }
  return Array.from({ length: count }, (_, index) => ({
    target: target.first + index,
    published: published ? published.first + (count > 1 ? index : 0) : null,
    publishedEnd: published && count === 1 && publishedCount > 1 ? published.last : null,
    hostIp,
    protocol,
  }));
}
