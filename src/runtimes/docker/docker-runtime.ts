import { checkInstanceSpec } from '../instance-spec-check.ts';
import {
  type Drift,
  type ImageStore,
  type Ingress,
  type InstanceSpec,
  type InstanceStatus,
  type InstanceUsage,
  type LogChunk,
  type LogPlace,
  type LogRef,
  type Runtime,
  RuntimeError,
  type StackRef,
} from '../runtime.ts';
import { StatusReporter } from '../status-reporter.ts';
import { type DockerConnection, Engine, EngineError } from './connection.ts';
import { containerOf } from './container-config.ts';
import { createContainer, startContainer } from './container-start.ts';
import { driftOf } from './drift.ts';
import { EngineEvents } from './engine-events.ts';
import { DockerImages } from './images.ts';
import { createIngress } from './ingress.ts';
import { INSTANCE, retiredName, retiredWith, STACK } from './labels.ts';
import { readContainerLog } from './log-reader.ts';
import { prepareNetworksAndVolumes, removeNetworks, removeVolumes } from './networks-volumes.ts';
import { publishes } from './published-ports.ts';
import { ReadLogs } from './read-logs.ts';
import { containersOf, Fences, Queues, removeContainer, type StackContainer } from './stack-containers.ts';
import { watchStack } from './stack-watch.ts';
import { healthFailure, type Inspection } from './status.ts';
import { StatusReader } from './status-reader.ts';
import { UsageReader } from './usage.ts';

const MS_PER_S = 1_000;
/** So long after the grace period the engine may take to end a container. */
const STOP_MARGIN_MS = 60_000;

type Log = Record<'info' | 'warn' | 'error', (details: object, message: string) => void>;
export type DockerRuntimeOptions = {
  connection: DockerConnection;
  /** See `IngressOptions`. */
  ingressImage: string;
  log: Log;
};

/** Runs services as containers of one Docker Engine, which restarts them by itself while no control plane is there. */
export function createDockerRuntime(options: DockerRuntimeOptions): DockerRuntime {
  return new DockerRuntime(options);
}

export class DockerRuntime implements Runtime, AsyncDisposable {
  readonly logsBy = 'instance';
  readonly images: ImageStore;
  readonly ingress: Ingress;
  readonly #engine: Engine;
  readonly #events: EngineEvents;
  readonly #statuses: StatusReader;
  readonly #usage: UsageReader;
  readonly #log: Log;
  readonly #fences = new Fences();
  readonly #queues = new Queues();
  readonly #closing = new AbortController();
  /** Containers that end because they are stopped: that is no news before they are. */
  readonly #stopping = new Set<string>();
  readonly #readLogs = new ReadLogs();

  constructor({ connection, ingressImage, log }: DockerRuntimeOptions) {
    this.#engine = new Engine(connection);
    this.#log = log;
    this.ingress = createIngress({ docker: this.#engine.docker, image: ingressImage, log });
    this.#usage = new UsageReader(this.#engine);
    this.images = new DockerImages(this.#engine, connection.registries ?? {});
    const healthOf = async (id: string) => healthFailure(await this.#statuses.inspect(id));
    this.#events = new EngineEvents(this.#engine, healthOf, (error) => {
      log.warn({ err: error }, 'the events of the engine cannot be followed; it is tried again');
    });
    this.#statuses = new StatusReader(this.#engine, this.#events);
  }

  async create(stack: StackRef, spec: InstanceSpec, epoch: number): Promise<void> {
    await this.#queues.run(spec.instanceId, async () => {
      await this.#made(stack, spec, epoch, await this.#enter(stack, epoch));
    });
  }

