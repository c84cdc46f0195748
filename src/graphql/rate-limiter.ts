import { RateLimitedError } from '../shared/errors.ts';

/** Addresses that are remembered at once; beyond it the longest known is forgotten. */
const MAX_KEYS = 50_000;

export type RateLimit = { max: number; windowMs: number };

export type RateLimiter = {
  /** Counts `times` uses of what the key names. Throws RateLimitedError with the time until the window ends. */
  use(key: string, limit: RateLimit, times?: number): void;
};

/** Fixed windows in this process's memory. `now` is in milliseconds and never goes back. */
export function createRateLimiter(now: () => number = () => performance.now()): RateLimiter {
  const windows = new Map<string, { uses: number; endsAt: number }>();
  return {
    use(key, { max, windowMs }, times = 1) {
      const time = now();
      let window = windows.get(key);
      if (!window || window.endsAt <= time) {
        window = { uses: 0, endsAt: time + windowMs };
        windows.delete(key);
        windows.set(key, window);
        if (windows.size > MAX_KEYS) windows.delete(windows.keys().next().value!);
      }
      window.uses += times;
      if (window.uses <= max) return;
      const retryAfterMs = Math.max(1, Math.ceil(window.endsAt - time));
      throw new RateLimitedError(`too many requests: try again in ${Math.ceil(retryAfterMs / 1000)} s`, retryAfterMs);
    },
  };
}
