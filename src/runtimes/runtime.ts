/**
 * What a runtime can do. A runtime knows instances, never deployments: which deployment an instance
 * belongs to is the control plane's business and changes while the instance runs on.
 *
 * Every method is idempotent: it looks at what is, then changes what differs. Calls that change something
 * carry the lease's epoch; a runtime refuses an epoch lower than the highest it has seen (`StaleLeaseError`).
 */

import type { ContainerModel, ContainerNetwork, ContainerVolume } from '../compose/index.ts';
import type { ImageStore, ResolvedImage } from './images.ts';
import type { LogChunk, LogPlace, LogRef } from './logs.ts';

export type * from './images.ts';
export * from './logs.ts';

export type ServiceState =
  | 'PENDING'
  | 'STARTING'
  | 'RUNNING'
  | 'HEALTHY'
  | 'UNHEALTHY'
  | 'RESTARTING'
  | 'EXITED'
  | 'STOPPED';

/** One stack in one environment: what shares volumes, peers and a log. */
export type StackRef = {
  /** The id of the `stack_environments` row, a UUID: names the runtime's own folder or project. */
  id: string;
  environmentId: string;
  stackId: string;
  /** Numeric user id that the environment's services run under; null where services share the server's rights. */
  uid: number | null;
};

export type PortBinding = { target: number; published: number; host: string; protocol: 'tcp' | 'udp' };

export type Healthcheck = {
  /** Program and arguments; never a shell string. */
  argv: string[];
  intervalMs: number;
  timeoutMs: number;
  retries: number;
  startPeriodMs: number;
  startIntervalMs: number;
};

export type RestartPolicy = {
  name: 'no' | 'always' | 'on-failure' | 'unless-stopped';
  /** Only with on-failure; null: without end. */
  maxRetries: number | null;
};

/** A file that exists before the process starts: an inline config or secret of the compose file. */
export type InstanceFile = {
  target: string;
  content: string;
  mode: number;
  /** Numeric; absent: the runtime's own choice. */
  uid?: number;
  gid?: number;
};

export type VolumeMount = { name: string; target: string; readOnly: boolean };

/** Everything that decides how one replica of a service runs. Two instances with equal `configHash` run the same thing. */
export type InstanceSpec = {
  instanceId: string;
  service: string;
  /** 1, 2, 3 … */
  replica: number;
  configHash: string;
  /** Program and arguments. */
  argv: string[];
  environment: Record<string, string>;
  /** Absolute inside the service's own root, or relative to it; null: the root itself. */
  workingDir: string | null;
  files: InstanceFile[];
  volumes: VolumeMount[];
  ports: PortBinding[];
  healthcheck: Healthcheck | null;
  restart: RestartPolicy;
  /** With its prefix: "SIGTERM". */
  stopSignal: NodeJS.Signals;
  stopGracePeriodMs: number;
  /** Absent for runtimes without containers. */
  container?: ContainerSpec;
};

/** The container that an instance is, where the runtime has containers: then `argv` is what an image adds nothing to. */
export type ContainerSpec = Omit<ContainerModel, 'build' | 'pullPolicy' | 'platform' | 'files'> & {
  /** Names the stack for its engine, as Compose does: lower case letters, digits, "-" and "_". */
  project: string;
  image: ResolvedImage;
  /** Whether its published ports belong to the stack's ingress: then its engine binds none of them. */
  behindIngress: boolean;
  /** Services in whose containers it has its network, processes or volumes, and what these are: of another one it has nothing. */
  joined?: Record<string, string>;
  /** Those that it is attached to, by key. */
  networkDefinitions: Record<string, ContainerNetwork>;
  /** Those that it mounts, by key. */
  volumeDefinitions: Record<string, ContainerVolume>;
};

/** A published port that a stack's ingress holds, and the instances that new connections go to. */
export type IngressRoute = {
  /** TCP. `target`: where the instances listen. */
  port: PortBinding;
  /**
   * Null: whether a connection speaks HTTP is found out from its first bytes, which are waited for: where the server speaks first, this
   * is 'tcp'.
   */
  protocol: 'http' | 'tcp' | null;
  instanceIds: readonly string[];
};

/** Holds the published ports of stacks, so that the instances behind them can come and go without a connection that fails. */
export interface Ingress {
  /**
   * Sends new connections of each port to its instances, evenly, from the moment it resolves; connections under way to others go on, and
   * one that waits for its next request is closed after the next answer. Another set of ports makes the ingress anew, which interrupts
   * all of them. No routes: removes it.
   */
  route(stack: StackRef & { project: string }, routes: readonly IngressRoute[], epoch: number): Promise<void>;
  /** Removes it with all that is its own. Does nothing where there is none. */
  remove(stack: StackRef, epoch: number): Promise<void>;
  /** Resolves when no connection goes to an instance that has no route any more, at the latest after `timeoutMs`, or when the signal aborts. */
  drain(stack: StackRef, timeoutMs: number, signal: AbortSignal): Promise<void>;
}

/** What an instance was given, and that was changed or taken away since by somebody's hand. */
export type Drift = FileDrift | SettingDrift;
export type FileDrift = { target: string; found: 'changed' | 'missing' };
/** In the words of a compose file: "mem_limit", from what is found to what it was started with. */
export type SettingDrift = { path: string; before: string; after: string };

