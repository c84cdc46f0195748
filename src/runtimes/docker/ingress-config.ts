import { createHash } from 'node:crypto';
import { type PortBinding, RuntimeError } from '../runtime.ts';

/** The first port inside of the container: high, so that HAProxy needs no privilege for it. */
const FIRST_LISTEN_PORT = 10_001;
/** How long a connection may wait for its next request: a worker that was replaced lives no longer than this for its sake. */
const IDLE_S = 10;
/** What clients are told of it: less, so that none sends a request just when its connection is being closed. */
const TOLD_IDLE_S = IDLE_S - 1;
/** How long the first bytes of a connection are waited for, where they decide how it is treated. */
const FIRST_BYTES_S = 5;
/** Instances are on the same engine: time for a lost packet to be sent once more. */
const CONNECT_MS = 1_500;
const CONNECT_RETRIES = 3;
/** Of a request or its answer: long polls and event streams are silent for long. */
const HTTP_SILENCE = '1h';
/** Of WebSockets and TCP, where pools keep connections that nobody uses; the kernel asks meanwhile whether the other side is there. */
const TUNNEL_SILENCE = '24h';
const PROBE_IDLE = '5m';
/** How often names are resolved. */
const RESOLVE_MS = 500;
const RESOLVE_RETRY_MS = 300;
/** How long an address is good while nobody answers: the engine says nothing of what does not run, nor of anything while it restarts. */
const SILENT_NAME_S = 60;
/** A worker is ended when it was replaced this often, whatever connections keep it. */
const MAX_RELOADS = 20;
/** Else HAProxy provides for as many as the kernel would allow, which may be a thousand million. */
const MAX_FILES = 65_536;
const THREADS = 2;
/** Counts the ways in which an ingress was ever made; another one makes each of them anew. */
const SHAPE = 1;

const SERVER_ID = /^[0-9a-f]{12}$/;
const ADDRESS = /^[0-9a-f.:]+$/;

export type IngressServer = {
  /** The first 12 digits of the container's id: the engine resolves it in each network that the two share. */
  id: string;
  /** As of now; null: it does not run. */
  address: string | null;
  /** Whether the network that they share resolves names: the engine's default one does not. */
  named: boolean;
};

export type ServedPort = { port: PortBinding; protocol: 'http' | 'tcp' | null; servers: readonly IngressServer[] };

export type IngressConfig = {
  /** For a worker that begins now: servers have the addresses of now, and no name has to be resolved first. */
  fresh: string;
  /** For one that begins later, when addresses may be others': servers have none before their names are resolved. */
  resting: string;
};

/** Where each published port arrives inside of the container, by `portKey`. */
export function listenPorts(ports: readonly PortBinding[]): Map<string, number> {
  const keys = [...new Set(ports.map(portKey))].sort();
  return new Map(keys.map((key, index) => [key, FIRST_LISTEN_PORT + index]));
}

export function portKey({ host, published }: PortBinding): string {
  return `${host} ${published}`;
}

/** Ingresses with equal hashes differ in nothing but their configuration. */
export function shapeHash(image: string, ports: readonly PortBinding[]): string {
  return createHash('sha256')
    .update(JSON.stringify([SHAPE, image, ...listenPorts(ports)]))
    .digest('hex');
}

/** @throws {RuntimeError} for a port that an ingress cannot serve */
export function renderConfig(ports: readonly ServedPort[], epoch: number): IngressConfig {
  const listening = listenPorts(ports.map(({ port }) => port));
  if (listening.size < ports.length) throw new RuntimeError('a published port has two routes');
  for (const { port, servers } of ports) check(port, servers);
  const served = ports
    .map((route) => ({ ...route, listen: listening.get(portKey(route.port))! }))
    .toSorted((one, other) => one.listen - other.listen);
  // Told apart even where no server has an address: one that was written and never taken must not look like one that was.
  const render = (fresh: boolean) =>
    [
      `# epoch ${epoch}`,
      `# ${fresh ? 'fresh' : 'resting'}`,
      ...PREAMBLE,
      ...served.flatMap((route) => portSections(route, fresh)),
      '',
    ].join('\n');
  return { fresh: render(true), resting: render(false) };
}

