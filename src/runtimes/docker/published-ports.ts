import type Docker from 'dockerode';
import type { Engine } from './connection.ts';

const EVERY_ADDRESS = new Set(['', '0.0.0.0', '::', '[::]']);

/** Whether a container that runs publishes a port where a program on this address would listen. */
export async function publishes(engine: Engine, host: string, port: number, protocol: 'tcp' | 'udp'): Promise<boolean> {
  const filters = JSON.stringify({ publish: [`${port}/${protocol}`] });
  const containers = await engine.get<Docker.ContainerInfo[]>('/containers/json', { query: { filters } });
  const published = containers.flatMap(({ Ports }) => Ports ?? []);
  return published.some(
    ({ IP, PublicPort, Type }) => PublicPort === port && Type === protocol && overlaps(IP ?? '', host),
  );
}

function overlaps(one: string, other: string): boolean {
  return one === other || EVERY_ADDRESS.has(one) || EVERY_ADDRESS.has(other);
}
