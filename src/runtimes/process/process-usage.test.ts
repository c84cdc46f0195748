import { describe, expect, it } from 'vitest';
import { membersOf, type ProcessTimes, parseMemory, parseProcessTimes } from './process-usage.ts';

const REST = '20 0 1 0 8831 4624384 900 18446744073709551615 1 1 0 0';
const stat = (name: string, state = 'S') =>
  `4711 (${name}) ${state} 1 4700 4699 0 -1 4194560 9 8 7 6 250 50 30 4 ${REST}`;

describe('/proc/<pid>/stat', () => {
  it('should tell whose it is, and its CPU time with that of collected children', () => {
    expect(parseProcessTimes(stat('nginx'))).toEqual({
      pid: 4711,
      group: 4700,
      session: 4699,
      startTime: 8831n,
      isDead: false,
      ticks: 334,
    });
  });

  it.each(['a b', ') R 1 2 3', '(x) S'])('should be understood whatever the program is called: %j', (name) => {
    expect(parseProcessTimes(stat(name))).toEqual(parseProcessTimes(stat('nginx')));
  });

  it('should tell what ended and is not collected yet', () => {
    expect(parseProcessTimes(stat('sh', 'Z'))).toMatchObject({ isDead: true, ticks: 334 });
  });

  it('should be nothing where it is cut off', () => {
    expect(parseProcessTimes('')).toBeNull();
    expect(parseProcessTimes('4711 (nginx) S 1 4700')).toBeNull();
  });
});

describe('the memory of a process', () => {
  it('should be its part of what it shares, where that is told', () => {
    expect(
      parseMemory('5581e0000000-7ffd ---p 0 0:0 0 [rollup]\nRss:    900 kB\nPss:    300 kB\nPss_Dirty: 8 kB\n'),
    ).toBe(300 * 1_024);
  });

  it('should be all that lies in memory otherwise', () => {
    expect(parseMemory('Name:\tsh\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n')).toBe(1_024 * 1_024);
  });

  it('should be nothing for what has none', () => {
    expect(parseMemory('Name:\tkthreadd\nState:\tS\n')).toBeNull();
  });
});

describe('the processes of a service', () => {
  const one = (pid: number, differing: Partial<ProcessTimes> = {}): ProcessTimes => ({
    pid,
    group: pid,
    session: pid,
    startTime: 100n,
    isDead: false,
    ticks: 1,
    ...differing,
  });
  const pidsOf = (processes: ProcessTimes[]) => membersOf(10, processes).map(({ pid }) => pid);

  it('should be its group and session, with what nobody collected yet', () => {
    const ended = one(12, { session: 10, isDead: true });
    expect(pidsOf([one(9), one(10), one(11, { group: 10, session: 9 }), ended])).toEqual([10, 11, 12]);
  });

  it('should not be older than itself: its number belonged to others before', () => {
    expect(pidsOf([one(10), one(8, { group: 10, startTime: 99n })])).toEqual([10]);
  });

  it('should be nobody once it ended', () => {
    expect(pidsOf([one(10, { isDead: true }), one(11, { group: 10 })])).toEqual([]);
    expect(pidsOf([one(11, { group: 10 })])).toEqual([]);
  });
});
