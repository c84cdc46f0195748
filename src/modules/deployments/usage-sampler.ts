import type { Pool } from 'pg';
import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';
import type { Bus } from '../../realtime/bus.ts';
import { OUTAGE_PATIENCE_MS, retry } from '../../realtime/retry.ts';
import {
  type InstanceUsage,
  type Runtime,
  RuntimeError,
  RuntimeUnavailableError,
  type StackRef,
} from '../../runtimes/runtime.ts';
import { type Clock, delay, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import { NotFoundError, UnavailableError } from '../../shared/errors.ts';
import { deploymentTopic } from './records.ts';
import { serviceUid } from './service-uid.ts';
import { readServices, type ServiceView } from './service-views.ts';
import { isFinal } from './state.ts';
import { type ServiceUsage, serviceUsages } from './usage.ts';

/** Between two samples of a deployment that somebody watches; one that is younger answers whoever asks once. */
export const SAMPLE_INTERVAL_MS = 2 * SECOND_MS;
/** A sample that is younger than this is taken for a new one: over a shorter time CPU usage says little. */
const MIN_INTERVAL_MS = SECOND_MS;
/** So long a sample is kept to be compared with. */
const KEPT_MS = MINUTE_MS;
/** Changes of a deployment that follow each other faster are looked at once. */
const CHANGES_INTERVAL_MS = 100;
const TRY_AGAIN_MS = 5 * SECOND_MS;
const ENDED: readonly string[] = ['PENDING', 'EXITED', 'STOPPED'];

/** `number` rises from sample to sample, whichever deployment they are of. */
export type UsageSample = { number: number; sampledAt: Date; services: ServiceUsage[] };

export type SamplerDependencies = {
  pool: Pool;
  bus: Bus;
  clock: Clock;
  /** What this server can ask of a host; null: nothing. */
  runtimeOf(hostId: string): Runtime | null;
};

type Standing = {
  id: string;
  status: DeploymentStatus;
  finishedAt: Date | null;
  hostId: string | null;
  stack: StackRef;
  services: ServiceView[];
};
type Taken = { at: number; isFinal: boolean; sample: UsageSample; instances: ReadonlyMap<string, InstanceUsage> };

/** Samples what deployments use: of each that is watched, one sample for all who watch it on this server, and none once nobody does. */
export class UsageSampler {
  readonly #deps: SamplerDependencies;
  readonly #watched = new Map<string, WatchedUsage>();
  /** The newest of each deployment, the oldest first. */
  readonly #taken = new Map<string, Taken>();
  readonly #taking = new Map<string, Promise<UsageSample>>();
  #number = 0;

  constructor(deps: SamplerDependencies) {
    this.#deps = deps;
  }

  /** Begins to watch a deployment. Dispose of it, or it is sampled for ever. */
  watch(deploymentId: string): UsageWatch {
    let watched = this.#watched.get(deploymentId);
    if (!watched) {
      const begun = new WatchedUsage(() => {
        if (this.#watched.get(deploymentId) === begun) this.#watched.delete(deploymentId);
      });
      this.#watched.set(deploymentId, begun);
      void this.#run(deploymentId, begun);
      watched = begun;
    }
    return new UsageWatch(watched);
  }

  /** What deployments use now, or did at most an interval ago; without those that this server does not reach. */
  async look(deploymentIds: string[]): Promise<Map<string, UsageSample>> {
    const standings = await readStandings(this.#deps.pool, deploymentIds);
    const samples = await Promise.all(
      standings.map(async (standing) => {
        try {
          return [[standing.id, await this.#sample(standing, SAMPLE_INTERVAL_MS)] as const];
        } catch (error) {
          if (error instanceof UnavailableError) return [];
          throw error;
        }
      }),
    );
    return new Map(samples.flat());
  }

  async #run(id: string, watched: WatchedUsage): Promise<void> {
    const { signal } = watched;
    const { pool, bus } = this.#deps;
    try {
      using changes = bus.watch([deploymentTopic(id)]);
      for (let due = 0; !signal.aborted; ) {
        const [standing] = await retry(() => readStandings(pool, [id]), { signal, patienceMs: OUTAGE_PATIENCE_MS });
        if (!standing) throw new NotFoundError('deployment');
        const isOver = isFinal(standing.status);
        if (isOver || performance.now() >= due) {
          due = performance.now() + SAMPLE_INTERVAL_MS;
          watched.tell(await this.#sample(standing, MIN_INTERVAL_MS));
        }
        if (isOver) break;
        await Promise.all([
          changes.wait(Math.max(0, due - performance.now()), signal),
          delay(CHANGES_INTERVAL_MS, signal),
        ]);
      }
      watched.end(null);
    } catch (error) {
      watched.end(error);
    }
  }

  /** One that is young enough, or a new one. @throws {UnavailableError} where something runs on a host that this server does not reach */
  #sample(standing: Standing, maxAgeMs: number): Promise<UsageSample> {
    const { id } = standing;
    const isOver = isFinal(standing.status);
    const newest = this.#taken.get(id);
    // Of what is final nothing changes any more.
    if (newest && (isOver ? newest.isFinal : performance.now() - newest.at < maxAgeMs))
      return Promise.resolve(newest.sample);
    const key = JSON.stringify([id, isOver]);
    let taking = this.#taking.get(key);
    if (!taking) {
      taking = this.#take(standing).finally(() => this.#taking.delete(key));
      this.#taking.set(key, taking);
    }
    return taking;
  }

  async #take(standing: Standing): Promise<UsageSample> {
    const { id, status, services, finishedAt } = standing;
    const found = await this.#ask(standing);
    const instances = new Map(found.map((usage) => [usage.instanceId, usage]));
    const before = this.#taken.get(id)?.instances ?? new Map();
    const sample: UsageSample = {
      number: ++this.#number,
      sampledAt: finishedAt ?? this.#deps.clock.now(),
      services: serviceUsages(services, instances, before),
    };
    this.#keep(id, { at: performance.now(), isFinal: isFinal(status), sample, instances });
    return sample;
  }

  async #ask({ status, hostId, stack, services }: Standing): Promise<InstanceUsage[]> {
    const replicas = isFinal(status) ? [] : services.flatMap((service) => service.replicas);
    const running = replicas.filter(({ state }) => !ENDED.includes(state)).map(({ instance }) => instance);
    if (running.length === 0) return [];
    const runtime = hostId === null ? null : this.#deps.runtimeOf(hostId);
    if (!runtime) throw unreached();
    // A runtime that does not answer for a while is no reason to end: nothing is known meanwhile.
    return await runtime.usage(stack, running).catch((error: unknown) => {
      if (error instanceof RuntimeError || error instanceof RuntimeUnavailableError) return [];
      throw error;
    });
  }

  #keep(id: string, taken: Taken): void {
    this.#taken.delete(id);
    this.#taken.set(id, taken);
    for (const [known, { at }] of this.#taken) {
      if (taken.at - at < KEPT_MS) break;
      this.#taken.delete(known);
    }
  }
}

function unreached(): UnavailableError {
  const message = 'this server does not reach the host of the deployment: another one of this installation may';
  return new UnavailableError(message, TRY_AGAIN_MS);
}

/** A deployment that is being sampled, from the first watcher's coming to the last one's leaving. */
class WatchedUsage {
  readonly #stop = new AbortController();
  readonly #leave: () => void;
  readonly #listeners = new Set<() => void>();
  newest: UsageSample | null = null;
  /** Set once no more samples come: null as error where the deployment is final. */
  ended: { error: unknown } | null = null;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  tell(sample: UsageSample): void {
    this.newest = sample;
    this.#wake();
  }

  end(error: unknown): void {
    this.ended = { error };
    this.#leave();
    this.#wake();
  }

  add(listener: () => void): void {
    this.#listeners.add(listener);
  }

  remove(listener: () => void): void {
    if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
    this.#leave();
    this.#stop.abort();
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** One watcher of a deployment's samples. It is told the newest, whatever came before it. */
export class UsageWatch implements Disposable {
  readonly #watched: WatchedUsage;
  readonly #onNews = () => this.#woken?.();
  #woken: (() => void) | null = null;

  constructor(watched: WatchedUsage) {
    this.#watched = watched;
    watched.add(this.#onNews);
  }

  /**
   * The newest sample with a higher number, as soon as there is one; null where none came within `timeoutMs`, the signal aborted, or the
   * deployment is final. Throws what ended the sampling.
   */
  async after(number: number, timeoutMs: number, signal: AbortSignal): Promise<UsageSample | null> {
    if (!this.#newerThan(number) && !this.#watched.ended) {
      const news = new AbortController();
      this.#woken = () => news.abort();
      await delay(timeoutMs, AbortSignal.any([signal, news.signal]));
      this.#woken = null;
    }
    if (signal.aborted) return null;
    const newer = this.#newerThan(number);
    if (!newer && this.#watched.ended?.error) throw this.#watched.ended.error;
    return newer;
  }

  /** Whether nothing comes after the newest sample. */
  get isOver(): boolean {
    return this.#watched.ended !== null;
  }

  [Symbol.dispose](): void {
    this.#watched.remove(this.#onNews);
  }

  #newerThan(number: number): UsageSample | null {
    const { newest } = this.#watched;
    return newest && newest.number > number ? newest : null;
  }
}

type StandingRow = Pick<Standing, 'id' | 'status' | 'finishedAt' | 'hostId'> & {
  stackEnvironmentId: string;
  environmentId: string;
  stackId: string;
  uidOffset: number | null;
};

async function readStandings(pool: Pool, ids: string[]): Promise<Standing[]> {
  const { rows } = await pool.query<StandingRow>(
    `select d.id, d.status::text as status, d.finished_at as "finishedAt", e.host_id as "hostId", e.uid_offset as "uidOffset",
            se.id as "stackEnvironmentId", se.environment_id as "environmentId", se.stack_id as "stackId"
     from deployments d join stack_environments se on se.id = d.stack_environment_id join environments e on e.id = se.environment_id
     where d.id = any($1)`,
    [ids],
  );
  const services = rows.length === 0 ? new Map<string, ServiceView[]>() : await readServices(pool, ids);
  return rows.map(({ stackEnvironmentId, environmentId, stackId, uidOffset, ...row }) => ({
    ...row,
    stack: { id: stackEnvironmentId, environmentId, stackId, uid: serviceUid(uidOffset) },
    services: services.get(row.id) ?? [],
  }));
}
