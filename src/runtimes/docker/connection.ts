import { createHash } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import { RuntimeError, RuntimeUnavailableError } from '../runtime.ts';
import { guardedLookup } from './guarded-lookup.ts';

/** How long the engine may take for a question, and for what changes something. */
export const QUESTION_TIMEOUT_MS = 20_000;
export const CHANGE_TIMEOUT_MS = 120_000;
/** How long a stream may take to begin. */
const STREAM_TIMEOUT_MS = 20_000;
/** The newest version of the Engine API that this speaks, and the oldest: that of Docker Engine 20.10. */
const NEWEST_API = [1, 51] as const;
const OLDEST_API = [1, 41] as const;
const SUCCESSES = Object.fromEntries([101, 200, 201, 202, 204, 304].map((status) => [status, true]));

export type DockerConnection = {
  /** "unix:///path", "tcp://host:port" or "ssh://user@host". */
  endpoint: string;
  /** PEM texts. */
  tls?: { ca: string; cert: string; key: string };
  /** By the registry's host, "docker.io" for Docker Hub. */
  registries?: Record<string, RegistryLogin>;
  /** The private key for an endpoint that begins with "ssh:". */
  sshKey?: string;
  /** The fingerprints that its host's key may have: "SHA256:…". */
  sshHostKeys?: readonly string[];
  /** Whether the address may lead to the server's own machine. */
  isLocal: boolean;
};
export type RegistryLogin = { username: string; password: string };

/** What the engine answered instead of doing it. */
export class EngineError extends RuntimeError {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type EngineRequest = {
  query?: Record<string, string | number | boolean | string[] | undefined>;
  /** Becomes JSON. */
  body?: object;
  /** A tar archive in the place of a body. */
  archive?: Buffer;
  /** For the registry that an image comes from. */
  login?: RegistryLogin & { serveraddress: string };
  /** For the registries that a build pulls from. */
  logins?: Record<string, RegistryLogin>;
  signal?: AbortSignal;
  timeoutMs?: number;
};

/** What of the library is used: it dials, over sockets, TLS and SSH. */
type Modem = {
  version?: string;
  dial<T>(options: object, answered: (error: Error | null, answer: T) => void): void;
};

/** The requests to one engine. Each throws EngineError for what the engine refuses, RuntimeUnavailableError where it does not answer. */
export class Engine {
  /** The library itself, for what needs nothing else: a request of its without an answer for so long fails. */
  readonly docker: Docker;
  readonly #modem: Modem;
  readonly #agent: http.Agent | undefined;
  #version: Promise<readonly [number, number]> | null = null;

  constructor(connection: DockerConnection) {
    this.#agent = agentOf(connection);
    // With sockets of its own: its timeouts stay with them.
    const options = modemOptions(connection, agentOf(connection));
    this.docker = new Docker({ ...options, timeout: CHANGE_TIMEOUT_MS });
    this.#modem = new Docker(modemOptions(connection, this.#agent)).modem as unknown as Modem;
  }

  get<T>(path: string, request: EngineRequest = {}): Promise<T> {
    return this.#send<T>('GET', path, { timeoutMs: QUESTION_TIMEOUT_MS, ...request }, false);
  }

  post<T = unknown>(path: string, request: EngineRequest = {}): Promise<T> {
    return this.#send<T>('POST', path, { timeoutMs: CHANGE_TIMEOUT_MS, ...request }, false);
  }

  put(path: string, request: EngineRequest): Promise<unknown> {
    return this.#send('PUT', path, { timeoutMs: CHANGE_TIMEOUT_MS, ...request }, false);
  }

  delete(path: string, request: EngineRequest = {}): Promise<unknown> {
    return this.#send('DELETE', path, { timeoutMs: CHANGE_TIMEOUT_MS, ...request }, false);
  }

  /** The answer as it comes; it is cut off when the signal aborts. */
  stream(method: 'GET' | 'POST', path: string, request: EngineRequest = {}): Promise<http.IncomingMessage> {
    return this.#send(method, path, { timeoutMs: STREAM_TIMEOUT_MS, ...request }, true);
  }

  /** Whether the engine speaks this version of its API. */
  async speaks(major: number, minor: number): Promise<boolean> {
    return compare(await this.#negotiated(), [major, minor]) >= 0;
  }

  close(): void {
    this.#agent?.destroy();
  }

  async #send<T>(method: string, path: string, request: EngineRequest, isStream: boolean): Promise<T> {
    await this.#negotiated();
    return await this.#dial<T>(method, path, request, isStream);
  }

  #negotiated(): Promise<readonly [number, number]> {
    this.#version ??= this.#negotiate().catch((error) => {
      this.#version = null;
      throw error;
    });
    return this.#version;
  }

  async #negotiate(): Promise<readonly [number, number]> {
    const request = { timeoutMs: QUESTION_TIMEOUT_MS };
    const { ApiVersion } = await this.#dial<{ ApiVersion: string }>('GET', '/version', request, false);
    const [major = 0, minor = 0] = ApiVersion.split('.').map(Number);
    if (compare([major, minor], OLDEST_API) < 0) {
      throw new RuntimeError('the engine is too old: Docker Engine 20.10 or newer is needed');
    }
    const spoken = compare([major, minor], NEWEST_API) > 0 ? NEWEST_API : ([major, minor] as const);
    this.#modem.version = `v${spoken.join('.')}`;
    return spoken;
  }

  #dial<T>(method: string, path: string, request: EngineRequest, isStream: boolean): Promise<T> {
    const { query = {}, body = {}, archive, login, logins, signal, timeoutMs = QUESTION_TIMEOUT_MS } = request;
    const timeout = new AbortController();
    const until = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // Once an answer has begun the library does not tell of its being cut off.
    const onAbort = () => reject(until.reason);
    const late = () => timeout.abort(new Error(`it did not answer within ${timeoutMs / 1_000} s`));
    const timer = setTimeout(late, timeoutMs);
    until.addEventListener('abort', onAbort, { once: true });
    if (until.aborted) onAbort();
    else {
      const options = {
        path: `${path}?`,
        method,
        options: { _query: defined(query), _body: body },
        file: archive,
        authconfig: login,
        registryconfig: logins,
        statusCodes: SUCCESSES,
        isStream,
        abortSignal: until,
      };
      this.#modem.dial<T>(options, (error, answer) => (error ? reject(error) : resolve(answer)));
    }
    return promise
      .catch((error: unknown) => {
        if (signal?.aborted) throw signal.reason;
        throw problemOf(error);
      })
      .finally(() => {
        clearTimeout(timer);
        until.removeEventListener('abort', onAbort);
      });
  }
}

