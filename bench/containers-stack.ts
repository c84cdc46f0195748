import type Docker from 'dockerode';
import { IMAGE } from '../test/support/docker/containers.ts';

/** One description of five services, for a compose file and for the engine's own API. */
export type BenchService = {
  name: string;
  script: string;
  /** Program and arguments; null: it is a job that ends. */
  check: string[] | null;
  dependsOn: Record<string, 'service_healthy' | 'service_completed_successfully'>;
  /** The folder in which it has the stack's volume. */
  data?: string;
};

export const VOLUME = 'data';
const SERVE = 'mkdir -p /www && echo ok >/www/index.html && exec httpd -f -p 80 -h /www';
const ASK = ['wget', '-qO', '/dev/null', 'http://127.0.0.1/'];
const NS_PER_MS = 1e6;
const CHECK_MS = { interval: 1_000, timeout: 5_000, startPeriod: 30_000, startInterval: 500 };
const RETRIES = 3;
const GRACE_S = 1;
/** As the control plane has it where a compose file says nothing. */
const LOGGING = { Type: 'json-file', Config: { 'max-size': '16m', 'max-file': '4' } };

/** In an order in which each follows what it depends on. */
export const SERVICES: readonly BenchService[] = [
  { name: 'cache', script: SERVE, check: ASK, dependsOn: {} },
  { name: 'db', script: SERVE, check: ASK, dependsOn: {}, data: '/var/lib/db' },
  { name: 'migrate', script: 'sleep 0.2', check: null, dependsOn: { db: 'service_healthy' } },
  {
    name: 'api',
    script: SERVE,
    check: ASK,
    dependsOn: { cache: 'service_healthy', migrate: 'service_completed_successfully' },
  },
  { name: 'web', script: SERVE, check: ASK, dependsOn: { api: 'service_healthy' } },
];

export function composeFile(): string {
  const services = SERVICES.map(({ name, script, check, dependsOn, data }) => [
    name,
    {
      image: IMAGE,
      init: true,
      command: ['sh', '-c', script],
      stop_grace_period: `${GRACE_S}s`,
      depends_on: Object.fromEntries(Object.entries(dependsOn).map(([on, condition]) => [on, { condition }])),
      ...(data && { volumes: [`${VOLUME}:${data}`] }),
      ...(check && {
        healthcheck: {
          test: ['CMD', ...check],
          interval: `${CHECK_MS.interval}ms`,
          timeout: `${CHECK_MS.timeout}ms`,
          start_period: `${CHECK_MS.startPeriod}ms`,
          start_interval: `${CHECK_MS.startInterval}ms`,
          retries: RETRIES,
        },
      }),
    },
  ]);
  return JSON.stringify({ services: Object.fromEntries(services), volumes: { [VOLUME]: {} } });
}

/** The same container, as the engine is asked for it. */
export function containerBody(project: string, service: BenchService): Docker.ContainerCreateOptions {
  const { name, script, check, data } = service;
  const network = `${project}_default`;
  const healthcheck = {
    Test: ['CMD', ...(check ?? [])],
    Interval: CHECK_MS.interval * NS_PER_MS,
    Timeout: CHECK_MS.timeout * NS_PER_MS,
    StartPeriod: CHECK_MS.startPeriod * NS_PER_MS,
    StartInterval: CHECK_MS.startInterval * NS_PER_MS,
    Retries: RETRIES,
  };
  return {
    name: `${project}-${name}-1`,
    Image: IMAGE,
    Cmd: ['sh', '-c', script],
    Labels: { [PROJECT]: project, 'com.docker.compose.service': name },
    StopTimeout: GRACE_S,
    Healthcheck: check ? healthcheck : { Test: ['NONE'] },
    HostConfig: {
      Init: true,
      NetworkMode: network,
      LogConfig: LOGGING,
      Mounts: data ? [{ Type: 'volume', Source: `${project}_${VOLUME}`, Target: data }] : [],
    },
    NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [name] } } },
  };
}

/** The label that tells to which project a container belongs. */
export const PROJECT = 'com.docker.compose.project';
