import { normalize } from 'node:path/posix';

/** Sockets of engines: whoever may write there rules the host. */
const SOCKETS = [
  '/run/docker.sock',
  '/run/containerd/containerd.sock',
  '/run/podman/podman.sock',
  '/run/crio/crio.sock',
];
/** What engines keep: containers, volumes and images of all. */
const ENGINE_FOLDERS = ['/var/lib/docker', '/var/lib/containerd', '/run/docker', '/run/containerd'];
const SOCKET_NAME = /(?:docker|containerd|podman|crio)[^/]*\.sock/i;

/** A path of the host as a person would write it: without "..", doubled and trailing slashes; "/var/run" is "/run". */
export function plainHostPath(path: string): string {
  const plain = normalize(`/${path}`)
    .replace(/^\/+/, '/')
    .replace(/(?<=.)\/+$/, '');
  // A process's view of the file system begins at the root again.
  const seen = plain.replace(/^(?:\/proc\/[^/]+(?:\/task\/[^/]+)?\/(?:root|cwd))+(?=\/|$)/, '') || '/';
  return seen.replace(/^\/var\/run(?=\/|$)/, '/run');
}

/** Whether an engine's socket, or what it keeps, is there or somewhere below, as far as the path's name tells. */
export function reachesEngine(path: string): boolean {
  const plain = plainHostPath(path);
  const inside = plain === '/' ? '/' : `${plain}/`;
  if (SOCKET_NAME.test(plain)) return true;
  if (/^\/proc(?:\/[^/]+(?:\/task(?:\/[^/]+)?|\/fd(?:\/.*)?)?)?$/.test(plain)) return true;
  // A user's own engine: "/run/user/1000/docker.sock".
  if (/^\/run\/user(?:\/[^/]+)?$/.test(plain)) return true;
  if ([...SOCKETS, ...ENGINE_FOLDERS].some((known) => known === plain || known.startsWith(inside))) return true;
  return ENGINE_FOLDERS.some((folder) => plain.startsWith(`${folder}/`));
}