export type InstanceStatus = {
  instanceId: string;
  service: string;
  replica: number;
  configHash: string;
  state: Exclude<ServiceState, 'PENDING'>;
  /** Restarts by policy since the instance was started. */
  restarts: number;
  /** Of these, those since the last run that was stable, as of the last end; absent where an older supervisor does not count them. */
  loopRestarts?: number;
  /** Of the last process that ended; 128 + signal number when a signal ended it; null while none has ended. */
  exitCode: number | null;
  /** ISO 8601, of the process that runs now or ran last. */
  startedAt: string | null;
  ports: PortBinding[];
  pid: number | null;
  /** One clause a person understands: "command not found: ngnix", "exited with code 1", "health check: exit 7: …". */
  reason: string | null;
};

/** What an instance has used, as one look at it tells. */
export type InstanceUsage = {
  instanceId: string;
  /** Milliseconds since the epoch, by the runtime's clock. */
  sampledAt: number;
  /** CPU time of all its processes since it was last started: grows until it starts anew. */
  cpuMs: number;
  /** Without the page cache of files. */
  memoryBytes: number;
  /** Null: it has no limit of its own. */
  memoryLimitBytes: number | null;
  /** Since it was last started; null: it shares the network of others. */
  networkReceivedBytes: number | null;
  networkSentBytes: number | null;
};

/** A call with an epoch lower than one the runtime has already seen: another control plane instance took over. */
export class StaleLeaseError extends Error {
  override name = 'StaleLeaseError';
}

/** The runtime could not do what was asked; `message` is one clause that a person understands. */
export class RuntimeError extends Error {
  override name = 'RuntimeError';
}

/** The runtime cannot be reached now: what was asked for may or may not have been done, and is asked for again. */
export class RuntimeUnavailableError extends Error {
  override name = 'RuntimeUnavailableError';
}

export interface Runtime {
  /** Whether a stack has one log, or each of its instances one of its own. */
  readonly logsBy: 'stack' | 'instance';
  /** Null: it has no images. */
  readonly images: ImageStore | null;
  /** Null: what publishes a port listens there itself. */
  readonly ingress: Ingress | null;
  /**
   * Makes ready beside what runs all that can be refused before an instance is started: its container. Needs none of what others hold, as
   * their ports and names. `start` begins it, `stop` takes it away.
   */
  create(stack: StackRef, spec: InstanceSpec, epoch: number): Promise<void>;
  /**
   * Starts one instance; does nothing when that instance id was started before, whatever became of it. Resolves when the process was
   * started or failed to start (then `state` is EXITED with a `reason`), not when it is healthy.
   */
  start(stack: StackRef, spec: InstanceSpec, epoch: number): Promise<InstanceStatus>;
  /** Stops an instance and forgets it: signal, grace period, SIGKILL for its whole process group. Absent: does nothing. Its log stays. */
  stop(stack: StackRef, instanceId: string, epoch: number): Promise<void>;
  /** What is there now, instances that ended included, in no particular order. */
  list(stack: StackRef): Promise<InstanceStatus[]>;
  /** What these instances use at this moment, in no particular order; those that do not run are left out. Looks, and changes nothing. */
  usage(stack: StackRef, instanceIds: readonly string[]): Promise<InstanceUsage[]>;
  /**
   * What differs from what these instances were started with, by instance id; what ended or restarted is told by `list`. Looks, and
   * changes nothing.
   */
  drift(stack: StackRef, specs: readonly InstanceSpec[]): Promise<Map<string, Drift[]>>;
  /**
   * Calls `listener` with an instance's status whenever it changed, after the current status of all. Reconnects by itself.
   * Ends when the signal aborts.
   */
  watch(stack: StackRef, listener: (status: InstanceStatus) => void, signal: AbortSignal): Promise<void>;
  /** A log from a place on, then live, until the signal aborts, or nothing more can come of it. An unknown instance's is empty. */
  logs(log: LogRef, from: LogPlace, signal: AbortSignal): AsyncIterable<LogChunk>;
  /** Everything before this position is stored elsewhere and may be deleted. */
  trimLogs(log: LogRef, before: number): Promise<void>;
  /** Position after the newest chunk; null: nobody knows before `logs` ends. */
  logEnd(log: LogRef): Promise<number | null>;
  /** Where each instance has a log of its own: those that were stopped, and whose log is not trimmed to its end yet. */
  unreadLogs(stack: StackRef): Promise<string[]>;
  /** Removes what is left of a stack without instances; `volumes`: its data too. */
  removeStack(stack: StackRef, options: { volumes: boolean }, epoch: number): Promise<void>;
  /**
   * Deletes the last of a stack that `removeStack` removed: its log, and what is remembered of it. For a stack that never comes
   * back: positions begin anew.
   */
  forgetStack(stack: StackRef, epoch: number): Promise<void>;
  /** Whether a program could listen there now. */
  portIsFree(host: string, port: number, protocol: 'tcp' | 'udp'): Promise<boolean>;
  /** Lets go of what this process holds; what runs goes on. */
  close(): Promise<void>;
}
