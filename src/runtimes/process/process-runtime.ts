import { setTimeout as sleep } from 'node:timers/promises';
import { checkInstanceSpec } from '../instance-spec-check.ts';
import {
  type Drift,
  type InstanceSpec,
  type InstanceStatus,
  type InstanceUsage,
  type LogChunk,
  type LogPlace,
  type LogRef,
  type Runtime,
  RuntimeError,
  type StackRef,
  StaleLeaseError,
} from '../runtime.ts';
import { StatusReporter } from '../status-reporter.ts';
import { serviceDrift } from './file-drift.ts';
import { Layout, shortName } from './layout.ts';
import { portIsFree } from './port-probe.ts';
import { ProcessUsage } from './process-usage.ts';
import { spoolEnd, trimSpool } from './resting-spool.ts';
import { nameServiceUser } from './service-user.ts';
import { readSpool } from './spool-reader.ts';
import { StackLink } from './stack-link.ts';
import { bootId } from './supervisor/process-identity.mjs';
import { readJson, readRecords, statusWithoutSupervisor } from './supervisor/state-file.mjs';

const DEFAULT_SPOOL_BYTES = 256 * 1024 * 1024;
const DEFAULT_IDLE_END_MS = 30_000;
const MIN_SPOOL_BYTES = 1024 * 1024;
/** How often a dead supervisor's successor is looked for. */
const RECONNECT_MS = 250;
/** A supervisor whose stack was removed ends within this time. */
const SUPERVISOR_END_MS = 2_000;
const SUPERVISOR_END_POLL_MS = 10;
/** Between two reads of a log that grows all the time; a line waits no longer for its reader. */
const READ_PAUSE_MS = 10;

export type ProcessRuntimeOptions = {
  /** Everything of this runtime lies here, e.g. /var/lib/windflow/runtime; short, for the sake of socket paths. */
  directory: string;
  /** A Node of version 20 or newer: runs the supervisors, and services that call `node`. */
  nodePath: string;
  log: Record<'info' | 'warn' | 'error', (details: object, message: string) => void>;
  /** Bound of one stack's log on disk, 1 MiB at least. */
  spoolBytes?: number;
  /** After this time without anything that runs a supervisor ends; its records and its log stay. */
  idleEndMs?: number;
};

/** Runs services as processes of this host, each stack's under a supervisor that outlives the control plane. */
export function createProcessRuntime(options: ProcessRuntimeOptions): ProcessRuntime {
  return new ProcessRuntime(options);
}

export class ProcessRuntime implements Runtime, AsyncDisposable {
  readonly logsBy = 'stack';
  readonly images = null;
  readonly ingress = null;
  readonly portIsFree = portIsFree;
  #options: Required<ProcessRuntimeOptions>;
  #layout: Layout;
  #links = new Map<string, StackLink>();
  #closing = new AbortController();
  #nodeIsReady: Promise<void> | null = null;
  #namedUsers = new Map<number, Promise<void>>();
  #usage = new ProcessUsage();

