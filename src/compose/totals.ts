import type { ContainerModel } from './container-model.ts';
import { argvOf, type ServiceModel, type StackModel } from './model.ts';
import type { StackReading } from './stack.ts';

/** Replicas of all services of a stack together. */
export const MAX_STACK_REPLICAS = 500;
/** Ports of all replicas of a stack together. */
export const MAX_STACK_PORTS = 5000;
/** What all replicas of a stack are given, in bytes of UTF-8: commands, variables, configs and secrets; of a container all else too. */
export const MAX_STACK_BYTES = 16 * 1024 * 1024;

/** A small file may ask for much: one config is written for each replica of each service that reads it. */
export function checkTotals({ model, services, top }: StackReading, hasContainers: boolean): void {
  const models = Object.values(model.services);
  const replicas = sum(models.map((service) => service.replicas));
  if (replicas > MAX_STACK_REPLICAS) {
    const message = `The services have ${amount(replicas)} replicas together; ${amount(MAX_STACK_REPLICAS)} are the limit.`;
    top.get('services').error('too-many-replicas', message, 'Ask for fewer replicas, or split the stack.');
  }
  const ports = sum(models.map((service) => service.replicas * service.ports.length));
  if (ports > MAX_STACK_PORTS) {
    const message = `The replicas have ${amount(ports)} ports together; ${amount(MAX_STACK_PORTS)} are the limit.`;
    top.get('services').error('too-many-ports', message, 'Publish fewer ports, or split the stack.');
  }
  const contents = contentsOf(model);
  const containerBytes = hasContainers ? containerMeter() : () => 0;
  const sizes = models.map((service) => ({
    name: service.name,
    bytes: service.replicas * (bytesOf(service, contents) + containerBytes(service.container)),
  }));
  if (sum(sizes.map(({ bytes }) => bytes)) > MAX_STACK_BYTES) {
    const largest = sizes.reduce((most, size) => (size.bytes > most.bytes ? size : most));
    const message = `The replicas of all services are given more than ${amount(MAX_STACK_BYTES)} bytes together, the limit, those of "${largest.name}" the most: commands, variables, configs and secrets count for each replica.`;
    const suggestion = 'Ask for fewer replicas, or have the program fetch what is large.';
    services.get(largest.name)?.place.error('stack-too-large', message, suggestion);
  }
}

/** Bytes of each config and secret. */
function contentsOf(model: StackModel): Record<'configs' | 'secrets', Map<string, number>> {
  const sizes = (sources: StackModel['configs']) =>
    new Map(Object.entries(sources).map(([name, { content }]) => [name, Buffer.byteLength(content ?? '')]));
  return { configs: sizes(model.configs), secrets: sizes(model.secrets) };
}

/** Bytes of what is told of a container: a file may be bound by many. */
function containerMeter(): (container: ContainerModel) => number {
  const known = new Map<string, number>();
  const bytes = (text: string) => {
    const size = known.get(text) ?? Buffer.byteLength(text);
    known.set(text, size);
    return size;
  };
  return ({ build: _build, command: _command, entrypoint: _entrypoint, files, ...others }) =>
    Buffer.byteLength(JSON.stringify(others)) + sum(files.map(({ target, content }) => target.length + bytes(content)));
}

function bytesOf(service: ServiceModel, contents: ReturnType<typeof contentsOf>): number {
  const texts = [
    ...argvOf(service),
    ...(service.healthcheck?.argv ?? []),
    ...Object.entries(service.environment).flat(),
  ];
  const files = (['configs', 'secrets'] as const).flatMap((kind) =>
    service[kind].map(({ source }) => contents[kind].get(source) ?? 0),
  );
  return sum(texts.map((text) => Buffer.byteLength(text ?? ''))) + sum(files);
}

function sum(amounts: readonly number[]): number {
  return amounts.reduce((total, each) => total + each, 0);
}

function amount(number: number): string {
  return number.toLocaleString('en-US');
}
