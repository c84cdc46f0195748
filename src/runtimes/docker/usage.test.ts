import { describe, expect, it } from 'vitest';
import { type ContainerStats, usageOf } from './usage.ts';

const HOST_MEMORY = 25_276_026_880;
const running: ContainerStats = {
  read: '2026-11-25T00:21:01.638447002Z',
  cpu_stats: { cpu_usage: { total_usage: 189_623_757 } },
  memory_stats: { usage: 598_016, limit: 16_777_216, stats: { inactive_file: 9, total_inactive_file: 98_016 } },
  networks: { eth0: { rx_bytes: 400, tx_bytes: 7 }, eth1: { rx_bytes: 1, tx_bytes: 2 } },
};
const memoryOf = (memory: ContainerStats['memory_stats']) =>
  usageOf('web', { ...running, memory_stats: memory }, HOST_MEMORY);

describe('what an engine says that a container uses', () => {
  it('should be CPU time, memory and its limit, and the traffic of all interfaces', () => {
    expect(usageOf('web', running, HOST_MEMORY)).toEqual({
      instanceId: 'web',
      sampledAt: Date.UTC(2026, 10, 25, 0, 21, 1, 638),
      cpuMs: 189.623757,
      memoryBytes: 500_000,
      memoryLimitBytes: 16_777_216,
      networkReceivedBytes: 401,
      networkSentBytes: 9,
    });
  });

  it.each([
    ['cgroup v1', { inactive_file: 5, total_inactive_file: 300 }, 700],
    ['cgroup v2', { inactive_file: 400 }, 600],
    ['an engine that tells no parts', {}, 1_000],
    ['a cache that was counted later than the whole', { inactive_file: 1_001 }, 1_000],
  ])('should be without the page cache: %s', (_, stats, memoryBytes) => {
    expect(memoryOf({ usage: 1_000, limit: 2_000, stats })).toMatchObject({ memoryBytes, memoryLimitBytes: 2_000 });
  });

  it.each([HOST_MEMORY, 2 ** 63 - 4_096, 0])('should have no limit where the engine gives %s', (limit) => {
    expect(memoryOf({ usage: 1_000, limit })).toMatchObject({ memoryLimitBytes: null });
  });

  it('should have no traffic where the network is that of others', () => {
    const { networks: _, ...shared } = running;
    expect(usageOf('web', shared, HOST_MEMORY)).toMatchObject({ networkReceivedBytes: null, networkSentBytes: null });
  });

  it('should be nothing while it does not run', () => {
    const ended = { read: '0001-01-01T00:00:00Z', cpu_stats: { cpu_usage: { total_usage: 0 } }, memory_stats: {} };
    expect(usageOf('web', ended, HOST_MEMORY)).toBeNull();
  });
});
