import { describe, expect, it } from 'vitest';
import { FairShare } from './fair-share.ts';

/** Has an organization use so much whenever it is its turn, for an hour; returns how much of that it had. */
function shareOf(ms: number): number {
  let [at, used] = [0, 0];
  const share = new FairShare(() => at);
  while (at < 3_600_000) {
    const wait = share.waitMs('a');
    at += wait;
    if (wait > 0) continue;
    at += ms;
    used += ms;
    share.used('a', ms);
  }
  return used / at;
}

describe('the share of an organization', () => {
  it('should be a fifth of the time where it takes long, half where each time is short', () => {
    for (const ms of [15, 60, 250]) expect(shareOf(ms)).toBeCloseTo(0.2, 2);
    for (const ms of [0.5, 9]) expect(shareOf(ms)).toBeCloseTo(0.5, 2);
  });

  it('should not be limited where it uses little', () => {
    let at = 0;
    const share = new FairShare(() => at);
    for (let time = 0; time < 10_000; time++) {
      expect(share.waitMs('a')).toBe(0);
      share.used('a', 0.3);
      at += 1;
    }
  });

  it('should be no matter of others', () => {
    const share = new FairShare(() => 0);
    share.used('a', 250);
    expect(share.waitMs('a')).toBeGreaterThan(500);
    expect(share.waitMs('b')).toBe(0);
    expect(share.waiting).toEqual(['a']);
  });

  it('should be forgotten once it is settled, and not before', () => {
    let at = 0;
    const share = new FairShare(() => at);
    share.used('a', 100_000);
    for (let index = 0; index < 2_000; index++) share.used(`b${index}`, 20);
    expect(share.waitMs('a')).toBeGreaterThan(0);
    at += 1_000_000;
    share.used('c', 1);
    expect(share.waitMs('a')).toBe(0);
    expect(share.waiting).toEqual([]);
  });
});
