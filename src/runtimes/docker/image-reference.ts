/** What a name of an image says: "nginx" is "docker.io/library/nginx:latest". */
export type ImageReference = {
  /** "docker.io". */
  host: string;
  /** With the host: "docker.io/library/nginx". */
  repository: string;
  /** Null where a digest says it. */
  tag: string | null;
  /** "sha256:…". */
  digest: string | null;
};

export const DOCKER_HUB = 'docker.io';
/** The name under which Docker Hub takes logins. */
const DOCKER_HUB_LOGIN = 'https://index.docker.io/v1/';
const DOCKER_HUB_NAMES = [DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io', DOCKER_HUB_LOGIN];

export function parseImage(name: string): ImageReference {
  const [named = '', digest = null] = name.split('@');
  const slash = named.indexOf('/');
  const first = named.slice(0, Math.max(0, slash));
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  const host = hasHost ? first : DOCKER_HUB;
  const rest = hasHost ? named.slice(slash + 1) : named;
  const colon = rest.lastIndexOf(':');
  const hasTag = colon > rest.lastIndexOf('/');
  const path = hasTag ? rest.slice(0, colon) : rest;
  const tag = hasTag ? rest.slice(colon + 1) : digest === null ? 'latest' : null;
  const isOfficial = host === DOCKER_HUB && !path.includes('/');
  const known = DOCKER_HUB_NAMES.includes(host) ? DOCKER_HUB : host;
  return { host: known, repository: `${known}/${isOfficial ? 'library/' : ''}${path}`, tag, digest };
}

/** The digest by which an image of this name can be pulled again; null: it never came from there. */
export function digestOf(name: string, repoDigests: readonly string[]): string | null {
  const { repository } = parseImage(name);
  const found = repoDigests.map(parseImage).find((candidate) => candidate.repository === repository);
  return found?.digest ? `${repository}@${found.digest}` : null;
}

/** The entry for a registry among logins by host. */
export function loginFor<Login>(
  host: string,
  logins: Record<string, Login>,
): (Login & { serveraddress: string }) | undefined {
  const names = host === DOCKER_HUB ? DOCKER_HUB_NAMES : [host];
  const login = names.map((name) => logins[name]).find((found) => found !== undefined);
  return login && { ...login, serveraddress: host === DOCKER_HUB ? DOCKER_HUB_LOGIN : host };
}
