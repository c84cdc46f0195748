import type { InstanceUsage } from '../runtime.ts';
import { type Engine, EngineError } from './connection.ts';
import type { StackContainer } from './stack-containers.ts';

/** An engine reads the files of one cgroup after the other for each answer: no stack takes more of it at once. */
const MAX_REQUESTS_AT_ONCE = 8;
const NS_PER_MS = 1e6;
const NOT_FOUND = 404;
const CONFLICT = 409;

/** What is used of the answer to `GET /containers/{id}/stats`, which is without figures for a container that does not run. */
export type ContainerStats = {
  /** RFC 3339; the year 1 where the container does not run. */
  read: string;
  /** Nanoseconds. */
  cpu_stats?: { cpu_usage?: { total_usage?: number } };
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> };
  /** By interface; absent where the container has no network of its own. */
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
};

/** Null: the container does not run. `hostMemoryBytes` is what an engine gives as the limit of a container without one. */
export function usageOf(instanceId: string, stats: ContainerStats, hostMemoryBytes: number): InstanceUsage | null {
  const { usage, limit = 0, stats: parts = {} } = stats.memory_stats ?? {};
  const sampledAt = Date.parse(stats.read);
  if (usage === undefined || !(sampledAt > 0)) return null;
  const interfaces = stats.networks ? Object.values(stats.networks) : null;
  const sum = (of: 'rx_bytes' | 'tx_bytes') => interfaces?.reduce((total, counted) => total + counted[of], 0) ?? null;
  return {
    instanceId,
    sampledAt,
    cpuMs: (stats.cpu_stats?.cpu_usage?.total_usage ?? 0) / NS_PER_MS,
    memoryBytes: withoutPageCache(usage, parts),
    memoryLimitBytes: limit > 0 && limit < hostMemoryBytes ? limit : null,
    networkReceivedBytes: sum('rx_bytes'),
    networkSentBytes: sum('tx_bytes'),
  };
}

/** As `docker stats` counts it: what the kernel would give back first is not used. Its name differs with the version of cgroups. */
function withoutPageCache(usage: number, { total_inactive_file, inactive_file = 0 }: Record<string, number>): number {
  const cache = total_inactive_file ?? inactive_file;
  return cache < usage ? usage - cache : usage;
}

/** Asks an engine what containers use. */
export class UsageReader {
  readonly #engine: Engine;
  #hostMemoryBytes: Promise<number> | null = null;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Those that do not run are left out. */
  async read(containers: readonly StackContainer[]): Promise<InstanceUsage[]> {
    const hostMemoryBytes = await this.#hostMemory();
    const left = [...containers];
    const found: InstanceUsage[] = [];
    const ask = async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) {
        const stats = await this.#statsOf(next.id);
        const usage = stats && usageOf(next.instanceId, stats, hostMemoryBytes);
        if (usage) found.push(usage);
      }
    };
    await Promise.all(Array.from({ length: MAX_REQUESTS_AT_ONCE }, ask));
    return found;
  }

  async #statsOf(id: string): Promise<ContainerStats | null> {
    try {
      const query = { stream: false, 'one-shot': true };
      return await this.#engine.get<ContainerStats>(`/containers/${id}/stats`, { query });
    } catch (error) {
      if (error instanceof EngineError && (error.status === NOT_FOUND || error.status === CONFLICT)) return null;
      throw error;
    }
  }

  #hostMemory(): Promise<number> {
    this.#hostMemoryBytes ??= this.#engine.get<{ MemTotal: number }>('/info').then(
      ({ MemTotal }) => MemTotal,
      (error) => {
        this.#hostMemoryBytes = null;
        throw error;
      },
    );
    return this.#hostMemoryBytes;
  }
}
