import type Docker from 'dockerode';
import { type InstanceSpec, RuntimeError, type StackRef } from '../runtime.ts';
import { type Engine, EngineError } from './connection.ts';
import { containerBody, containerNames, containerOf, endpointsOf, type Surroundings } from './container-config.ts';
import { copyFiles, fillFileVolume, needsFileVolume } from './files.ts';
import { STACK } from './labels.ts';
import { ignoring, networkName, volumeName } from './networks-volumes.ts';
import { containersOf, type StackContainer } from './stack-containers.ts';
import { type Inspection, startFailureOf } from './status.ts';

const NOT_FOUND = 404;
const CONFLICT = 409;
/** Of what the engine checks only when it looks at a whole configuration. */
const SUBPATH_API = [1, 45] as const;

/** Makes the container of an instance, whose networks and volumes are there; returns the one that another process made of it meanwhile, if so. */
export async function createContainer(
  engine: Engine,
  stack: StackRef,
  spec: InstanceSpec,
  epoch: number,
  others: readonly StackContainer[],
): Promise<string> {
  const container = containerOf(spec);
  const hasSubpath = container.mounts.some((mount) => mount.type === 'volume' && mount.subpath !== null);
  if (hasSubpath && !(await engine.speaks(...SUBPATH_API))) {
    throw new RuntimeError(`service ${spec.service}: a folder in a volume needs Docker Engine 26 or newer`);
  }
  const around = surroundingsOf(spec, others, await fillFileVolume(engine, stack, spec));
  const body = containerBody(stack, await withCommandCleared(engine, spec), epoch, around);
  for (const name of containerNames(spec)) {
    const query = { name, platform: container.image.platform ?? undefined };
    try {
      return (await engine.post<{ Id: string }>('/containers/create', { query, body })).Id;
    } catch (error) {
      if (!(error instanceof EngineError) || error.status !== CONFLICT) throw naming(spec, error);
      const made = (await containersOf(engine, stack)).find(
        ({ instanceId, isRetired }) => instanceId === spec.instanceId && !isRetired,
      );
      if (made) return made.id;
      if (container.containerName !== null && !(await isOwnName(engine, stack, container.containerName)))
        throw naming(spec, error);
    }
  }
  throw new RuntimeError(`service ${spec.service}: another container has the name ${containerNames(spec)[0]}`);
}

/** Starts a container that was made, whatever of it was done before. A program that cannot be run is told by its state. */
export async function startContainer(
  engine: Engine,
  spec: InstanceSpec,
  { Id: id, Name: name, NetworkSettings: { Networks: joined } }: Inspection,
  others: readonly StackContainer[],
): Promise<void> {
  const around = surroundingsOf(spec, others, []);
  if (!needsFileVolume(spec)) await copyFiles(engine, id, spec.files);
  await takeName(engine, spec, { id, name });
  for (const { network, endpoint } of endpointsOf(spec, around)) {
    if (network in joined) continue;
    const body = { Container: id, EndpointConfig: endpoint };
    await engine.post(`/networks/${encodeURIComponent(network)}/connect`, { body });
  }
  try {
    await engine.post(`/containers/${id}/start`);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const inspection = await engine.get<Inspection>(`/containers/${id}/json`);
    if (!startFailureOf(inspection) && !inspection.State.Running) throw naming(spec, error);
  }
}

/** Whether what has a name is a container of the same stack, which gives it back when it is stopped for good. */
async function isOwnName(engine: Engine, stack: StackRef, name: string): Promise<boolean> {
  const holder = await ignoring(NOT_FOUND, engine.get<Inspection>(`/containers/${encodeURIComponent(name)}/json`));
  return holder === null || holder.Config.Labels?.[STACK] === stack.id;
}

/** One that was made beside its predecessor gets the name that this had; two that run beside each other cannot both have it. */
async function takeName(engine: Engine, spec: InstanceSpec, { id, name }: { id: string; name: string }): Promise<void> {
  const [wanted] = containerNames(spec);
  if (name === `/${wanted}`) return;
  const renaming = engine.post(`/containers/${id}/rename`, { query: { name: wanted } });
  if (containerOf(spec).containerName === null) await ignoring(CONFLICT, renaming);
  else await renaming.catch((error: unknown) => Promise.reject(naming(spec, error)));
}

function surroundingsOf(
  spec: InstanceSpec,
  others: readonly StackContainer[],
  fileMounts: Surroundings['fileMounts'],
): Surroundings {
  const container = containerOf(spec);
  return {
    networkName: (key) => networkName(container, key),
    volumeName: (key) => volumeName(container, key),
    containerOf: (service) => {
      const found = others.find((other) => other.service === service && !other.isRetired);
      if (found) return found.id;
      throw new RuntimeError(`service ${spec.service} needs a container of service ${service}, and there is none`);
    },
    fileMounts,
  };
}

function naming({ service }: InstanceSpec, error: unknown): unknown {
  return error instanceof EngineError ? new EngineError(error.status, `service ${service}: ${error.message}`) : error;
}

/** An empty command means to the engine that the image's own is kept, unless an entrypoint comes with it. */
async function withCommandCleared(engine: Engine, spec: InstanceSpec): Promise<InstanceSpec> {
  const container = containerOf(spec);
  if (container.entrypoint !== null || container.command?.length !== 0) return spec;
  const { Config: config } = await engine.get<Docker.ImageInspectInfo>(`/images/${container.image.id}/json`);
  const entrypoint = [config.Entrypoint ?? []].flat();
  if (entrypoint.length === 0) throw new RuntimeError(`service ${spec.service}: there is no command`);
  return { ...spec, container: { ...container, entrypoint } };
}
