import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { createIngress } from '../../../src/runtimes/docker/ingress.ts';
import type { Ingress, IngressRoute, PortBinding, StackRef } from '../../../src/runtimes/runtime.ts';
import { eventually } from '../eventually.ts';
import type { OwnEngine } from './own-engine.ts';

export const HTTP_PORT = 80;
/** Says its version, then answers each line with the same. */
export const ECHO_PORT = 81;
/** Agrees to speak something else than HTTP, then answers each line with the same. */
export const UPGRADE_PORT = 82;
/** Answers a request with its header. */
export const MIRROR_PORT = 83;

const READ_HEADER =
  'while read -r line; do line=${line%$(printf "\\r")}; [ -z "$line" ] && break; echo "$line" >&$OUT; done';
const UPGRADE = [
  `exec 3>/dev/null; OUT=3; ${READ_HEADER}`,
  'printf "HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n"',
  'exec cat',
].join('\n');

const MIRROR = `printf "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n"; OUT=1; ${READ_HEADER}`;

/** Serves its version as a page; what is started with it ends with it. */
const SERVICE = [
  'mkdir -p /www; echo "$VERSION" >/www/index.html',
  'for name in ECHO UPGRADE MIRROR; do eval "printf \'#!/bin/sh\\n%s\\n\' \\"\\$$name\\"" >/$name; chmod +x /$name; done',
  `nc -ll -p ${ECHO_PORT} -e /ECHO & nc -ll -p ${UPGRADE_PORT} -e /UPGRADE & nc -ll -p ${MIRROR_PORT} -e /MIRROR &`,
  `exec httpd -f -p ${HTTP_PORT} -h /www`,
].join('\n');

export type Scene = AsyncDisposable & {
  stack: StackRef & { project: string };
  ingress: Ingress;
  image: string;
  network: string;
  /** A new one on each call, as another control plane would have it. */
  createIngress(docker?: Docker): Ingress;
  /** Answers the instance's id; `network`: another one than the scene's. */
  start(version: string, network?: string): Promise<string>;
  stop(instanceId: string): Promise<void>;
  container(instanceId: string): Promise<Docker.Container>;
  ingressContainers(): Promise<Docker.ContainerInfo[]>;
  /** Of the ingress's processes, the first of which is the master. */
  pids(): Promise<number[]>;
  /** What is answered to one request over a new connection; '' for none. */
  fetch(port: number, ...curlArguments: string[]): Promise<string>;
};

/** A stack with a network of its own and no instances. */
export async function createScene(engine: OwnEngine, image: string): Promise<Scene> {
  const { docker } = engine;
  const id = randomUUID();
  const project = `scene-${id.slice(0, 8)}`;
  const network = `${project}_default`;
  const stack = { id, environmentId: randomUUID(), stackId: randomUUID(), uid: null, project };
  const labels = { 'io.windflow.stack': id };
  const log = { info: () => {}, warn: () => {} };
  const newIngress = (over = docker) => createIngress({ docker: over, image, log });
  await docker.createNetwork({ Name: network, Driver: 'bridge' });
  const listed = (...wanted: string[]) =>
    docker.listContainers({ all: true, filters: JSON.stringify({ label: [`io.windflow.stack=${id}`, ...wanted] }) });
  const container = async (instanceId: string) => {
    const [found] = await listed(`io.windflow.instance=${instanceId}`);
    return docker.getContainer(found!.Id);
  };
  return {
    stack,
    ingress: newIngress(),
    image,
    network,
    createIngress: newIngress,
    container,
    ingressContainers: () => listed('io.windflow.ingress=true'),
    async start(version, joined = network) {
      const instanceId = randomUUID();
      const created = await docker.createContainer({
        Image: 'busybox:local',
        Entrypoint: ['sh', '-c', SERVICE],
        Env: [`VERSION=${version}`, 'ECHO=echo $VERSION; exec cat', `UPGRADE=${UPGRADE}`, `MIRROR=${MIRROR}`],
        Labels: { ...labels, 'io.windflow.instance': instanceId },
        HostConfig: { NetworkMode: joined, RestartPolicy: { Name: 'always' }, Init: true },
      });
      await created.start();
      await eventually('an instance serves', async () => {
        const { NetworkSettings } = await created.inspect();
        const address = NetworkSettings.Networks[joined]?.IPAddress;
        return (await said(engine, 'curl', '-s', '-m1', `http://${address}`)).trim() === version;
      });
      return instanceId;
    },
    async stop(instanceId) {
      await (await container(instanceId)).remove({ force: true });
    },
    async pids() {
      const [ingress] = await listed('io.windflow.ingress=true');
      const { Titles, Processes } = await docker.getContainer(ingress!.Id).top();
      return Processes.map((row: string[]) => Number(row[Titles.indexOf('PID')])).sort((a: number, b: number) => a - b);
    },
    fetch: async (port, ...curlArguments) =>
      (await said(engine, 'curl', '-s', '-m5', ...curlArguments, `http://127.0.0.1:${port}`)).trim(),
    async [Symbol.asyncDispose]() {
      for (const { Id } of await listed()) await docker.getContainer(Id).remove({ force: true });
      await docker.getNetwork(network).remove();
    },
  };
}

export function routeTo(
  published: number,
  protocol: IngressRoute['protocol'],
  instanceIds: string[],
  { target = HTTP_PORT, host = '0.0.0.0' }: Partial<PortBinding> = {},
): IngressRoute {
  return { port: { published, target, host, protocol: 'tcp' }, protocol, instanceIds };
}

async function said(engine: OwnEngine, program: string, ...args: string[]): Promise<string> {
  const child = engine.spawn(program, ...args);
  child.stdin.end();
  return await textOf(child.stdout);
}

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}