/** The epoch that a configuration was written with; 0: it was written by another hand. */
export function epochOf(config: string): number {
  return Number(/^# epoch (\d{1,15})\n/.exec(config)?.[1] ?? 0);
}

/** Whether two configurations differ in nothing but their epochs. */
export function sameConfig(one: string, other: string): boolean {
  return withoutEpoch(one) === withoutEpoch(other);
}

/** The same for HAProxy, but equal to none that is wanted: whether a worker goes by it is not known. */
export function unsettled(config: string): string {
  return config.replace(/^# resting$/m, '# unsettled');
}

const PREAMBLE = [
  'global',
  `  fd-hard-limit ${MAX_FILES}`,
  `  nbthread ${THREADS}`,
  `  mworker-max-reloads ${MAX_RELOADS}`,
  'defaults',
  `  timeout connect ${CONNECT_MS}ms`,
  `  timeout client ${HTTP_SILENCE}`,
  `  timeout server ${HTTP_SILENCE}`,
  `  timeout tunnel ${TUNNEL_SILENCE}`,
  `  timeout http-request ${IDLE_S}s`,
  `  timeout http-keep-alive ${IDLE_S}s`,
  '  option clitcpka',
  `  clitcpka-idle ${PROBE_IDLE}`,
  '  option srvtcpka',
  `  srvtcpka-idle ${PROBE_IDLE}`,
  `  retries ${CONNECT_RETRIES}`,
  '  option redispatch 1',
  'resolvers engine',
  '  nameserver engine 127.0.0.11:53',
  '  resolve_retries 1',
  `  timeout resolve ${RESOLVE_MS}ms`,
  `  timeout retry ${RESOLVE_RETRY_MS}ms`,
  `  hold valid ${RESOLVE_MS}ms`,
  `  hold nx ${RESOLVE_MS}ms`,
  '  hold obsolete 0s',
  ...['timeout', 'refused', 'other'].map((status) => `  hold ${status} ${SILENT_NAME_S}s`),
];

function portSections({ port, protocol, listen, servers }: ServedPort & { listen: number }, fresh: boolean): string[] {
  const lines = servers
    .toSorted((one, other) => (one.id < other.id ? -1 : 1))
    .flatMap((server) => serverLine(server, port.target, fresh));
  if (protocol === 'tcp') return [...tcpFrontend(listen), ...tcpBackend(listen, lines)];
  if (protocol === 'http') return [...httpFrontend(listen, `:${listen}`), ...httpBackend(listen, lines)];
  // Only a frontend that speaks nothing but HTTP waits for the next answer before it closes: it stands behind the one that looks.
  const inner = `abns@http_${listen}`;
  return [
    ...tcpFrontend(listen),
    `  tcp-request inspect-delay ${FIRST_BYTES_S}s`,
    '  tcp-request content accept if HTTP',
    '  tcp-request content accept if { req.len gt 0 }',
    // HTTP/2 goes to the instance as it is.
    `  use_backend inner_${listen} if HTTP !{ req.payload(0,3) -m str PRI }`,
    `backend inner_${listen}`,
    '  mode tcp',
    `  server http ${inner} send-proxy-v2`,
    ...httpFrontend(listen, `${inner} accept-proxy`),
    ...httpBackend(listen, lines),
    ...tcpBackend(listen, lines),
  ];
}

function tcpFrontend(listen: number): string[] {
  return [
    `frontend tcp_${listen}`,
    '  mode tcp',
    `  timeout client ${TUNNEL_SILENCE}`,
    `  bind :${listen}`,
    `  default_backend to_tcp_${listen}`,
  ];
}

function tcpBackend(listen: number, servers: string[]): string[] {
  return [
    `backend to_tcp_${listen}`,
    '  mode tcp',
    `  timeout server ${TUNNEL_SILENCE}`,
    '  balance leastconn',
    ...servers,
  ];
}

function httpFrontend(listen: number, bind: string): string[] {
  return [
    `frontend http_${listen}`,
    '  mode http',
    `  bind ${bind}`,
    '  option idle-close-on-response',
    // Browsers open connections before they need them: these get no answer that says that nothing was asked.
    '  option http-ignore-probes',
    '  option forwardfor',
    '  http-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }',
    `  http-response set-header Keep-Alive timeout=${TOLD_IDLE_S}`,
    `  default_backend to_http_${listen}`,
  ];
}

/** Each request has a connection of its own to its instance: one that the instance closes while it waits costs no request then. */
function httpBackend(listen: number, servers: string[]): string[] {
  return [`backend to_http_${listen}`, '  mode http', '  option http-server-close', '  balance leastconn', ...servers];
}

function serverLine({ id, address, named }: IngressServer, port: number, fresh: boolean): string[] {
  if (!named) return address === null ? [] : [`  server ${id} ${bracketed(address)}:${port}`];
  const first = fresh && address !== null ? address : 'none';
  return [`  server ${id} ${id}:${port} resolvers engine resolve-prefer ipv4 init-addr ${first}`];
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function check({ protocol, published, target }: PortBinding, servers: readonly IngressServer[]): void {
  if (protocol !== 'tcp') throw new RuntimeError(`port ${published}: an ingress takes TCP alone, not ${protocol}`);
  for (const number of [published, target]) {
    if (!Number.isInteger(number) || number < 1 || number > 65_535) throw new RuntimeError(`no port: ${number}`);
  }
  for (const { id, address } of servers) {
    if (!SERVER_ID.test(id)) throw new RuntimeError(`no container: ${id}`);
    if (address !== null && !ADDRESS.test(address)) throw new RuntimeError(`no address: ${address}`);
  }
}

function withoutEpoch(config: string): string {
  return config.replace(/^# epoch \d+\n/, '');
}
