import { describe, expect, it } from 'vitest';
import { MAX_EVALUATION_MS, TimeBudget } from './time-budget.ts';

/** One whose time passes as a test says. */
function budgetOf(limitMs?: number) {
  let at = 1_000;
  const budget = new TimeBudget({ limitMs, now: () => at });
  const take = (ms: number, of = budget) =>
    of.spend(() => {
      at += ms;
    });
  const pass = (ms: number) => {
    at += ms;
  };
  return { budget, take, pass };
}

describe('a time budget', () => {
  it('should count what is done with it, even what fails, and nothing else', () => {
    const { budget, take, pass } = budgetOf();
    take(10);
    pass(1_000);
    const fail = () => {
      pass(5);
      throw new Error('no');
    };
    expect(() => budget.spend(fail)).toThrow('no');
    expect([budget.usedMs, budget.leftMs]).toEqual([15, MAX_EVALUATION_MS - 15]);
    take(10_000);
    expect(budget.leftMs).toBe(0);
  });

  it('should count once what is within itself, and know meanwhile what is left', () => {
    const { budget, take, pass } = budgetOf(100);
    const left = budget.spend(() => {
      take(30);
      pass(10);
      return budget.leftMs;
    });
    expect([left, budget.usedMs]).toEqual([60, 40]);
  });

  it('should have parts, which use of it what they use', () => {
    const { budget, take } = budgetOf(100);
    const part = budget.part(70);
    take(60, part);
    expect([part.leftMs, budget.leftMs, budget.part(70).limitMs, budget.part().limitMs]).toEqual([10, 40, 40, 40]);
  });

  it('should leave to the next round what comes once enough is used', () => {
    const { budget, take } = budgetOf();
    expect(budget.nextOfRound().isWhole).toBe(true);
    take(1);
    expect(budget.nextOfRound()).toMatchObject({ isWhole: false, leftMs: MAX_EVALUATION_MS - 1 });
    take(60);
    expect(budget.nextOfRound().leftMs).toBe(0);
  });
});
