import { describe, expect, it } from 'vitest';
import type { ContainerResources } from './container-model.ts';
import { said, service } from './testing.ts';

const MIB = 1024 * 1024;
const container = (lines: string) => service(lines, { runtime: 'DOCKER' }).container;

describe('limits of a container', () => {
  it.each<[string, Partial<ContainerResources>]>([
    ['cpus: 0.5', { nanoCpus: 500_000_000 }],
    ['cpus: "1.25"', { nanoCpus: 1_250_000_000 }],
    ['cpus: 0', { nanoCpus: null }],
    ['deploy: { resources: { limits: { cpus: "2" } } }', { nanoCpus: 2_000_000_000 }],
    ['cpu_shares: 73\ncpuset: 0-3', { cpuShares: 73, cpuset: '0-3' }],
    ['cpu_quota: 50000\ncpu_period: "20000"', { cpuQuota: 50_000, cpuPeriod: 20_000 }],
    ['mem_limit: 64m', { memory: 64 * MIB }],
    ['mem_limit: 67108864', { memory: 64 * MIB }],
    ['mem_limit: 64m\ndeploy: { resources: { limits: { memory: 65536k } } }', { memory: 64 * MIB }],
    ['deploy: { resources: { reservations: { memory: 20M } } }', { memoryReservation: 20 * MIB }],
    ['mem_limit: 1g\nmemswap_limit: 2gb', { memory: 1024 * MIB, memorySwap: 2048 * MIB }],
    ['mem_limit: 1g\nmemswap_limit: -1', { memorySwap: -1 }],
    ['mem_swappiness: 0', { memorySwappiness: 0 }],
    ['pids_limit: 100', { pids: 100 }],
    ['pids_limit: -1', { pids: null }],
    ['deploy: { resources: { limits: { pids: "7" } } }', { pids: 7 }],
    ['shm_size: 1gb', { shm: 1024 * MIB }],
    ['oom_kill_disable: true\noom_score_adj: -500', { oomKillDisable: true, oomScoreAdj: -500 }],
  ])('should be read of %s', (lines, expected) => {
    expect(container(lines).resources).toMatchObject(expected);
  });

  it.each([
    ['mem_limit: 1m', '4:5 ERROR limits-conflict'],
    ['mem_limit: 64m\nmem_reservation: 65m', '4:5 ERROR limits-conflict'],
    ['memswap_limit: 64m', '4:5 ERROR limits-conflict'],
    ['mem_limit: 64m\nmemswap_limit: 32m', '5:5 ERROR limits-conflict'],
    ['cpus: 1\ncpu_quota: 50000', '4:5 ERROR limits-conflict'],
    ['cpus: 1\ndeploy: { resources: { limits: { cpus: 2 } } }', '4:5 ERROR limits-conflict'],
    ['mem_swappiness: 101', '4:5 ERROR number-invalid'],
    ['ulimits: { nofile: { soft: 5, hard: 3 } }', '4:16 ERROR ulimit-invalid'],
  ])('should be refused of %s: %s', (lines, expected) => {
    expect(said(lines, { runtime: 'DOCKER' })).toContain(expected);
  });

  it('should be read of ulimits, with one number or two', () => {
    expect(container('ulimits: { nproc: 65535, nofile: { soft: 20000, hard: "-1" }, x-a: 1 }').ulimits).toEqual({
      nproc: { soft: 65_535, hard: 65_535 },
      nofile: { soft: 20_000, hard: -1 },
    });
  });
});
