import type Docker from 'dockerode';
import type { IngressRoute, StackRef } from '../runtime.ts';
import { listenPorts, portKey } from './ingress-config.ts';
import { CONFIG_FILE } from './ingress-engine.ts';
import { CONFIG_HASH, EPOCH, INGRESS, stackLabels } from './labels.ts';

/**
 * All ingresses publish their ports from this one network, in which they do not reach each other. Engines that know no priority of
 * gateways take that of the network whose name sorts first: the address that ports are published to must not change with the others.
 */
export const OWN_NETWORK = '0-windflow-ingress';
const GATEWAY_PRIORITY = 1_000;
/** A server that answers nothing: names of containers are the engine's own business, and no other name has a meaning here. */
const NO_NAMESERVER = '127.0.0.1';
/** That of the official image, whose name others need not know. */
const HAPROXY_USER = '99:99';
const LOG_MAX_SIZE = '1m';

export function ownNetwork(): Docker.NetworkCreateOptions {
  return {
    Name: OWN_NETWORK,
    Driver: 'bridge',
    Options: { 'com.docker.network.bridge.enable_icc': 'false' },
    Labels: { [INGRESS]: 'true' },
  };
}

export function containerOptions(
  stack: StackRef & { project: string },
  routes: readonly IngressRoute[],
  { hash, epoch }: { hash: string; epoch: number },
  image: string,
): Docker.ContainerCreateOptions {
  const listening = listenPorts(routes.map(({ port }) => port));
  const bindings = routes.map(({ port }) => [
    `${listening.get(portKey(port))}/tcp`,
    [{ HostIp: port.host, HostPort: String(port.published) }],
  ]);
  return {
    name: `${stack.project}-ingress`,
    Image: image,
    Entrypoint: [],
    Cmd: ['haproxy', '-W', '-db', '-f', CONFIG_FILE],
    User: HAPROXY_USER,
    StopSignal: 'SIGTERM',
    ExposedPorts: Object.fromEntries(bindings.map(([port]) => [port, {}])),
    Labels: {
      ...stackLabels(stack),
      [INGRESS]: 'true',
      [EPOCH]: String(epoch),
      [CONFIG_HASH]: hash,
      'com.docker.compose.project': stack.project,
      'com.docker.compose.service': 'ingress',
      'com.docker.compose.container-number': '1',
      'com.docker.compose.oneoff': 'False',
    },
    HostConfig: {
      PortBindings: Object.fromEntries(bindings),
      RestartPolicy: { Name: 'always' },
      NetworkMode: OWN_NETWORK,
      Dns: [NO_NAMESERVER],
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Init: false,
      LogConfig: { Type: 'json-file', Config: { 'max-size': LOG_MAX_SIZE } },
    },
    NetworkingConfig: {
      EndpointsConfig: { [OWN_NETWORK]: { GwPriority: GATEWAY_PRIORITY } as Docker.EndpointSettings },
    },
  };
}
