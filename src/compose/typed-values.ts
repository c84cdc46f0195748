import type { Place } from './place.ts';
import type { StackReading } from './stack.ts';
import { parseBytes, parseDuration } from './units.ts';

type Kind = 'boolean' | 'integer' | 'number' | 'size' | 'duration';

/** What the schema takes as any text, and no tool can read as one. Values that a model's field is made of are not here. */
const SERVICE: Record<string, Kind> = {
  cpu_count: 'integer',
  cpu_percent: 'number',
  cpu_period: 'integer',
  cpu_quota: 'integer',
  cpu_shares: 'integer',
  cpus: 'number',
  init: 'boolean',
  mem_limit: 'size',
  mem_reservation: 'size',
  memswap_limit: 'size',
  oom_kill_disable: 'boolean',
  oom_score_adj: 'integer',
  pids_limit: 'integer',
  privileged: 'boolean',
  read_only: 'boolean',
  shm_size: 'size',
  stdin_open: 'boolean',
  tty: 'boolean',
  'build.shm_size': 'size',
  'deploy.placement.max_replicas_per_node': 'integer',
  'deploy.resources.limits.cpus': 'number',
  'deploy.resources.limits.memory': 'size',
  'deploy.resources.limits.pids': 'integer',
  'deploy.resources.reservations.cpus': 'number',
  'deploy.resources.reservations.memory': 'size',
  'deploy.restart_policy.delay': 'duration',
  'deploy.restart_policy.window': 'duration',
  'deploy.rollback_config.delay': 'duration',
  'deploy.rollback_config.max_failure_ratio': 'number',
  'deploy.rollback_config.monitor': 'duration',
  'deploy.rollback_config.parallelism': 'integer',
  'deploy.update_config.delay': 'duration',
  'deploy.update_config.max_failure_ratio': 'number',
  'deploy.update_config.monitor': 'duration',
  'deploy.update_config.parallelism': 'integer',
  'ulimits.*': 'integer',
  'ulimits.*.hard': 'integer',
  'ulimits.*.soft': 'integer',
  'volumes[].tmpfs.size': 'size',
  'volumes[].volume.nocopy': 'boolean',
};
const NETWORK: Record<string, Kind> = { attachable: 'boolean', enable_ipv4: 'boolean', enable_ipv6: 'boolean' };

/** Checks numbers, sizes, durations and truth values that are only handed on. */
export function checkTypedValues({ services, top }: StackReading): void {
  for (const { place } of services.values()) checkAll(place, SERVICE);
  for (const [, place] of top.get('networks').entries()) checkAll(place, NETWORK);
}

function checkAll(root: Place, kinds: Record<string, Kind>): void {
  for (const [pattern, kind] of Object.entries(kinds)) {
    for (const place of matches(root, pattern.split('.'))) checkValue(place, kind);
  }
}

function matches(place: Place, [key, ...rest]: string[]): Place[] {
  if (key === undefined) return place.exists ? [place] : [];
  if (key === '*') return place.entries().flatMap(([, inner]) => matches(inner, rest));
  if (key.endsWith('[]')) {
    return place
      .get(key.slice(0, -2))
      .items()
      .flatMap((item) => matches(item, rest));
  }
  return matches(place.get(key), rest);
}

function checkValue(place: Place, kind: Kind): void {
  const text = place.resolvedText();
  if (text === null) return;
  if (kind === 'boolean') place.truth();
  else if (kind === 'integer' && !/^[+-]?\d+$/.test(text)) {
    place.error('number-invalid', `${place.quote()} is not a whole number.`);
  } else if (kind === 'number' && (text.trim() === '' || Number.isNaN(Number(text)))) {
    place.error('number-invalid', `${place.quote()} is not a number.`);
  } else if (kind === 'size' && !isNumber(place) && parseBytes(text) === null) {
    place.error('size-invalid', `${place.quote()} is not a size.`, 'Write it as "512k", "64m", "1.5gb" or in bytes.');
  } else if (kind === 'duration' && parseDuration(text) === null) {
    place.error('duration-invalid', `${place.quote()} is not a duration.`, 'Write it as "500ms", "10s" or "1m30s".');
  }
}

/** A number is bytes; -1 means no limit. */
function isNumber(place: Place): boolean {
  return place.node?.kind === 'scalar' && typeof place.node.value === 'number';
}
