import Docker from 'dockerode';
import type { TestApp } from '../app.ts';
import { Deployer } from '../deployer.ts';

export const IMAGE = 'busybox:local';

/** An engine at a unix socket, as another program of its machine sees it. */
export const clientOf = (endpoint: string): Docker => new Docker({ socketPath: endpoint.replace(/^unix:\/\//, '') });

/** A superadmin who deploys in an environment on the engine. */
export async function deployerOn(app: TestApp, endpoint: string): Promise<Deployer> {
  const owner = await Deployer.create(app, null, 'Acme');
  return onEngine(owner, endpoint);
}

export async function onEngine(owner: Deployer, endpoint: string, name = 'engine', more = {}): Promise<Deployer> {
  const runtimeConfig = { endpoint, ...more };
  const { id } = await owner.newEnvironment(name, 'DEVELOPMENT', { runtime: 'DOCKER', runtimeConfig });
  return owner.as(owner.token, id);
}

/** A service that runs a shell script in a container; `rest`: more of its keys, each on a line of four spaces. */
export const container = (name: string, script: string, ...rest: string[]): string =>
  [
    `\n  ${name}:`,
    `    image: ${IMAGE}`,
    `    command: ["sh", "-c", ${JSON.stringify(script)}]`,
    '    init: true',
    '    stop_grace_period: 1s',
    ...rest.map((key) => `    ${key}`),
  ].join('\n');

export type Found = { id: string; names: string[]; state: string; labels: Record<string, string>; image: string };

/** The containers of the services of an environment, also those that ended. */
export async function containersOf(docker: Docker, environmentId: string): Promise<Found[]> {
  const found = await docker.listContainers({
    all: true,
    filters: { label: [`io.windflow.environment=${environmentId}`] },
  });
  return found.map(({ Id, Names, State, Labels, ImageID }) => ({
    id: Id,
    names: Names,
    state: State,
    labels: Labels,
    image: ImageID,
  }));
}

const FRAME_HEADER = 8;

/** The lines of standard output that the engine kept of a container. */
export async function outputOf(docker: Docker, id: string): Promise<string[]> {
  const log = await docker.getContainer(id).logs({ stdout: true, follow: false });
  const frames: Buffer[] = [];
  for (let at = 0; at < log.length; ) {
    const end = at + FRAME_HEADER + log.readUInt32BE(at + 4);
    frames.push(log.subarray(at + FRAME_HEADER, end));
    at = end;
  }
  return Buffer.concat(frames).toString().split('\n').slice(0, -1);
}
