import {
  type Drift,
  type FileDrift,
  type InstanceFile,
  type InstanceSpec,
  RuntimeError,
  type SettingDrift,
} from '../runtime.ts';
import type { Engine } from './connection.ts';
import { containerOf, resourceConfig } from './container-config.ts';
import { readFile } from './files.ts';
import { ignoring, networkName } from './networks-volumes.ts';
import type { Inspection } from './status.ts';
import { firstFileOf } from './tar.ts';

const NOT_FOUND = 404;
const MODE_BITS = 0o777;
/** Of the engine's modes: everything that is no regular file. */
const OTHER_KINDS = 0x8f28_0000;
const NO_LIMIT = 'no limit';
const NS_PER_CPU = 1e9;

/** What of a container's settings can be changed while it runs, in the words of a compose file. */
const RESOURCES = [
  { path: 'mem_limit', key: 'Memory', show: String },
  { path: 'mem_reservation', key: 'MemoryReservation', show: String },
  { path: 'cpus', key: 'NanoCpus', show: (nano: number) => String(nano / NS_PER_CPU) },
  { path: 'cpu_shares', key: 'CpuShares', show: String },
  { path: 'cpu_period', key: 'CpuPeriod', show: String },
  { path: 'cpu_quota', key: 'CpuQuota', show: String },
  { path: 'pids_limit', key: 'PidsLimit', show: String },
] as const;

/** What of one instance's container differs from what it was started with. */
export async function driftOf(engine: Engine, spec: InstanceSpec, containerId: string): Promise<Drift[]> {
  const inspection = await ignoring(NOT_FOUND, engine.get<Inspection>(`/containers/${containerId}/json`));
  if (!inspection) return [];
  // What never ran tells why by its state.
  if (inspection.State.Status === 'created') return [];
  const files: Drift[] = [];
  for (const file of spec.files) files.push(...(await fileDrift(engine, containerId, file)));
  return [...files, ...settingDrift(spec, inspection)];
}

/** What was changed of a container by hand. */
export function settingDrift(spec: InstanceSpec, inspection: Inspection): SettingDrift[] {
  const { HostConfig: host } = inspection;
  const wanted = resourceConfig(containerOf(spec).resources);
  const resources = RESOURCES.map(({ path, key, show }) => {
    const shown = (value: number | null | undefined) => (!value || value < 0 ? NO_LIMIT : show(value));
    return { path, before: shown(host[key]), after: shown(wanted[key]) };
  });
  const cpuset = { path: 'cpuset', before: host.CpusetCpus || NO_LIMIT, after: wanted.CpusetCpus || NO_LIMIT };
  const restart = {
    path: 'restart',
    before: restartText(host.RestartPolicy?.Name || 'no', host.RestartPolicy?.MaximumRetryCount ?? 0),
    after: restartText(spec.restart.name, spec.restart.maxRetries ?? 0),
  };
  const all = [...resources, cpuset, restart, ...networkDrift(spec, inspection)];
  return all.filter(({ before, after }) => before !== after);
}

function networkDrift(spec: InstanceSpec, { NetworkSettings: { Networks: found } }: Inspection): SettingDrift[] {
  const container = containerOf(spec);
  if (container.networkMode !== null) return [];
  const wanted = container.networks.map(({ network }) => networkName(container, network));
  const before = Object.keys(found).sort().join(', ') || 'none';
  return [{ path: 'networks', before, after: [...wanted].sort().join(', ') || 'none' }];
}

async function fileDrift(engine: Engine, containerId: string, file: InstanceFile): Promise<FileDrift[]> {
  const wanted = Buffer.from(file.content);
  const isAlike = ({ size, mode }: { size: number; mode: number }) =>
    (mode & OTHER_KINDS) === 0 && size === wanted.length && (mode & file.mode & MODE_BITS) === (file.mode & MODE_BITS);
  const found = await readFile(engine, containerId, file.target, isAlike).catch((error: Error) => {
    if (!(error instanceof RuntimeError)) throw error;
    throw new RuntimeError(`the files of a service could not be looked at: ${error.message}`);
  });
  if (!found) return [{ target: file.target, found: 'missing' }];
  const content = found.archive && firstFileOf(found.archive);
  return content?.equals(wanted) ? [] : [{ target: file.target, found: 'changed' }];
}

function restartText(name: string, maxRetries: number): string {
  return name === 'on-failure' && maxRetries > 0 ? `${name}:${maxRetries}` : name;
}
