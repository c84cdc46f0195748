import { expect, it } from 'vitest';
import { createRateLimiter } from './rate-limiter.ts';

const LIMIT = { max: 3, windowMs: 1_000 };

it('should let so many through in a window, by key, and say when it ends', () => {
  let now = 0;
  const limiter = createRateLimiter(() => now);
  limiter.use('a', LIMIT);
  now = 400;
  limiter.use('a', LIMIT, 2);
  expect(() => limiter.use('a', LIMIT)).toThrow(expect.objectContaining({ code: 'RATE_LIMITED', retryAfterMs: 600 }));
  limiter.use('b', LIMIT);
  now = 999;
  expect(() => limiter.use('a', LIMIT)).toThrow(expect.objectContaining({ retryAfterMs: 1 }));
  now = 1_000;
  limiter.use('a', LIMIT);
});
