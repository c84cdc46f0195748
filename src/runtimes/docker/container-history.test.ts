import { describe, expect, it } from 'vitest';
import { ContainerHistory } from './container-history.ts';

const MS = 1_000_000n;
const NOW = 1_795_563_492_000n * MS;

describe('what is known of a container’s runs', () => {
  it('should be in the order of time, each event once', () => {
    const history = new ContainerHistory();
    for (const _ of [1, 2]) {
      history.add({ kind: 'start', time: NOW });
      history.died(NOW + 400n * MS, 7);
      history.add({ kind: 'start', time: NOW + 500n * MS });
    }
    expect(history.runs()).toMatchObject([
      { start: NOW, end: { time: NOW + 400n * MS, exitCode: 7 } },
      { start: NOW + 500n * MS, end: null },
    ]);
  });

  it('should take from an inspection what no event told, and not twice when the event comes later', () => {
    const history = new ContainerHistory();
    const seen = { startedAt: NOW, finishedAt: NOW + 90n * MS, exitCode: 3 };
    expect(history.tells(seen)).toBe(false);
    history.complete(seen);
    expect(history.tells(seen)).toBe(true);
    history.add({ kind: 'start', time: NOW + 5n * MS });
    history.died(NOW + 95n * MS, 3);
    expect(history.runs()).toMatchObject([{ start: NOW, end: { exitCode: 3 } }]);
  });

  it('should put an end that nobody saw right before the start that followed it', () => {
    const history = new ContainerHistory();
    const startedAt = NOW + 1_000n * MS;
    history.complete({ startedAt, finishedAt: NOW, exitCode: null });
    expect(history.runs()).toMatchObject([
      { start: null, end: { time: startedAt - 1n, exitCode: null } },
      { start: startedAt, end: null },
    ]);
  });

  it('should count what the kernel killed before an end to that end', () => {
    const history = new ContainerHistory();
    history.outOfMemory(NOW);
    history.died(NOW + MS, 137);
    history.add({ kind: 'start', time: NOW + 2n * MS });
    history.died(NOW + 20_000n * MS, 137);
    expect(history.runs().map(({ end }) => end?.outOfMemory)).toEqual([true, false]);
  });

  it('should call back once for a change, also for one that was before', () => {
    const history = new ContainerHistory();
    let calls = 0;
    const { version } = history;
    history.onceChanged(version, () => calls++);
    history.touch();
    history.touch();
    history.onceChanged(version, () => calls++);
    history.onceChanged(history.version, () => calls++)();
    history.touch();
    expect(calls).toBe(2);
  });
});
