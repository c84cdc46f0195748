import { describe, expect, it } from 'vitest';
import { MAX_RETRY_DELAY_SECONDS, pauseAfter, retryPolicy, StepFailure } from './procedure.ts';

const busy = new StepFailure('busy', { isTransient: true });

describe('pauseAfter', () => {
  const policy = { attempts: 4, delaySeconds: 2, factor: 3 };

  it('should grow from failure to failure, and end with the attempts', () => {
    expect([1, 2, 3, 4, 5].map((attempt) => pauseAfter(policy, attempt, busy))).toEqual([
      ...[2_000, 6_000, 18_000],
      ...[null, null],
    ]);
  });

  it('should be as long as it is asked to be, an hour at most', () => {
    const after = (retryAfterMs: number) =>
      pauseAfter(policy, 1, new StepFailure('', { isTransient: true, retryAfterMs }));
    expect([0, 1_999, 2_001, 90_000, 1e12].map(after)).toEqual([2_000, 2_000, 2_001, 90_000, 3_600_000]);
    expect(pauseAfter({ attempts: 10, delaySeconds: MAX_RETRY_DELAY_SECONDS, factor: 10 }, 9, busy)).toBe(3_600_000);
  });

  it('should be none at once, and null for what does not pass', () => {
    expect(pauseAfter({ attempts: 2, delaySeconds: 0, factor: 2 }, 1, busy)).toBe(0);
    expect(pauseAfter(policy, 1, new StepFailure('never', { retryAfterMs: 1 }))).toBeNull();
    expect(pauseAfter({ ...policy, attempts: 1 }, 1, busy)).toBeNull();
  });
});

it('should try three times unless told otherwise', () => {
  expect(retryPolicy.parse({})).toEqual({ attempts: 3, delaySeconds: 1, factor: 2 });
});
