import { describe, expect, it } from 'vitest';
import type { InstanceUsage } from '../../runtimes/runtime.ts';
import type { ServiceView } from './service-views.ts';
import { serviceUsages } from './usage.ts';

const used = (instanceId: string, differing: Partial<InstanceUsage> = {}): InstanceUsage => ({
  instanceId,
  sampledAt: 10_000,
  cpuMs: 5_000,
  memoryBytes: 100,
  memoryLimitBytes: 1_000,
  networkReceivedBytes: 7,
  networkSentBytes: 8,
  ...differing,
});
const byInstance = (...usages: InstanceUsage[]) => new Map(usages.map((usage) => [usage.instanceId, usage]));
const web: ServiceView = {
  deploymentId: 'd',
  name: 'web',
  state: 'RUNNING',
  replicas: ['a', 'b'].map((instance, index) => ({
    number: index + 1,
    instance,
    state: 'RUNNING',
    restarts: index + 2,
    exitCode: null,
    ports: [],
    startedAt: null,
  })),
};
const usageOf = (now: InstanceUsage[], before: InstanceUsage[] = []) =>
  serviceUsages([web], byInstance(...now), byInstance(...before))[0]!;

describe('what a service uses', () => {
  it('should be the sum of its replicas', () => {
    const usage = usageOf([used('a'), used('b', { memoryBytes: 50, networkSentBytes: 1 })]);
    expect(usage).toMatchObject({ name: 'web', restarts: 5, memoryBytes: 150, memoryLimitBytes: 2_000 });
    expect(usage).toMatchObject({ networkReceivedBytes: 14, networkSentBytes: 9, isRunning: true });
    expect(usage.replicas).toMatchObject([
      { number: 1, instance: 'a', restarts: 2, memoryBytes: 100 },
      { number: 2, instance: 'b', restarts: 3, memoryBytes: 50 },
    ]);
  });

  it('should have no limit where a replica has none', () => {
    expect(usageOf([used('a'), used('b', { memoryLimitBytes: null })])).toMatchObject({ memoryLimitBytes: null });
  });

  it('should count what runs alone', () => {
    const usage = usageOf([used('b')]);
    expect(usage).toMatchObject({ memoryBytes: 100, memoryLimitBytes: 1_000, restarts: 5 });
    expect(usage.replicas[0]).toMatchObject({ memoryBytes: null, restarts: 2 });
    const none = { memoryBytes: null, memoryLimitBytes: null, networkSentBytes: null, cpuPercent: null };
    expect(usageOf([])).toMatchObject({ ...none, isRunning: false });
  });
});

describe('the CPU usage', () => {
  const cpuOf = (before: Partial<InstanceUsage>) => usageOf([used('a')], [used('a', before)]).cpuPercent;

  it('should be 100 for each core that was busy since the look before', () => {
    expect(cpuOf({ sampledAt: 8_000, cpuMs: 3_000 })).toBe(100);
    expect(cpuOf({ sampledAt: 8_000, cpuMs: 1_000 })).toBe(200);
    expect(cpuOf({ sampledAt: 7_000, cpuMs: 4_999 })).toBe(0.03);
  });

  it('should be unknown at the first look, and when it was started anew', () => {
    expect(usageOf([used('a')]).cpuPercent).toBeNull();
    expect(cpuOf({ sampledAt: 8_000, cpuMs: 5_001 })).toBeNull();
    expect(cpuOf({ sampledAt: 10_000, cpuMs: 1_000 })).toBeNull();
  });

  it('should be that of the replicas of which it is known', () => {
    const before = [used('a', { sampledAt: 8_000, cpuMs: 4_000 })];
    expect(usageOf([used('a'), used('b')], before).cpuPercent).toBe(50);
  });
});