/** Who answers there. @throws {RuntimeUnavailableError} where nobody does */
export async function engineIdentity(
  connection: DockerConnection,
): Promise<{ id: string; name: string; version: string }> {
  const engine = new Engine(connection);
  try {
    const { ID, Name, ServerVersion } = await engine.get<{ ID: string; Name: string; ServerVersion: string }>('/info');
    return { id: ID, name: Name, version: ServerVersion };
  } catch (error) {
    if (error instanceof EngineError) throw new RuntimeUnavailableError(error.message);
    throw error;
  } finally {
    engine.close();
  }
}

/** What a stream's failure means for whoever asked for it. */
export function streamProblem(error: unknown, stream?: Readable): Error {
  stream?.destroy();
  return problemOf(error);
}

function problemOf(error: unknown): Error {
  if (error instanceof RuntimeError || error instanceof RuntimeUnavailableError) return error;
  const { statusCode, json, message } = error as Error & { statusCode?: number; json?: unknown };
  // The engine, or a proxy before it, is restarting.
  if (statusCode === undefined || statusCode === 502 || statusCode === 503) {
    return new RuntimeUnavailableError(`the Docker engine cannot be reached: ${withoutSecrets(message)}`);
  }
  return new EngineError(statusCode, clauseOf(answerOf(json) ?? message));
}

function answerOf(json: unknown): string | null {
  if (json instanceof Uint8Array) return new TextDecoder().decode(json);
  const message = (json as { message?: unknown } | null)?.message;
  return typeof message === 'string' ? message : null;
}

/** The engine's own words as one clause. */
export function clauseOf(text: string): string {
  const [line = ''] = withoutSecrets(
    text
      .replace(/^\(HTTP code \d+\) [^-]* - /, '')
      .replace(/^Error response from daemon: /, '')
      .trim(),
  ).split('\n');
  return /^[A-Z][a-z]/.test(line) ? line[0]!.toLowerCase() + line.slice(1) : line;
}

/** User information of addresses, as in the address of a build context. */
function withoutSecrets(text: string): string {
  return text.replace(/:\/\/[^/\s@]+@/g, '://***@');
}

function defined(query: NonNullable<EngineRequest['query']>): object {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

function compare(one: readonly [number, number], other: readonly [number, number]): number {
  return one[0] - other[0] || one[1] - other[1];
}

function agentOf({ endpoint, tls, isLocal }: DockerConnection): http.Agent | undefined {
  if (endpoint.startsWith('ssh:')) return undefined;
  const options = { keepAlive: true, ...(!isLocal && { lookup: guardedLookup }) };
  const agent = tls ? new https.Agent(options) : new http.Agent(options);
  const connect = agent.createConnection;
  agent.createConnection = (...given) => {
    const socket = connect.apply(agent, given);
    // A request that is aborted just as its answer has ended destroys a socket that nobody listens to any more.
    socket?.on('error', () => undefined);
    return socket;
  };
  return agent;
}

/** Every option is given: what is left out the library takes from the environment. */
function modemOptions(
  { endpoint, tls, sshKey, sshHostKeys = [] }: DockerConnection,
  agent: http.Agent | undefined,
): object {
  const none = {
    host: undefined,
    port: undefined,
    socketPath: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
  };
  const options = { ...none, timeout: undefined, version: undefined, pathPrefix: '/', agent };
  if (endpoint.startsWith('unix://')) {
    return { ...options, protocol: 'http', socketPath: endpoint.slice('unix://'.length) };
  }
  const { hostname, port, username, protocol } = endpointOf(endpoint);
  // The brackets of an IPv6 address belong to URLs alone.
  const host = hostname.replace(/^\[|\]$/g, '');
  if (protocol === 'ssh:') {
    const hostVerifier = (key: Buffer) => sshHostKeys.includes(fingerprintOf(key));
    const sshOptions = { privateKey: sshKey, hostVerifier, agent: undefined, agentForward: false };
    return { ...options, protocol: 'ssh', host, port: port || 22, username: decodeURIComponent(username), sshOptions };
  }
  return { ...options, ...tls, protocol: tls ? 'https' : 'http', host, port: port || (tls ? 2376 : 2375) };
}

/** Of a host's key, as OpenSSH prints it. */
function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

function endpointOf(endpoint: string): URL {
  const url = URL.parse(endpoint);
  if (!url || !['tcp:', 'ssh:', 'http:', 'https:'].includes(url.protocol) || url.hostname === '') {
    throw new RuntimeError('the address of a Docker engine begins with unix://, tcp:// or ssh://');
  }
  return url;
}
