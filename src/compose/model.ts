import type { ContainerModel, ContainerNetwork, ContainerVolume } from './container-model.ts';

/** A stack with every short form written out, every variable filled in, and only the services of active profiles. */
export type StackModel = {
  name: string | null;
  services: Record<string, ServiceModel>;
  volumes: Record<string, VolumeModel>;
  networks: Record<string, NetworkModel>;
  /** What runtimes with containers make of the networks that services are attached to, "default" among them. */
  networkDefinitions: Record<string, ContainerNetwork>;
  /** The same of the volumes that services mount. */
  volumeDefinitions: Record<string, ContainerVolume>;
  configs: Record<string, FileSource>;
  secrets: Record<string, FileSource>;
  /** "x-windflow: { ingress: true }": published ports are served by a proxy, and replicas share them. */
  ingress: boolean;
  /** Files of "x-windflow: { files }" that builds, bind mounts and security options are made of, by path. */
  files: Record<string, string>;
  /** The top-level keys that begin with "x-". */
  extensions: Record<string, unknown>;
};

export type ServiceModel = {
  name: string;
  image: string | null;
  hasBuild: boolean;
  /** Program and arguments as written: a text is split into words, never given to a shell. Null: not given; []: cleared. */
  command: string[] | null;
  entrypoint: string[] | null;
  /** Null: the value comes from the environment's variables, which were not known. */
  environment: Record<string, string | null>;
  workingDir: string | null;
  ports: PortMapping[];
  dependsOn: Dependency[];
  volumes: VolumeMount[];
  configs: FileMount[];
  secrets: FileMount[];
  /** Null: none, or disabled. */
  healthcheck: HealthcheckModel | null;
  restart: RestartModel;
  /** With its prefix: "SIGTERM". */
  stopSignal: string;
  stopGracePeriodMs: number;
  replicas: number;
  user: string | null;
  profiles: string[];
  networks: string[];
  container: ContainerModel;
  /** Keys that begin with "x-". */
  extensions: Record<string, unknown>;
  /** Every other key as it was written, variables filled in: `container` is made of them. */
  other: Record<string, unknown>;
};

/** What a service runs where no image adds to it: program and arguments. */
export function argvOf(service: Pick<ServiceModel, 'entrypoint' | 'command'>): string[] {
  return [...(service.entrypoint ?? []), ...(service.command ?? [])];
}

/** One port of a service. `published` null: any free one; `publishedEnd`: any free one from `published` up to this one. */
export type PortMapping = {
  target: number;
  published: number | null;
  publishedEnd: number | null;
  /** Without the brackets of IPv6. */
  hostIp: string | null;
  protocol: 'tcp' | 'udp';
};

export type DependencyCondition = 'service_started' | 'service_healthy' | 'service_completed_successfully';
export type Dependency = { service: string; condition: DependencyCondition; required: boolean; restart: boolean };

export type VolumeMount = {
  type: 'volume' | 'bind' | 'tmpfs' | 'cluster' | 'npipe' | 'image';
  /** A volume's name or a path on the host; null: anonymous. */
  source: string | null;
  target: string;
  readOnly: boolean;
};

/** A config or secret as a file of a service. `mode`: permission bits. */
export type FileMount = { source: string; target: string; uid: string | null; gid: string | null; mode: number };

export type HealthcheckModel = {
  /** Program and arguments; a test for a shell is `/bin/sh -c …`. */
  argv: string[];
  intervalMs: number;
  timeoutMs: number;
  retries: number;
  startPeriodMs: number;
  startIntervalMs: number;
};

export type RestartModel = {
  name: 'no' | 'always' | 'on-failure' | 'unless-stopped';
  /** Only with on-failure; null: without end. */
  maxRetries: number | null;
};

export type VolumeModel = { external: boolean; driver: string | null; other: Record<string, unknown> };
export type NetworkModel = {
  external: boolean;
  internal: boolean;
  driver: string | null;
  other: Record<string, unknown>;
};

/** Where the text of a config or secret comes from. `content` is null while that is not known. */
export type FileSource = {
  content: string | null;
  /** The variable that holds the content. */
  environment: string | null;
  /** Null once the file is read: its text is the content. */
  file: string | null;
  external: boolean;
};

/** What a list of a stack's services shows; `ports` as a compose file writes them: "8080:80/tcp". */
export type StackServiceSummary = {
  name: string;
  image: string | null;
  command: string[] | null;
  ports: string[];
  dependsOn: string[];
  replicas: number;
};

/** A port as a compose file writes it: "127.0.0.1:8080:80", "8000-8010:80", "80/udp". */
export function formatPort(port: PortMapping): string {
  const range = port.publishedEnd === null ? '' : `-${port.publishedEnd}`;
  const host = port.hostIp === null ? '' : port.hostIp.includes(':') ? `[${port.hostIp}]:` : `${port.hostIp}:`;
  const published = port.published === null ? host && ':' : `${port.published}${range}:`;
  return `${host}${published}${port.target}${port.protocol === 'tcp' ? '' : `/${port.protocol}`}`;
}
