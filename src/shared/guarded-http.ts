import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { AddressGuard, RefusedAddressError } from './address-guard.ts';
import { type TlsFailure, tlsFaultOf } from './tls-fault.ts';

export const MAX_REDIRECTS = 5;
export const MAX_URL_LENGTH = 4_000;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_BYTES = 1024 * 1024;
/** What belongs to the connection, or says where a request comes from: nobody sets it by hand. */
const REFUSED_HEADERS = new Set(
  'connection content-length expect host keep-alive proxy-authorization te trailer transfer-encoding upgrade'.split(
    ' ',
  ),
);
/** What another origin is not told. */
const OWN_HEADERS = ['authorization', 'cookie'];
const REDIRECTS = [301, 302, 303, 307, 308];

export type GuardedRequest = {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** Of the whole exchange, redirects included. */
  timeoutMs?: number;
  /** Of the answer's body; what is beyond is left out. */
  maxBytes?: number;
  /** Absent: it follows redirects as browsers do. `manual`: the redirect is the answer. */
  redirects?: 'manual';
  signal?: AbortSignal;
};

export type GuardedResponse = {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** Whether the body is longer. */
  isCut: boolean;
  /** Where it came from in the end. */
  url: string;
};

/** There is no answer. The message is for users. */
export class HttpRequestError extends Error {
  override name = 'HttpRequestError';
  /** Whether the same request may succeed a little later. */
  readonly isTransient: boolean;
  constructor(message: string, isTransient: boolean, cause?: unknown) {
    super(message, { cause });
    this.isTransient = isTransient;
  }
}

/**
 * Sends requests that users ask for to the public internet alone: every other address is refused, by whatever name, at each
 * connection, redirects included. `allowed`: addresses and networks that may be reached all the same.
 */
export class GuardedHttp {
  readonly #guard: AddressGuard;
  readonly #agents: Record<string, http.Agent>;

  constructor(allowed: readonly string[] = []) {
    this.#guard = new AddressGuard(allowed);
    const { lookup } = this.#guard;
    this.#agents = { 'http:': new http.Agent({ lookup }), 'https:': new https.Agent({ lookup }) };
  }

  /** A connection for another protocol, under the same rule; the signal ends it. @throws {HttpRequestError} */
  connect(host: string, port: number, signal: AbortSignal): Promise<net.Socket> {
    return new Promise((resolve, reject) => {
      const refusal = this.#guard.refusal(host);
      if (refusal) return reject(failureOf(refusal));
      const socket = net.connect({ host, port, lookup: this.#guard.lookup });
      const end = () => socket.destroy();
      signal.addEventListener('abort', end);
      if (signal.aborted) end();
      socket.on('error', (error) => reject(failureOf(error)));
      socket.once('connect', () => resolve(socket));
      socket.once('close', () => {
        signal.removeEventListener('abort', end);
        reject(new HttpRequestError('the connection was ended', true));
      });
    });
  }

  /** @throws {HttpRequestError} where there is no answer, whatever its status; the signal's reason where that aborted */
  async send(request: GuardedRequest): Promise<GuardedResponse> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = request;
    const timeout = AbortSignal.timeout(timeoutMs);
    const until = signal ? AbortSignal.any([signal, timeout]) : timeout;
    try {
      return await this.#follow(request, until);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (timeout.aborted) throw new HttpRequestError(`no answer within ${timeoutMs / 1_000} s`, true, error);
      throw error;
    }
  }

  async #follow(request: GuardedRequest, signal: AbortSignal): Promise<GuardedResponse> {
    let current = { ...request, headers: checkedHeaders(request.headers ?? {}), method: request.method ?? 'GET' };
    for (let redirects = 0; ; redirects++) {
      const url = checkedUrl(current.url);
      const answer = await this.#once(url, current, signal);
      const { location } = answer.headers;
      const isFollowed = request.redirects !== 'manual' && REDIRECTS.includes(answer.status);
      if (!isFollowed || location === undefined) return answer;
      if (redirects === MAX_REDIRECTS) throw new HttpRequestError(`more than ${MAX_REDIRECTS} redirects`, false);
      current = redirected(current, answer.status, url, location);
    }
  }

  #once(
    url: URL,
    { method, headers, body, maxBytes = DEFAULT_MAX_BYTES }: Sent,
    signal: AbortSignal,
  ): Promise<GuardedResponse> {
    return new Promise((resolve, reject) => {
      const { request } = url.protocol === 'https:' ? https : http;
      const fail = (error: Error) => reject(failureOf(error));
      const refusal = this.#guard.refusal(url.hostname.replace(/^\[|\]$/g, ''));
      if (refusal) return fail(refusal);
      const sent = request(url, { method, headers, agent: this.#agents[url.protocol], signal }, (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        const finish = (isCut: boolean) => {
          const text = Buffer.concat(chunks).subarray(0, maxBytes).toString('utf8');
          const { statusCode: status = 0 } = response;
          resolve({ status, headers: headersOf(response), body: text, isCut, url: url.href });
        };
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          length += chunk.length;
          if (length <= maxBytes) return;
          finish(true);
          response.destroy();
        });
        response.on('end', () => finish(false));
        response.on('error', fail);
      });
      sent.on('error', fail);
      sent.end(body);
    });
  }
}

type Sent = GuardedRequest & { method: string; headers: Record<string, string> };

function checkedUrl(text: string): URL {
  const url = text.length > MAX_URL_LENGTH ? null : URL.parse(text);
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw new HttpRequestError('the address has to be an absolute one of http or https, up to 4,000 characters', false);
  if (url.username !== '' || url.password !== '')
    throw new HttpRequestError('the address must not hold a name or password: use a header', false);
  return url;
}

function checkedHeaders(headers: Record<string, string>): Record<string, string> {
  for (const [name, value] of Object.entries(headers)) {
    if (REFUSED_HEADERS.has(name.toLowerCase())) throw new HttpRequestError(`the header ${name} cannot be set`, false);
    try {
      http.validateHeaderName(name);
      http.validateHeaderValue(name, value);
    } catch {
      throw new HttpRequestError(`${JSON.stringify(name)} is no header that can be sent`, false);
    }
  }
  return { 'user-agent': 'windflow', ...headers };
}

/** What is asked next, as browsers do it. */
function redirected(sent: Sent, status: number, from: URL, location: string): Sent {
  const to = URL.parse(location, from);
  if (!to) throw new HttpRequestError('it redirects to an address that is none', false);
  const isElsewhere = to.origin !== from.origin;
  const headers = Object.fromEntries(
    Object.entries(sent.headers).filter(([name]) => !isElsewhere || !OWN_HEADERS.includes(name.toLowerCase())),
  );
  const becomesGet = status === 303 ? sent.method !== 'HEAD' : status < 303 && sent.method === 'POST';
  const rest = becomesGet ? { method: 'GET', body: undefined } : {};
  return { ...sent, ...rest, url: to.href, headers };
}

function headersOf({ headers }: http.IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  );
}

function failureOf(error: Error & TlsFailure & { code?: string }): HttpRequestError {
  if (error instanceof RefusedAddressError) {
    return new HttpRequestError('the address is not one of the public internet: it may not be asked', false, error);
  }
  if (error.code === 'ENOTFOUND') return new HttpRequestError('there is no such host', true, error);
  const why = tlsFaultOf(error.code, error) ?? error.message;
  return new HttpRequestError(`there is no answer: ${why}`, true, error);
}
