import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { type BenchService, containerBody, PROJECT, SERVICES, VOLUME } from './containers-stack.ts';

type Goal = 'healthy' | 'completed';
type Waiting = Record<Goal, PromiseWithResolvers<void>>;
type EngineEvent = { Action: string; Actor: { Attributes: Record<string, string> } };

/**
 * The stack by the engine's bare calls, one after the other: network, volume, then each container made and started once its dependencies
 * are where they should be, as the engine's events tell. Resolves with the milliseconds until all is healthy.
 */
export async function startByHand(docker: Docker, project: string): Promise<number> {
  const begun = performance.now();
  const labels = { [PROJECT]: project };
  const events = await docker.getEvents({
    filters: { type: ['container'], label: [`${PROJECT}=${project}`], event: ['health_status', 'die'] },
  });
  try {
    const waiting = new Map(SERVICES.map(({ name }) => [name, waitingFor()]));
    listen(events as Readable, waiting);
    await docker.createNetwork({ Name: `${project}_default`, Labels: labels });
    await docker.createVolume({ Name: `${project}_${VOLUME}`, Labels: labels });
    for (const service of SERVICES) {
      for (const [name, condition] of Object.entries(service.dependsOn))
        await waiting.get(name)![condition === 'service_healthy' ? 'healthy' : 'completed'].promise;
      const container = await docker.createContainer(containerBody(project, service));
      await container.start();
    }
    await Promise.all(SERVICES.map((service) => waiting.get(service.name)![goalOf(service)].promise));
    return performance.now() - begun;
  } finally {
    (events as Readable).destroy();
  }
}

/** All that there is of a project: none of it is waited for by anybody. */
export async function removeProject(docker: Docker, project: string): Promise<void> {
  const filters = { label: [`${PROJECT}=${project}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters }))
    await docker.getContainer(Id).remove({ force: true, v: true });
  for (const { Id } of await docker.listNetworks({ filters })) await docker.getNetwork(Id).remove();
  for (const { Name } of (await docker.listVolumes({ filters })).Volumes) await docker.getVolume(Name).remove();
}

const goalOf = ({ check }: BenchService): Goal => (check ? 'healthy' : 'completed');

function waitingFor(): Waiting {
  return { healthy: Promise.withResolvers(), completed: Promise.withResolvers() };
}

function listen(events: Readable, waiting: ReadonlyMap<string, Waiting>): void {
  createInterface({ input: events }).on('line', (line) => {
    const { Action: action, Actor: actor }: EngineEvent = JSON.parse(line);
    const service = waiting.get(actor.Attributes['com.docker.compose.service'] ?? '');
    if (action === 'health_status: healthy') service?.healthy.resolve();
    else if (action === 'die' && actor.Attributes.exitCode === '0') service?.completed.resolve();
  });
}
