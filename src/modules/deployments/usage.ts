import type { InstanceUsage } from '../../runtimes/runtime.ts';
import type { ServiceView } from './service-views.ts';

/** What is used at one moment; null where it is not known, or the runtime does not count it. */
export type Figures = {
  /** 100: one core was busy all the time since the look before. */
  cpuPercent: number | null;
  memoryBytes: number | null;
  memoryLimitBytes: number | null;
  networkReceivedBytes: number | null;
  networkSentBytes: number | null;
};
export type ReplicaUsage = Figures & { number: number; instance: string; restarts: number };
export type ServiceUsage = Figures & { name: string; restarts: number; replicas: ReplicaUsage[]; isRunning: boolean };

const NOTHING: Figures = {
  cpuPercent: null,
  memoryBytes: null,
  memoryLimitBytes: null,
  networkReceivedBytes: null,
  networkSentBytes: null,
};
const PERCENT = 100;

/** What the services of a deployment use, from two looks at its instances; `before` may lack some, or all. */
export function serviceUsages(
  services: readonly ServiceView[],
  now: ReadonlyMap<string, InstanceUsage>,
  before: ReadonlyMap<string, InstanceUsage>,
): ServiceUsage[] {
  return services.map(({ name, replicas: views }) => {
    const replicas = views.map(({ number, instance, restarts }) => ({
      ...figuresOf(now.get(instance), before.get(instance)),
      number,
      instance,
      restarts,
    }));
    const running = replicas.filter(({ instance }) => now.has(instance));
    const restarts = replicas.reduce((sum, replica) => sum + replica.restarts, 0);
    return { ...sumOf(running), name, restarts, replicas, isRunning: running.length > 0 };
  });
}

function figuresOf(now: InstanceUsage | undefined, before: InstanceUsage | undefined): Figures {
  if (!now) return NOTHING;
  const { memoryBytes, memoryLimitBytes, networkReceivedBytes, networkSentBytes } = now;
  return {
    cpuPercent: cpuPercentOf(now, before),
    memoryBytes,
    memoryLimitBytes,
    networkReceivedBytes,
    networkSentBytes,
  };
}

/** Null where there is nothing to compare with: its first look, or it was started anew since. */
function cpuPercentOf(now: InstanceUsage, before: InstanceUsage | undefined): number | null {
  if (!before || now.cpuMs < before.cpuMs || now.sampledAt <= before.sampledAt) return null;
  const percent = ((now.cpuMs - before.cpuMs) / (now.sampledAt - before.sampledAt)) * PERCENT;
  return Math.round(percent * 100) / 100;
}

/** Of replicas that run: what is known of some is summed; a limit only holds where all of them have one. */
function sumOf(running: readonly Figures[]): Figures {
  const sum = (of: keyof Figures) => {
    const known = running.flatMap((figures) => figures[of] ?? []);
    return known.length === 0 ? null : known.reduce((total, figure) => total + figure, 0);
  };
  const isLimited = running.every(({ memoryLimitBytes }) => memoryLimitBytes !== null);
  return {
    cpuPercent: sum('cpuPercent'),
    memoryBytes: sum('memoryBytes'),
    memoryLimitBytes: isLimited ? sum('memoryLimitBytes') : null,
    networkReceivedBytes: sum('networkReceivedBytes'),
    networkSentBytes: sum('networkSentBytes'),
  };
}
