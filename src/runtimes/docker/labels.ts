import type { InstanceSpec, StackRef } from '../runtime.ts';

/** What everything is found by; names are for people. */
export const STACK = 'io.windflow.stack';
export const ENVIRONMENT = 'io.windflow.environment';
export const SERVICE = 'io.windflow.service';
export const INSTANCE = 'io.windflow.instance';
export const REPLICA = 'io.windflow.replica';
/** "true" on the proxy that holds a stack's published ports: it is no instance. */
export const INGRESS = 'io.windflow.ingress';
/** Of an image: what it was built from. */
export const BUILD_HASH = 'io.windflow.build-hash';
export const CONFIG_HASH = 'io.windflow.config-hash';
export const EPOCH = 'io.windflow.epoch';

/** Compose tools want to know which Compose made a container; it stands for how its labels are meant. */
const COMPOSE_VERSION = '2.0.0';
const RETIRED_NAME = /^\/?windflow-retired-(\d+)-([0-9a-f-]{36})$/;

export function stackLabels(stack: StackRef): Record<string, string> {
  return { [STACK]: stack.id, [ENVIRONMENT]: stack.environmentId };
}

export function containerLabels(stack: StackRef, spec: InstanceSpec, epoch: number): Record<string, string> {
  return {
    ...stackLabels(stack),
    [SERVICE]: spec.service,
    [INSTANCE]: spec.instanceId,
    [REPLICA]: String(spec.replica),
    [CONFIG_HASH]: spec.configHash,
    [EPOCH]: String(epoch),
    'com.docker.compose.project': spec.container?.project ?? '',
    'com.docker.compose.service': spec.service,
    'com.docker.compose.container-number': String(spec.replica),
    'com.docker.compose.config-hash': spec.configHash,
    'com.docker.compose.oneoff': 'False',
    'com.docker.compose.version': COMPOSE_VERSION,
  };
}

/** Of a container that was stopped for good and is kept for its log; labels cannot tell it, they never change. */
export function retiredName(epoch: number, instanceId: string): string {
  return `windflow-retired-${epoch}-${instanceId}`;
}

/** The epoch with which a container of that name was stopped for good; null: it was not. */
export function retiredWith(name: string): number | null {
  const epoch = RETIRED_NAME.exec(name)?.[1];
  return epoch === undefined ? null : Number(epoch);
}

/** For a request's `filters`. */
export function labelled(...labels: string[]): string {
  return JSON.stringify({ label: labels });
}