  async start(stack: StackRef, spec: InstanceSpec, epoch: number): Promise<InstanceStatus> {
    return await this.#queues.run(spec.instanceId, async () => {
      const containers = await this.#enter(stack, epoch);
      const id = await this.#made(stack, spec, epoch, containers);
      const inspection = await this.#statuses.inspect(id);
      const { State: state } = inspection;
      const isNew = state.Status === 'created' && state.Error === '' && state.ExitCode === 0;
      if (isNew) await this.#begin(spec, inspection, containers);
      return await this.#statuses.statusOf((await this.#statuses.look(id)) ?? inspection);
    });
  }

  async stop(stack: StackRef, instanceId: string, epoch: number): Promise<void> {
    await this.#queues.run(instanceId, async () => {
      const containers = await this.#enter(stack, epoch);
      const found = containers.find((container) => container.instanceId === instanceId && !container.isRetired);
      if (found) await this.#retire(stack, found, epoch);
    });
  }

  async list(stack: StackRef): Promise<InstanceStatus[]> {
    return [...(await this.#statuses.ofStack(stack)).values()];
  }

  async usage(stack: StackRef, instanceIds: readonly string[]): Promise<InstanceUsage[]> {
    if (instanceIds.length === 0) return [];
    const containers = await containersOf(this.#engine, stack);
    return await this.#usage.read(
      containers.filter(({ instanceId, isRetired }) => !isRetired && instanceIds.includes(instanceId)),
    );
  }

  async drift(stack: StackRef, specs: readonly InstanceSpec[]): Promise<Map<string, Drift[]>> {
    const found = new Map<string, Drift[]>();
    if (specs.length === 0) return found;
    const containers = await containersOf(this.#engine, stack);
    for (const spec of specs) {
      const container = containers.find(({ instanceId, isRetired }) => instanceId === spec.instanceId && !isRetired);
      const drift = container ? await driftOf(this.#engine, spec, container.id) : [];
      if (drift.length > 0) found.set(spec.instanceId, drift);
    }
    return found;
  }

  async watch(stack: StackRef, listener: (status: InstanceStatus) => void, signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([signal, this.#closing.signal]);
    const reporter = new StatusReporter(listener, until, (error) => {
      this.#log.error({ stack: stack.id, err: error }, 'a listener for statuses failed');
    });
    const watched = {
      stackId: stack.id,
      events: this.#events,
      list: () => this.#statuses.ofStack(stack),
      status: (id: string) => this.#statuses.byContainer(id),
      isBeingStopped: (id: string) => this.#stopping.has(id),
      failed: (error: Error) =>
        this.#log.warn({ stack: stack.id, err: error }, 'a stack cannot be watched; it is tried again'),
    };
    await watchStack(watched, reporter, until);
  }

  async *logs({ stack, instanceId }: LogRef, from: LogPlace, signal: AbortSignal): AsyncGenerator<LogChunk> {
    const until = AbortSignal.any([signal, this.#closing.signal]);
    if (until.aborted || instanceId === null) return;
    const container = await this.#find(stack, instanceId);
    if (!container) return;
    const look = async () => {
      const inspection = await this.#statuses.look(container.id);
      return inspection && { inspection, isRetired: retiredWith(inspection.Name) !== null };
    };
    const { service, replica } = container;
    const origin = { instanceId, service, replica };
    const history = this.#events.history(container.id);
    const source = { engine: this.#engine, containerId: container.id, origin, history, look };
    let end = from.position;
    for await (const chunk of readContainerLog(source, from, until)) {
      end = Math.max(end, chunk.next);
      if (chunk.kind === 'event' && chunk.event === 'removed') await this.#reachedEnd(stack, instanceId, end);
      yield chunk;
    }
    if (!until.aborted) await this.#reachedEnd(stack, instanceId, end);
  }

  async trimLogs({ stack, instanceId }: LogRef, before: number): Promise<void> {
    if (instanceId === null) return;
    this.#readLogs.trim(instanceId, before);
    await this.#forgetLog(stack, instanceId);
  }

  async logEnd({ stack, instanceId }: LogRef): Promise<number | null> {
    if (instanceId === null) return 0;
    const end = this.#readLogs.endOf(instanceId);
    return end ?? ((await this.#find(stack, instanceId)) ? null : 0);
  }

  async unreadLogs(stack: StackRef): Promise<string[]> {
    const containers = await containersOf(this.#engine, stack);
    return containers.filter(({ isRetired }) => isRetired).map(({ instanceId }) => instanceId);
  }

  async removeStack(stack: StackRef, { volumes }: { volumes: boolean }, epoch: number): Promise<void> {
    const containers = await this.#enter(stack, epoch);
    const left = containers.filter(({ isRetired }) => !isRetired).length;
    if (left > 0) throw new RuntimeError(`the stack still has ${left} instances: stop them first`);
    for (const container of containers) await this.#remove(container);
    await this.ingress.remove(stack, epoch);
    await removeNetworks(this.#engine, stack);
    if (volumes) await removeVolumes(this.#engine, `${STACK}=${stack.id}`);
  }

  async forgetStack(stack: StackRef, epoch: number): Promise<void> {
    const containers = await this.#enter(stack, epoch);
    const left = containers.filter(({ isRetired }) => !isRetired).length;
    if (left > 0) throw new RuntimeError(`the stack still has ${left} instances: stop them first`);
    for (const container of containers) await this.#remove(container);
    this.#fences.forget(stack);
  }

  async portIsFree(host: string, port: number, protocol: 'tcp' | 'udp'): Promise<boolean> {
    return !(await publishes(this.#engine, host, port, protocol));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#events.close();
    this.#engine.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The stack's containers, once it is sure that nobody came with a higher epoch. */
  async #enter(stack: StackRef, epoch: number): Promise<StackContainer[]> {
    if (this.#closing.signal.aborted) throw new RuntimeError('the runtime is closed');
    const containers = await containersOf(this.#engine, stack);
    this.#fences.pass(stack, epoch, containers);
    return containers;
  }

  /** The id of the container of an instance, which is made where there is none. */
  async #made(stack: StackRef, spec: InstanceSpec, epoch: number, containers: StackContainer[]): Promise<string> {
    checkInstanceSpec(spec);
    if (!spec.container) throw new RuntimeError(`service ${spec.service}: there is no image`);
    const known = containers.find(({ instanceId }) => instanceId === spec.instanceId);
    if (known && !known.isRetired) return known.id;
    if (known) await this.#remove(known);
    // Those of a stack that start at once have the same networks and volumes, which are made once.
    await this.#queues.run(stack.id, () => prepareNetworksAndVolumes(this.#engine, stack, containerOf(spec)));
    return await createContainer(this.#engine, stack, spec, epoch, containers);
  }

  async #begin(spec: InstanceSpec, made: Inspection, containers: StackContainer[]): Promise<void> {
    try {
      await startContainer(this.#engine, spec, made, containers);
    } catch (error) {
      // What the engine refuses it would refuse again; where it did not answer, this is taken up again.
      if (error instanceof EngineError) await this.#remove({ id: made.Id, instanceId: spec.instanceId });
      throw error;
    }
  }

  /** Ends a container and keeps it for its log; the new name, which comes last, says that all of it was done. */
  async #retire(stack: StackRef, { id, instanceId }: StackContainer, epoch: number): Promise<void> {
    const { Config: config } = await this.#statuses.inspect(id);
    const graceS = (config as { StopTimeout?: number }).StopTimeout ?? 0;
    const timeoutMs = graceS * MS_PER_S + STOP_MARGIN_MS;
    this.#stopping.add(id);
    try {
      await this.#engine.post(`/containers/${id}/stop`, { query: { t: graceS }, timeoutMs });
      // Or the engine would start it again with itself.
      const body = { RestartPolicy: { Name: 'no', MaximumRetryCount: 0 } };
      await this.#engine.post(`/containers/${id}/update`, { body });
      await this.#engine.post(`/containers/${id}/rename`, { query: { name: retiredName(epoch, instanceId) } });
    } finally {
      this.#stopping.delete(id);
      this.#events.announce(id, stack.id);
    }
  }

  async #remove({ id, instanceId }: Pick<StackContainer, 'id' | 'instanceId'>): Promise<void> {
    await removeContainer(this.#engine, id);
    await removeVolumes(this.#engine, `${INSTANCE}=${instanceId}`);
    this.#readLogs.forget(instanceId);
  }

  /** The newest container of an instance. */
  async #find(stack: StackRef, instanceId: string): Promise<StackContainer | undefined> {
    return (await containersOf(this.#engine, stack)).find((container) => container.instanceId === instanceId);
  }

  async #reachedEnd(stack: StackRef, instanceId: string, end: number): Promise<void> {
    this.#readLogs.reachedEnd(instanceId, end);
    await this.#forgetLog(stack, instanceId);
  }

  /** Removes a container whose log was read to its end and stored. */
  async #forgetLog(stack: StackRef, instanceId: string): Promise<void> {
    if (!this.#readLogs.isDone(instanceId)) return;
    const container = await this.#find(stack, instanceId);
    if (container?.isRetired) await this.#remove(container);
    if (!container) this.#readLogs.forget(instanceId);
  }
}
