import { describe, expect, it } from 'vitest';
import { CrashLoop, FIRST_DELAY_MS, MAX_DELAY_MS, STABLE_RUN_MS } from './crash-loop.mjs';

const end = (exitCode: number, said = '') => ({ exitCode, message: `exited with code ${exitCode}`, said });

describe('a crash loop', () => {
  it('should wait longer each time, up to a bound, and begin anew after a stable run', () => {
    const loop = new CrashLoop();
    const delays = Array.from({ length: 10 }, () => {
      loop.add(end(1), STABLE_RUN_MS - 1);
      return loop.nextDelayMs();
    });
    expect(delays).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
    expect([delays[0], delays.at(-1)]).toEqual([FIRST_DELAY_MS, MAX_DELAY_MS]);
    loop.add(end(1), STABLE_RUN_MS);
    expect([loop.nextDelayMs(), loop.nextDelayMs()]).toEqual([FIRST_DELAY_MS, 2 * FIRST_DELAY_MS]);
  });

  it('should name its first error, and the last one where that is another', () => {
    const loop = new CrashLoop();
    loop.add(end(3, 'cannot open config'), 0);
    expect(loop.describe()).toBe('exited with code 3 (cannot open config)');
    loop.countRestart();
    loop.add(end(3, 'cannot open config, at 12:00:01'), 0);
    expect(loop.describe()).toBe('exited with code 3 (cannot open config), restarted once');
    loop.countRestart();
    loop.add(end(98, 'address in use'), 0);
    expect(loop.describe()).toBe(
      'exited with code 3 (cannot open config), restarted 2 times, last: exited with code 98 (address in use)',
    );
  });

  it('should count no restart that a stable run followed', () => {
    const loop = new CrashLoop();
    for (const ranMs of [0, 0, STABLE_RUN_MS]) {
      loop.add(end(1), ranMs);
      loop.countRestart();
    }
    expect(loop.restarts).toBe(1);
    loop.add(end(2), 0);
    expect(loop.describe()).toBe('exited with code 1, restarted once, last: exited with code 2');
    loop.add(end(3), STABLE_RUN_MS);
    expect([loop.restarts, loop.describe()]).toEqual([0, 'exited with code 3']);
  });
});
