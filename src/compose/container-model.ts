/**
 * What a service says of the container that it runs in. A runtime without containers takes none of it. Null, an empty list or an
 * empty record: the image's or the engine's own default.
 */
export type ContainerModel = {
  /** As written; the image's own where null. [] clears it. */
  entrypoint: string[] | null;
  command: string[] | null;
  /** "1000:1000" or a name of the image's. */
  user: string | null;
  groupAdd: string[];
  hostname: string | null;
  domainname: string | null;
  /** Fixed: then there can be one of it only. */
  containerName: string | null;
  labels: Record<string, string>;
  annotations: Record<string, string>;

  /** Null: the image's own. */
  stopSignal: string | null;
  /** Whether the health check that the image may bring is switched off. */
  noHealthcheck: boolean;

  tty: boolean;
  stdinOpen: boolean;
  /** Whether an init process forwards signals and reaps; null: as the engine has it. */
  init: boolean | null;
  readOnly: boolean;

  privileged: boolean;
  capAdd: string[];
  capDrop: string[];
  securityOpt: string[];
  devices: { source: string; target: string; permissions: string }[];
  deviceCgroupRules: string[];
  sysctls: Record<string, string>;
  /** -1: without a limit. */
  ulimits: Record<string, { soft: number; hard: number }>;
  resources: ContainerResources;
  storageOpt: Record<string, string>;

  /** "none", "host", "bridge" (the engine's own), "service:<name>" or "container:<name>"; null: `networks` says. */
  networkMode: string | null;
  /** In the order of falling priority; [] without a networkMode never occurs: there is always the stack's "default". */
  networks: NetworkAttachment[];
  dns: string[];
  dnsOpt: string[];
  dnsSearch: string[];
  /** "name:address" each. */
  extraHosts: string[];
  macAddress: string | null;
  /** Ports that other containers reach, "80/tcp". */
  expose: string[];
  /** What is spoken at a port of the container, by its number, as the file names it: { "80": "http" }. */
  appProtocols: Record<string, string>;
  /** Other names for other services of the stack: "service:alias". */
  links: string[];
  ipc: string | null;
  pid: string | null;
  uts: string | null;
  userns: string | null;
  cgroup: string | null;
  cgroupParent: string | null;
  /** The engine's own name of an OCI runtime. */
  runtime: string | null;

  mounts: ContainerMount[];
  /** Files of the stack's own "x-windflow: { files }" that it binds by a relative path. */
  files: ContainerFile[];
  /** "service", "service:ro" or "container:name". */
  volumesFrom: string[];
  logging: { driver: string; options: Record<string, string> } | null;

  /** "linux/arm64". */
  platform: string | null;
  pullPolicy: PullPolicy;
  build: BuildModel | null;
};

export type PullPolicy = 'always' | 'missing' | 'never' | 'build';

/** Bytes, or as the field's name says; null: no limit. */
export type ContainerResources = {
  nanoCpus: number | null;
  cpuShares: number | null;
  cpuPeriod: number | null;
  cpuQuota: number | null;
  cpuset: string | null;
  memory: number | null;
  memoryReservation: number | null;
  /** Memory and swap together; -1: as much swap as there is. */
  memorySwap: number | null;
  memorySwappiness: number | null;
  pids: number | null;
  shm: number | null;
  oomKillDisable: boolean;
  oomScoreAdj: number | null;
};

export type NetworkAttachment = {
  /** A key of the file's networks, or "default". */
  network: string;
  /** Names under which other containers find it there, beside the service's own. */
  aliases: string[];
  ipv4Address: string | null;
  ipv6Address: string | null;
  linkLocalIps: string[];
  driverOpts: Record<string, string>;
};

export type ContainerMount =
  | {
      type: 'volume';
      /** A key of the file's volumes; null: anonymous, gone with the container. */
      source: string | null;
      target: string;
      readOnly: boolean;
      /** Whether what the image has there is copied into a new volume. */
      copy: boolean;
      /** A folder in the volume. */
      subpath: string | null;
    }
  | {
      type: 'bind';
      /** An absolute path on the engine's host. */
      source: string;
      target: string;
      readOnly: boolean;
      propagation: string | null;
      /** Whether a missing folder is made on the host. */
      createHostPath: boolean;
      selinux: 'z' | 'Z' | null;
    }
  | { type: 'tmpfs'; target: string; readOnly: boolean; size: number | null; mode: number | null };

/** A file with its text; `mode`: permission bits. */
export type ContainerFile = { target: string; content: string; mode: number };

/** How an image is built. */
export type BuildModel = {
  context: BuildContext;
  /** Relative to the context; null where `dockerfileInline` is. */
  dockerfile: string | null;
  dockerfileInline: string | null;
  args: Record<string, string>;
  labels: Record<string, string>;
  /** The stage that is built; null: the last one. */
  target: string | null;
  cacheFrom: string[];
  extraHosts: string[];
  network: string | null;
  platforms: string[];
  /** Other names of the image. */
  tags: string[];
  shm: number | null;
  noCache: boolean;
  pull: boolean;
};

export type BuildContext =
  /** Files of the compose file's own "x-windflow: { files }" under the context's folder, by path relative to it. */
  | { type: 'files'; files: Record<string, string> }
  /** "https://host/repository.git#branch:folder". */
  | { type: 'git'; url: string };

/** A network of the stack, or one that is there already. */
export type ContainerNetwork = {
  /** As the engine knows it; null: named after the project and the key. */
  name: string | null;
  external: boolean;
  internal: boolean;
  attachable: boolean;
  driver: string | null;
  driverOpts: Record<string, string>;
  enableIpv6: boolean;
  ipam: { driver: string | null; options: Record<string, string>; pools: IpamPool[] };
  labels: Record<string, string>;
};
export type IpamPool = { subnet: string | null; ipRange: string | null; gateway: string | null };

/** A volume of the stack, or one that is there already. */
export type ContainerVolume = {
  /** As the engine knows it; null: named after the project and the key. */
  name: string | null;
  external: boolean;
  driver: string | null;
  driverOpts: Record<string, string>;
  labels: Record<string, string>;
};