  constructor(options: ProcessRuntimeOptions) {
    const { spoolBytes = DEFAULT_SPOOL_BYTES, idleEndMs = DEFAULT_IDLE_END_MS } = options;
    this.#options = { ...options, spoolBytes, idleEndMs };
    if (!(this.#options.spoolBytes >= MIN_SPOOL_BYTES)) {
      throw new RuntimeError(`spoolBytes: ${options.spoolBytes} is less than ${MIN_SPOOL_BYTES}`);
    }
    this.#layout = new Layout(options.directory);
  }

  /** The directory that a service knows as WINDFLOW_ROOT: absolute paths of its compose file lie in it. */
  serviceRoot(stack: StackRef, service: string): string {
    return this.#layout.serviceRoot(stack, service);
  }

  /** A process takes nothing before it begins. */
  async create(_stack: StackRef, spec: InstanceSpec): Promise<void> {
    checkInstanceSpec(spec);
  }

  async start(stack: StackRef, spec: InstanceSpec, epoch: number): Promise<InstanceStatus> {
    checkInstanceSpec(spec);
    if (stack.uid !== null && process.geteuid?.() === 0) await this.#nameUser(stack.uid);
    return await this.#link(stack).demand('start', { epoch, uid: stack.uid, spec });
  }

  async stop(stack: StackRef, instanceId: string, epoch: number): Promise<void> {
    const link = this.#link(stack);
    if (!(await link.isLive())) {
      this.#refuseStale(stack, epoch);
      if (!this.#remembered(stack).some((status) => status.instanceId === instanceId)) return;
    }
    await link.demand('stop', { epoch, instanceId });
  }

  async list(stack: StackRef): Promise<InstanceStatus[]> {
    return (await this.#link(stack).ask<InstanceStatus[]>('list')) ?? this.#remembered(stack);
  }

  async usage(stack: StackRef, instanceIds: readonly string[]): Promise<InstanceUsage[]> {
    if (instanceIds.length === 0) return [];
    const running = (await this.list(stack)).filter(({ instanceId }) => instanceIds.includes(instanceId));
    return await this.#usage.read(running.flatMap(({ instanceId, pid }) => (pid === null ? [] : { instanceId, pid })));
  }

  async drift(stack: StackRef, specs: readonly InstanceSpec[]): Promise<Map<string, Drift[]>> {
    const place = { places: this.#layout.places(stack), uid: stack.uid };
    const byService = Map.groupBy(specs, ({ service }) => service);
    const found = await Promise.all(
      [...byService].map(([service, replicas]) => serviceDrift(place, service, replicas)),
    );
    return new Map(found.flat().filter(([, drift]) => drift.length > 0));
  }

  async watch(stack: StackRef, listener: (status: InstanceStatus) => void, signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([signal, this.#closing.signal]);
    const reporter = new StatusReporter(listener, until, (error) => {
      this.#options.log.error({ stack: stack.id, err: error }, 'a listener for statuses failed');
    });
    let toldOfDeath = false;
    while (!until.aborted) {
      const link = this.#link(stack);
      const { opened } = link;
      const connected = await link.follow(reporter, until).catch((error: Error) => {
        this.#options.log.warn({ stack: stack.id, err: error }, 'a supervisor cannot be watched; it is tried again');
        return true;
      });
      if (!connected && !toldOfDeath) reporter.all(this.#remembered(stack));
      toldOfDeath = !connected;
      await Promise.race([pause(RECONNECT_MS, until), opened]);
    }
  }

  logs({ stack }: LogRef, { position: from }: LogPlace, signal: AbortSignal): AsyncIterable<LogChunk> {
    const until = AbortSignal.any([signal, this.#closing.signal]);
    const aborted = new Promise<null>((resolve) => {
      until.addEventListener('abort', () => resolve(null), { once: true });
    });
    return readSpool({
      directory: this.#layout.stack(stack).spool,
      from,
      signal: until,
      waitForMore: async (after) => {
        if (until.aborted) return null;
        const { opened } = this.#link(stack);
        const end = await Promise.race([this.#appended(stack, after), aborted]);
        if (end === null) await Promise.race([pause(RECONNECT_MS, until), opened]);
        else await pause(READ_PAUSE_MS, until);
        if (end === null || end >= after) return null;
        this.#options.log.warn(
          { stack: stack.id, after, end },
          'a stack’s log was lost; it is read from its new start',
        );
        return { restartAt: 0 };
      },
    });
  }

  async trimLogs({ stack }: LogRef, before: number): Promise<void> {
    const link = this.#link(stack);
    if (await link.isLive()) await link.ask('trim', { before });
    else trimSpool(this.#layout.stack(stack).spool, before);
  }

  async logEnd({ stack }: LogRef): Promise<number> {
    return (await this.#link(stack).ask<number>('logEnd')) ?? spoolEnd(this.#layout.stack(stack).spool);
  }

  async unreadLogs(): Promise<string[]> {
    return [];
  }

  async removeStack(stack: StackRef, { volumes }: { volumes: boolean }, epoch: number): Promise<void> {
    const link = this.#link(stack);
    if (!(await link.isLive())) {
      this.#refuseStale(stack, epoch);
      if (!this.#layout.hasFiles(stack) && this.#remembered(stack).length === 0) return;
    }
    await link.demand('remove', { epoch, uid: stack.uid, volumes });
  }

  async forgetStack(stack: StackRef, epoch: number): Promise<void> {
    this.#refuseStale(stack, epoch);
    const left = (await this.list(stack)).length;
    if (left > 0) throw new RuntimeError(`the stack still has ${left} instances: stop them first`);
    const link = this.#link(stack);
    this.#links.delete(stack.id);
    const deadline = Date.now() + SUPERVISOR_END_MS;
    // One that lives on ends without its directory, but might still write into it while that is being deleted.
    while (Date.now() < deadline && (await link.isLive())) await sleep(SUPERVISOR_END_POLL_MS);
    link.close();
    await this.#layout.removeHome(stack);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const link of this.#links.values()) link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #link(stack: StackRef): StackLink {
    if (this.#closing.signal.aborted) throw new RuntimeError('the runtime is closed');
    let link = this.#links.get(stack.id);
    if (!link) {
      const { nodePath, spoolBytes, idleEndMs } = this.#options;
      const { directory } = this.#layout;
      const home = this.#layout.stack(stack);
      const environment = shortName(stack.environmentId);
      link = new StackLink({ home, directory, environment, nodePath, spoolBytes, idleEndMs }, async () => {
        this.#layout.prepare(stack);
        await this.#prepareNode();
      });
      this.#links.set(stack.id, link);
    }
    return link;
  }

  #prepareNode(): Promise<void> {
    this.#nodeIsReady ??= this.#layout.prepareNode(this.#options.nodePath).catch((error: unknown) => {
      this.#nodeIsReady = null;
      throw error;
    });
    return this.#nodeIsReady;
  }

  #nameUser(uid: number): Promise<void> {
    const named =
      this.#namedUsers.get(uid) ??
      nameServiceUser(uid).catch((error: Error) => {
        this.#options.log.warn(
          { uid, err: error },
          'the user of an environment got no name; programs that look it up will fail',
        );
      });
    this.#namedUsers.set(uid, named);
    return named;
  }

  /** The log's end, once it is not `after`; null when no supervisor is there to ask. */
  async #appended(stack: StackRef, after: number): Promise<number | null> {
    try {
      return await this.#link(stack).ask<number>('logWait', { after });
    } catch (error) {
      if (!this.#closing.signal.aborted)
        this.#options.log.warn({ stack: stack.id, err: error }, 'waiting for log output failed');
      return null;
    }
  }

  /** What the records say while no supervisor lives. */
  #remembered(stack: StackRef): InstanceStatus[] {
    const currentBootId = bootId();
    return readRecords(this.#layout.stack(stack).state).map((record) => statusWithoutSupervisor(record, currentBootId));
  }

  /** What the supervisor itself would say, were there one. */
  #refuseStale(stack: StackRef, epoch: number): void {
    const seen: number = readJson(this.#layout.stack(stack).memory)?.epoch ?? 0;
    if (epoch < seen) throw new StaleLeaseError(`epoch ${epoch} is over: this stack was taken over with epoch ${seen}`);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, null, { signal }).catch(() => {});
}
