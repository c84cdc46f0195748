import { randomUUID } from 'node:crypto';
import Docker from 'dockerode';
import { createDockerRuntime, type DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts';
import type { ContainerSpec, InstanceSpec, ResolvedImage, StackRef } from '../../src/runtimes/runtime.ts';
import { NOTHING_SPECIAL } from './container-spec.ts';
import type { RuntimePlace } from './runtime-contract.ts';
import { shell } from './stack-driver.ts';

export const IMAGE = 'busybox:local';
/** What is published on these is used by these tests alone. */
const PORTS = { first: 42_000, last: 42_999 };
const quiet = () => {};

/** One Docker engine that has busybox as an image. */
export class DockerPlace implements RuntimePlace {
  readonly logsBy = 'instance';
  readonly keepsChildren = false;
  readonly variables = ['HOME', 'HOSTNAME', 'PATH'];
  readonly docker: Docker;
  readonly #endpoint: string;
  #image: ResolvedImage | null = null;
  #nextPort = PORTS.first;

  /** "unix:///path" */
  constructor(endpoint: string) {
    this.#endpoint = endpoint;
    this.docker = new Docker({ host: undefined, socketPath: endpoint.slice('unix://'.length) });
  }

  async open(): Promise<DockerRuntime> {
    const log = { info: quiet, warn: quiet, error: quiet };
    const runtime = createDockerRuntime({
      connection: { endpoint: this.#endpoint, isLocal: true },
      ingressImage: 'haproxy:local',
      log,
    });
    this.#image ??= await this.#lookAtImage(runtime);
    return runtime;
  }

  newStack(): StackRef {
    return { id: randomUUID(), environmentId: randomUUID(), stackId: randomUUID(), uid: null };
  }

  spec(stack: StackRef, service: string, script: string, differing: Partial<InstanceSpec> = {}): InstanceSpec {
    const spec = shell(service, script, differing);
    const container: ContainerSpec = {
      ...NOTHING_SPECIAL,
      project: projectOf(stack),
      image: this.#image!,
      command: spec.argv,
      stopSignal: spec.stopSignal,
      // As the first process of its container a shell ignores signals, and a missing program is the engine's matter.
      init: differing.argv === undefined,
      mounts: spec.volumes.map(({ name, target, readOnly }) => ({
        type: 'volume',
        source: name,
        target,
        readOnly,
        copy: true,
        subpath: null,
      })),
    };
    return { container, ...spec };
  }

  async isRunning({ instanceId }: InstanceSpec, pid: number): Promise<boolean> {
    const filters = { label: [`io.windflow.instance=${instanceId}`] };
    const [found] = await this.docker.listContainers({ filters });
    if (!found) return false;
    const { Processes: processes } = await this.docker.getContainer(found.Id).top({ ps_args: '-eo pid' });
    return processes.flat().includes(String(pid));
  }

  async occupyPort(protocol: 'tcp' | 'udp'): Promise<{ port: number; release(): Promise<void> }> {
    const port = this.#nextPort;
    this.#nextPort += 1;
    const container = await this.docker.createContainer({
      Image: IMAGE,
      Cmd: ['sleep', '600'],
      ExposedPorts: { [`80/${protocol}`]: {} },
      HostConfig: { PortBindings: { [`80/${protocol}`]: [{ HostIp: '127.0.0.1', HostPort: String(port) }] } },
    });
    await container.start();
    return { port, release: () => container.remove({ force: true }) };
  }

  async #lookAtImage(runtime: DockerRuntime): Promise<ResolvedImage> {
    const request = { service: 'any', name: IMAGE, build: null, pullPolicy: 'never' as const, platform: null };
    const [image] = await runtime.images.look({ ...this.newStack(), project: 'any' }, [request]);
    if (!image) throw new Error(`the engine has no image ${IMAGE}`);
    return image;
  }
}

function projectOf({ id }: StackRef): string {
  return `wf-test-${id.slice(0, 8)}`;
}
