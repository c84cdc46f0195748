import type { PortMapping, ServiceModel, StackModel } from '../../compose/index.ts';
import type { PortBinding } from '../../runtimes/runtime.ts';

/** Host ports by service, then by replica (0 is replica 1), in the order of the compose file. */
export type PortPlan = Record<string, PortBinding[][]>;

/** In a plan that takes nothing: some port that is free when the time comes. */
export const ANY_PORT = 0;
/** Ports for what publishes none; below the range from which Linux takes ports for outgoing connections. */
export const FREE_PORT_FIRST = 20_000;
export const FREE_PORT_LAST = 32_000;
const EVERY_ADDRESS = '0.0.0.0';
const LOOPBACK_ADDRESS = '127.0.0.1';

export type PortSources = {
  model: StackModel;
  /** Whether a service that publishes nothing gets a port all the same: its peers have no other way to it. */
  portForEach: boolean;
  /** What the live release has: a service keeps its free ports, so that deploying it again changes nothing. */
  former: PortPlan;
  /** Whose a port of the host is, in words, when it is another stack's; null: nobody's, or ours. */
  ownerOf(port: number, protocol: string): string | null;
  /** Ports that instances of this very stack listen on now. */
  isOurs(port: number, protocol: string): boolean;
  isFree(host: string, port: number, protocol: 'tcp' | 'udp'): Promise<boolean>;
  /** 0 ≤ result < 1: where to begin to look for free ports. Null: none is looked for, ANY_PORT takes its place. */
  random: (() => number) | null;
};

/** Resolves every published port of a stack, or says in whole sentences what stands in the way. */
export async function planPorts(sources: PortSources): Promise<{ plan: PortPlan; problems: string[] }> {
  const taken = new Set<string>();
  const plan: PortPlan = {};
  const problems: string[] = [];
  // Fixed ones first: no free port may take what a service asks for by number.
  for (const service of Object.values(sources.model.services)) {
    for (const port of service.ports) {
      if (port.published === null || port.publishedEnd !== null) continue;
      const problem = await fixedPortProblem(sources, service.name, port);
      if (problem) problems.push(problem);
      taken.add(key(port.published, port.protocol));
    }
  }
  for (const service of Object.values(sources.model.services)) {
    const replicas: PortBinding[][] = [];
    // Behind an ingress all replicas share what the first one has.
    const isShared = sources.model.ingress && service.ports.length > 0;
    for (let replica = 0; replica < service.replicas; replica++) {
      if (isShared && replicas[0]) {
        replicas.push(replicas[0]);
        continue;
      }
      const bindings: PortBinding[] = [];
      for (const [index, wanted] of mappingsOf(service, sources.portForEach).entries()) {
        const former = sources.former[service.name]?.[replica]?.[index];
        const published = await choosePort(sources, taken, wanted, former);
        if (published === null) {
          problems.push(`service ${service.name}: no free port is left ${rangeInWords(wanted)}`);
          continue;
        }
        taken.add(key(published, wanted.protocol));
        const host = wanted.hostIp ?? (service.ports.length === 0 ? LOOPBACK_ADDRESS : EVERY_ADDRESS);
        bindings.push({ target: wanted.target || published, published, host, protocol: wanted.protocol });
      }
      replicas.push(bindings);
    }
    plan[service.name] = replicas;
  }
  return { plan, problems };
}

/** A service that publishes nothing gets one free port of the loopback address: its peers reach it there. */
function mappingsOf(service: ServiceModel, portForEach: boolean): PortMapping[] {
  if (service.ports.length > 0 || !portForEach) return service.ports;
  return [{ target: 0, published: null, publishedEnd: null, hostIp: null, protocol: 'tcp' }];
}

/** What keeps a service from a port that it must have, in a whole sentence. */
export async function fixedPortProblem(
  sources: Pick<PortSources, 'ownerOf' | 'isOurs' | 'isFree'>,
  service: string,
  port: Pick<PortMapping, 'published' | 'hostIp' | 'protocol'>,
): Promise<string | null> {
  const published = port.published!;
  const owner = sources.ownerOf(published, port.protocol);
  const named = `service ${service}: port ${published}/${port.protocol}`;
  if (owner) return `${named} is taken by ${owner}`;
  if (sources.isOurs(published, port.protocol)) return null;
  if (await sources.isFree(port.hostIp ?? EVERY_ADDRESS, published, port.protocol)) return null;
  return `${named} is already in use by another program on this host`;
}

async function choosePort(
  sources: PortSources,
  taken: Set<string>,
  wanted: PortMapping,
  former: PortBinding | undefined,
): Promise<number | null> {
  if (wanted.published !== null && wanted.publishedEnd === null) return wanted.published;
  const first = wanted.published ?? FREE_PORT_FIRST;
  const last = wanted.publishedEnd ?? FREE_PORT_LAST;
  const host = wanted.hostIp ?? EVERY_ADDRESS;
  const isAvailable = async (port: number) =>
    !taken.has(key(port, wanted.protocol)) &&
    sources.ownerOf(port, wanted.protocol) === null &&
    (sources.isOurs(port, wanted.protocol) || (await sources.isFree(host, port, wanted.protocol)));
  const kept = former?.protocol === wanted.protocol && former.published >= first && former.published <= last;
  if (kept && (await isAvailable(former.published))) return former.published;
  if (!sources.random) return ANY_PORT;
  const size = last - first + 1;
  const start = wanted.published === null ? Math.floor(sources.random() * size) : 0;
  for (let step = 0; step < size; step++) {
    const port = first + ((start + step) % size);
    if (!sources.isOurs(port, wanted.protocol) && (await isAvailable(port))) return port;
  }
  return null;
}

function rangeInWords({ published, publishedEnd }: PortMapping): string {
  return published === null ? 'on this host' : `in ${published}–${publishedEnd}`;
}

function key(port: number, protocol: string): string {
  return `${port}/${protocol}`;
}
