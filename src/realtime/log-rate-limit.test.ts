import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BURST_SECONDS, BYTES_PER_LINE, LogRateLimit } from './log-rate-limit.ts';

const PER_SECOND = 100;
const BURST = PER_SECOND * BURST_SECONDS;

/** How many of so many lines an instance may store at a time. */
function admitted(limit: LogRateLimit, instance: string, lines: number, time: number, bytes = 10): number {
  let count = 0;
  for (let line = 0; line < lines; line++) if (limit.admits(instance, bytes, time)) count++;
  return count;
}

describe('LogRateLimit', () => {
  it('should take nothing from who writes at the limit, however long, or ten seconds’ worth at once', () => {
    const steady = new LogRateLimit(PER_SECOND);
    for (let second = 0; second < 1_000; second++)
      expect(admitted(steady, 'a', PER_SECOND, second * 1_000, BYTES_PER_LINE)).toBe(PER_SECOND);
    expect(admitted(new LogRateLimit(PER_SECOND), 'a', BURST, 0, BYTES_PER_LINE)).toBe(BURST);
  });

  it('should let excerpts through of who writes more: all of a burst, then a second’s worth after a pause', () => {
    const limit = new LogRateLimit(PER_SECOND);
    expect(admitted(limit, 'a', 2 * BURST, 0)).toBe(BURST);
    expect(admitted(limit, 'a', BURST, 999)).toBe(0);
    expect(admitted(limit, 'a', BURST, 1_000)).toBe(PER_SECOND);
    expect(admitted(limit, 'a', BURST, 60_000)).toBe(BURST);
  });

  it('should count bytes as well, of which one line may take more than is left', () => {
    const limit = new LogRateLimit(PER_SECOND);
    const half = (BURST / 2) * BYTES_PER_LINE;
    expect(admitted(limit, 'a', 5, 0, 2 * half)).toBe(2);
    expect(admitted(limit, 'a', 1, 10_000)).toBe(0);
    expect(admitted(limit, 'a', 1, 11_000)).toBe(1);
  });

  it('should take no line from those who stay below their share beside one who does not', () => {
    const limit = new LogRateLimit(PER_SECOND);
    for (let second = 0; second < 100; second++) {
      admitted(limit, 'noisy', 20 * PER_SECOND, second * 1_000);
      expect(admitted(limit, 'quiet', PER_SECOND / 4, second * 1_000)).toBe(PER_SECOND / 4);
    }
  });

  it('should give the share of who is gone to the others', () => {
    const limit = new LogRateLimit(PER_SECOND);
    for (const instance of ['a', 'b', 'c']) admitted(limit, instance, 2 * BURST, 0);
    limit.forget('b');
    limit.forget('c');
    expect(admitted(limit, 'a', 2 * BURST, 10_000)).toBe(BURST);
  });

  it('should go on when the clock is set back', () => {
    const limit = new LogRateLimit(PER_SECOND);
    admitted(limit, 'a', 2 * BURST, 86_400_000);
    expect(admitted(limit, 'a', 1, 0)).toBe(0);
    expect(admitted(limit, 'a', 2 * PER_SECOND, 1_000)).toBe(PER_SECOND);
  });

  it('should let everything through when there is no limit', () => {
    expect(admitted(new LogRateLimit(0), 'a', 100_000, 0, 1_000_000)).toBe(100_000);
  });

  it('should never let more through than a burst a share and the limit allow', () => {
    const writes = fc.array(
      fc.record({
        instance: fc.constantFrom('a', 'b', 'c'),
        lines: fc.nat({ max: 800 }),
        pauseMs: fc.integer({ min: -50, max: 3_000 }),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(writes, (all) => {
        const limit = new LogRateLimit(PER_SECOND);
        let [time, newest, stored] = [0, 0, 0];
        for (const { instance, lines, pauseMs } of all) {
          time += pauseMs;
          newest = Math.max(newest, time);
          stored += admitted(limit, instance, lines, time);
        }
        const late = BURST * (1 / 2 + 1 / 4 + 1 / 6 + 1 / 2);
        expect(stored).toBeLessThanOrEqual(late + (PER_SECOND * newest) / 1_000 + 1);
      }),
    );
  });
});
