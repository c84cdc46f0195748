import dgram from 'node:dgram';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Another server of this host may be trying the same port: it has let go of it by then. */
const RETRY_DELAYS_MS = [5, 20];

type Protocol = 'tcp' | 'udp';
type Attempt = 'free' | 'used' | 'impossible';
type Pause = (ms: number) => Promise<unknown>;
/** The probes of one port that are under way, by address; they follow each other, and `last` is the last of them. */
type Probes = { byHost: Map<string, Promise<boolean>>; last: Promise<unknown> };

const underWay = new Map<string, Probes>();

/**
 * Whether a program could listen there now: it is tried. An address that this host does not have counts as taken. Two attempts at once
 * would take the port from each other, so whoever asks during a probe shares its answer, or waits for it where the address is another.
 */
export function portIsFree(host: string, port: number, protocol: Protocol, pause: Pause = sleep): Promise<boolean> {
  const key = `${protocol}/${port}`;
  const probes = underWay.get(key) ?? { byHost: new Map(), last: Promise.resolve() };
  underWay.set(key, probes);
  const known = probes.byHost.get(host);
  if (known) return known;
  const probe = probes.last
    .then(() => tryPort(host, port, protocol, pause))
    .finally(() => {
      probes.byHost.delete(host);
      if (probes.byHost.size === 0) underWay.delete(key);
    });
  probes.byHost.set(host, probe);
  probes.last = probe;
  return probe;
}

async function tryPort(host: string, port: number, protocol: Protocol, pause: Pause): Promise<boolean> {
  const attempt = protocol === 'tcp' ? tryTcp : tryUdp;
  let found = await attempt(host, port);
  for (const delayMs of RETRY_DELAYS_MS) {
    if (found !== 'used') break;
    await pause(delayMs);
    found = await attempt(host, port);
  }
  return found === 'free';
}

function tryTcp(host: string, port: number): Promise<Attempt> {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(failureOf(error)));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve('free')));
  });
}

function tryUdp(host: string, port: number): Promise<Attempt> {
  const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    socket.once('error', (error) => {
      socket.close();
      resolve(failureOf(error));
    });
    socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => resolve('free')));
  });
}

function failureOf({ code }: NodeJS.ErrnoException): Attempt {
  return code === 'EADDRINUSE' ? 'used' : 'impossible';
}
