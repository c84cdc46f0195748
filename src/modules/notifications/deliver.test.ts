import { expect, it } from 'vitest';
import { afterFailure, FIRST_RETRY_MS, MAX_DELIVERY_ATTEMPTS, MAX_RETRY_MS } from './deliver.ts';
import { SendError } from './send-error.ts';

const failure = (isTransient: boolean, retryAfterMs = 0) => new SendError('it answered 500', isTransient, retryAfterMs);
const pauses = (error: SendError) =>
  Array.from({ length: MAX_DELIVERY_ATTEMPTS }, (_, index) => afterFailure(error, index + 1)).flatMap((outcome) =>
    outcome.status === 'PENDING' ? outcome.delayMs : [],
  );

it('should try again after longer and longer pauses, up to an hour, and give up then', () => {
  const seconds = pauses(failure(true)).map((pause) => pause / 1_000);
  expect(seconds).toEqual([5, 20, 80, 320, 1_280, 3_600, 3_600]);
  expect(afterFailure(failure(true), MAX_DELIVERY_ATTEMPTS)).toEqual({
    status: 'FAILED',
    error: 'given up after 8 attempts: it answered 500',
  });
});

it('should give up at once what will not be taken', () => {
  expect(afterFailure(failure(false), 1)).toEqual({ status: 'FAILED', error: 'it answered 500' });
});

it('should wait as long as the receiver wants, within bounds', () => {
  expect(afterFailure(failure(true, 60_000), 1)).toMatchObject({ delayMs: 60_000 });
  expect(afterFailure(failure(true, 1), 1)).toMatchObject({ delayMs: FIRST_RETRY_MS });
  expect(afterFailure(failure(true, 1e12), 1)).toMatchObject({ delayMs: MAX_RETRY_MS });
});
