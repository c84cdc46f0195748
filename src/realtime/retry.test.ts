import { describe, expect, it } from 'vitest';
import { retry } from './retry.ts';

const outage = () => Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' });
const { signal } = new AbortController();

describe('retry', () => {
  it('should call again after an outage, and return what then comes', async () => {
    const attempts: number[] = [];
    let calls = 0;
    const work = async () => {
      if (++calls < 3) throw outage();
      return 'done';
    };
    expect(await retry(work, { signal, onRetry: (_, attempt) => attempts.push(attempt) })).toBe('done');
    expect(attempts).toEqual([1, 2]);
  });

  it('should throw other errors at once, and outages when the patience is over', async () => {
    let calls = 0;
    const failing = (error: Error) => async () => {
      calls++;
      throw error;
    };
    await expect(retry(failing(new Error('a mistake')), { signal })).rejects.toThrow('a mistake');
    expect(calls).toBe(1);
    await expect(retry(failing(outage()), { signal, patienceMs: 60 })).rejects.toThrow('connection refused');
    expect(calls).toBeGreaterThan(2);
  });

  it('should stop when the signal aborts, also in the middle of a call or a pause', async () => {
    const never = () => new Promise<never>(() => {});
    await expect(retry(never, { signal: AbortSignal.timeout(20) })).rejects.toThrow('timeout');
    const away = async () => {
      throw outage();
    };
    await expect(retry(away, { signal: AbortSignal.timeout(20) })).rejects.toThrow('timeout');
    await expect(retry(never, { signal: AbortSignal.abort(new Error('over')) })).rejects.toThrow('over');
  });
});
