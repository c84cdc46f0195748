import type { IncomingHttpHeaders } from 'node:http';

/** Names that only this machine answers to. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];

export type GuardOptions = {
  /** The origin that browsers use, like "https://deploy.example.com". */
  publicUrl: string;
  /** Further names (without port) under which the server is reached. */
  allowedHosts: readonly string[];
  /** Origins of other sites whose pages may use the API. */
  corsOrigins: readonly string[];
};

export type RequestGuard = {
  /** Why a request is refused, in words, or null. */
  refuse(headers: IncomingHttpHeaders): string | null;
  /** The origin to name in Access-Control-Allow-Origin, or null. */
  corsOrigin(headers: IncomingHttpHeaders): string | null;
};

/** Checks Host against DNS rebinding and Origin against other sites' pages: those reach a server on localhost too. */
export function createRequestGuard({ publicUrl, allowedHosts, corsOrigins }: GuardOptions): RequestGuard {
  const publicOrigin = new URL(publicUrl);
  const hosts = new Set([...LOOPBACK_NAMES, publicOrigin.hostname, ...allowedHosts].map((name) => name.toLowerCase()));
  const foreignOrigins = new Set(corsOrigins.map((origin) => new URL(origin).origin));

  // Under each of its names the server is its own origin; the scheme may be a proxy's.
  const isOwn = (origin: string, host: string) =>
    origin === publicOrigin.origin || (URL.canParse(origin) && new URL(origin).host === host.toLowerCase());

  return {
    refuse(headers) {
      const { host, origin } = headers;
      if (!host || !hosts.has(hostnameOf(host))) {
        return 'this server does not answer to that Host: set WINDFLOW_PUBLIC_URL, or add the name to WINDFLOW_ALLOWED_HOSTS';
      }
      if (origin === undefined) {
        return isForeignSubresource(headers) ? 'pages of other sites may not load anything from this server' : null;
      }
      if (isOwn(origin, host) || foreignOrigins.has(origin)) return null;
      return 'pages of that origin may not use this server: add it to WINDFLOW_CORS_ORIGINS';
    },
    corsOrigin: ({ origin }) => (origin !== undefined && foreignOrigins.has(origin) ? origin : null),
  };
}

/** What a page of another site loads as an image, a script or a stream carries no Origin; a link that is followed is fine. */
function isForeignSubresource(headers: IncomingHttpHeaders): boolean {
  return headers['sec-fetch-site'] === 'cross-site' && headers['sec-fetch-mode'] !== 'navigate';
}

/** The name in a Host header, lower case, without its port. */
function hostnameOf(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
}
