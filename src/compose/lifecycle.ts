import type { HealthcheckModel, RestartModel } from './model.ts';
import type { Place } from './place.ts';
import { MAX_DURATION_MS, parseDuration, parseSignal } from './units.ts';

export const MAX_REPLICAS = 100;
const MAX_RETRIES = 1_000_000;
const DEFAULT_STOP_SIGNAL = 'SIGTERM';
/** The Compose Specification's defaults of a health check. */
const HEALTH = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5_000 };

export function readHealthcheck(place: Place): HealthcheckModel | null {
  if (!place.exists || place.get('disable').truth()) return null;
  const argv = readTest(place.get('test'));
  const check = {
    intervalMs: readDuration(place.get('interval')) || HEALTH.intervalMs,
    timeoutMs: readDuration(place.get('timeout')) || HEALTH.timeoutMs,
    retries: place.get('retries').whole(0, MAX_RETRIES) || HEALTH.retries,
    startPeriodMs: readDuration(place.get('start_period')) ?? HEALTH.startPeriodMs,
    startIntervalMs: readDuration(place.get('start_interval')) || HEALTH.startIntervalMs,
  };
  return argv && { argv, ...check };
}

function readTest(place: Place): string[] | null {
  const shell = (line: string) => ['/bin/sh', '-c', line];
  if (!place.isList) {
    const line = place.text();
    return line ? shell(line) : null;
  }
  if (place.items().length === 0) return null;
  const [kind, ...words] = place.items().map((item) => item.text() ?? '');
  if (kind === 'NONE' && words.length === 0) return null;
  if (kind === 'CMD' && words.length > 0) return words;
  if (kind === 'CMD-SHELL' && words.length === 1) return shell(words[0]!);
  const hint =
    'Write ["CMD", "program", "argument"], ["CMD-SHELL", "command line"], ["NONE"] or the command line alone.';
  if (!place.items()[0]?.isUnresolved)
    place.error('healthcheck-invalid', 'This is not a test of a health check.', hint);
  return null;
}

export function readDuration(place: Place): number | null {
  const text = place.resolvedText();
  if (text === null) return null;
  const duration = parseDuration(text);
  if (duration !== null) return duration;
  const longest = `${MAX_DURATION_MS / 86_400_000} days`;
  const message = `${place.quote()} is not a duration of at most ${longest}.`;
  place.error('duration-invalid', message, 'Write it as "500ms", "10s", "1m30s" or "2h".');
  return null;
}

export function readSignal(place: Place): string {
  const text = place.resolvedText();
  if (text === null) return DEFAULT_STOP_SIGNAL;
  const signal = parseSignal(text);
  if (!signal)
    place.error('signal-invalid', `${place.quote()} is not a signal.`, 'Write its name: SIGTERM, SIGINT, SIGQUIT …');
  return signal ?? DEFAULT_STOP_SIGNAL;
}

const RESTART_CONDITIONS = new Map<string, RestartModel['name']>([
  ['none', 'no'],
  ['on-failure', 'on-failure'],
  ['any', 'always'],
]);

export function readRestart(place: Place): RestartModel {
  const policy = place.get('deploy', 'restart_policy');
  if (policy.isMap) {
    const condition = policy.get('condition').resolvedText() ?? 'any';
    const attempts = policy.get('max_attempts').whole(0, MAX_RETRIES);
    const name = RESTART_CONDITIONS.get(condition);
    if (!name) {
      const at = policy.get('condition');
      at.error('restart-invalid', `${at.quote()} is not a condition to restart: none, on-failure or any.`);
    }
    return { name: name ?? 'no', maxRetries: name === 'on-failure' ? attempts : null };
  }
  const at = place.get('restart');
  const text = at.resolvedText();
  if (text === null) return { name: 'no', maxRetries: null };
  const [, name, retries] = /^(no|always|unless-stopped|on-failure)(?::(\d{1,9}))?$/.exec(text) ?? [];
  if (!name || (retries !== undefined && name !== 'on-failure')) {
    at.error(
      'restart-invalid',
      `${at.quote()} is not a restart policy: "no", always, on-failure, on-failure:3 or unless-stopped.`,
    );
    return { name: 'no', maxRetries: null };
  }
  return { name: name as RestartModel['name'], maxRetries: retries === undefined ? null : Number(retries) };
}

export function readReplicas(place: Place): number {
  const scale = place.get('scale').whole(0, MAX_REPLICAS);
  const replicas = place.get('deploy', 'replicas').whole(0, MAX_REPLICAS);
  if (scale !== null && replicas !== null && scale !== replicas) {
    place.get('scale').error('replicas-conflict', '"scale" and "deploy.replicas" differ.', 'Remove one of them.');
  }
  return replicas ?? scale ?? 1;
}
