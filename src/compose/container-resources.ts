import type { ContainerModel, ContainerResources } from './container-model.ts';
import { readNumber, readSize, readText, sortedRecord } from './container-values.ts';
import type { Place } from './place.ts';

const NANO = 1_000_000_000;
/** What engines insist on. */
const LEAST_MEMORY = 6 * 1024 * 1024;

/** Limits and reservations, from the service's own keys and from `deploy.resources`: both may stand there where they agree. */
export function readResources(service: Place): ContainerResources {
  const { limits, reservations } = sectionsOf(service);
  const cpus = amount(readNumber(limits.get('cpus')) ?? readNumber(service.get('cpus')));
  const swap = readSize(service.get('memswap_limit'));
  return {
    nanoCpus: cpus === null ? null : Math.round(cpus * NANO),
    cpuShares: amount(readNumber(service.get('cpu_shares'))),
    cpuPeriod: amount(readNumber(service.get('cpu_period'))),
    cpuQuota: amount(readNumber(service.get('cpu_quota'))),
    cpuset: readText(service.get('cpuset')),
    memory: amount(readSize(limits.get('memory')) ?? readSize(service.get('mem_limit'))),
    memoryReservation: amount(readSize(reservations.get('memory')) ?? readSize(service.get('mem_reservation'))),
    memorySwap: swap === -1 ? -1 : amount(swap),
    memorySwappiness: service.get('mem_swappiness').whole(0, 100),
    pids: amount(readNumber(limits.get('pids')) ?? readNumber(service.get('pids_limit'))),
    shm: amount(readSize(service.get('shm_size'))),
    oomKillDisable: service.get('oom_kill_disable').truth() ?? false,
    oomScoreAdj: service.get('oom_score_adj').whole(-1000, 1000),
  };
}

function sectionsOf(service: Place): { limits: Place; reservations: Place } {
  const resources = service.get('deploy', 'resources');
  return { limits: resources.get('limits'), reservations: resources.get('reservations') };
}

/** 0 and -1 ask for no limit. */
function amount(value: number | null): number | null {
  return value !== null && value > 0 ? value : null;
}

/** Limits that an engine refuses together. */
export function checkResources(resources: ContainerResources, service: Place): void {
  const { limits } = sectionsOf(service);
  const at = (key: string, other: string) => (limits.get(other).exists ? limits.get(other) : service.get(key));
  const { memory, memorySwap, memoryReservation } = resources;
  if (memory !== null && memory < LEAST_MEMORY) {
    at('mem_limit', 'memory').error('limits-conflict', 'An engine grants no less memory than 6 MiB.', 'Write "6m".');
  }
  if (memorySwap !== null && memory === null) {
    const message = '"memswap_limit" counts memory and swap together, and the memory has no limit.';
    service.get('memswap_limit').error('limits-conflict', message, 'Give the service a "mem_limit" too.');
  } else if (memory !== null && memorySwap !== null && memorySwap !== -1 && memorySwap < memory) {
    const message = '"memswap_limit" counts memory and swap together: it is less than the limit of the memory.';
    service.get('memswap_limit').error('limits-conflict', message, 'Raise it to what both may take.');
  }
  if (memory !== null && memoryReservation !== null && memoryReservation > memory) {
    const message = 'More memory is reserved than the service may take.';
    at('mem_limit', 'memory').error('limits-conflict', message, 'Reserve as much as the limit, or less.');
  }
  if (resources.nanoCpus !== null && (resources.cpuQuota !== null || resources.cpuPeriod !== null)) {
    const message = 'The limit of CPUs excludes "cpu_quota" and "cpu_period": it is made of them.';
    at('cpus', 'cpus').error('limits-conflict', message, 'Remove one of them.');
  }
}

export function readUlimits(place: Place): ContainerModel['ulimits'] {
  const limits = place.entries().flatMap(([name, limit]): [string, { soft: number; hard: number }][] => {
    if (name.startsWith('x-')) return [];
    const soft = readNumber(limit.isMap ? limit.get('soft') : limit);
    const hard = readNumber(limit.isMap ? limit.get('hard') : limit);
    if (soft === null || hard === null) return [];
    if (hard !== -1 && (soft === -1 || soft > hard)) {
      limit.error('ulimit-invalid', `The soft limit of "${name}" is above its hard limit.`, 'Raise the hard limit.');
    }
    return [[name, { soft, hard }]];
  });
  return sortedRecord(limits);
}
