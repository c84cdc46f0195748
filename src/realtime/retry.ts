import { isOutage } from '../db/outage.ts';
import { delay } from '../shared/clock.ts';

const BACK_OFF_FIRST_MS = 50;
const BACK_OFF_MAX_MS = 2_000;
/** For followers: an outage of the database that is over by then goes unnoticed, a longer one ends the following with its error. */
export const OUTAGE_PATIENCE_MS = 30_000;

export type RetryOptions = {
  signal: AbortSignal;
  /** Absent: outages of the database. */
  isTransient?: (error: unknown) => boolean;
  onRetry?: (error: unknown, attempt: number) => void;
  /** Absent: without end. */
  patienceMs?: number;
};

/**
 * Calls `work` until it succeeds, with growing pauses after transient errors. Other errors, and transient ones after
 * `patienceMs`, are thrown; an aborted signal throws its reason at once, and leaves a call under way to itself.
 */
export async function retry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, isTransient = isOutage, onRetry, patienceMs = Number.POSITIVE_INFINITY } = options;
  const start = performance.now();
  for (let attempt = 1, pause = BACK_OFF_FIRST_MS; ; attempt++, pause = Math.min(pause * 2, BACK_OFF_MAX_MS)) {
    signal.throwIfAborted();
    try {
      return await untilAborted(work(), signal);
    } catch (error) {
      if (signal.aborted || !isTransient(error) || performance.now() - start > patienceMs) throw error;
      onRetry?.(error, attempt);
      await delay(pause, signal);
    }
  }
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
