/** What may hold up everybody at a time, in milliseconds. */
export const MAX_EVALUATION_MS = 250;
/** Once so much of it is used, nothing else begins that can as well come in the next round. */
const ENOUGH_MS = 50;

type TimeBudgetOptions = { limitMs?: number; parent?: TimeBudget; now?: () => number };

/** The time that what a user wrote may take before others have their turn. */
export class TimeBudget {
  readonly limitMs: number;
  readonly #parent: TimeBudget | undefined;
  readonly #now: () => number;
  #usedMs = 0;
  #since: number | null = null;

  constructor({ limitMs = MAX_EVALUATION_MS, parent, now = () => performance.now() }: TimeBudgetOptions = {}) {
    this.limitMs = limitMs;
    this.#parent = parent;
    this.#now = now;
  }

  get usedMs(): number {
    return this.#usedMs + (this.#since === null ? 0 : this.#now() - this.#since);
  }

  get leftMs(): number {
    return Math.max(0, this.limitMs - this.usedMs);
  }

  /** Whether it is all that there ever is: what does not do with it never will. */
  get isWhole(): boolean {
    return this.limitMs >= MAX_EVALUATION_MS;
  }

  /** For one of several things: what it uses is used of this one too. */
  part(limitMs: number = this.leftMs): TimeBudget {
    return new TimeBudget({ limitMs: Math.min(limitMs, this.leftMs), parent: this, now: this.#now });
  }

  /** For the next thing of a round: all that is left, or nothing where another round is better. */
  nextOfRound(): TimeBudget {
    return this.part(this.usedMs < ENOUGH_MS ? this.leftMs : 0);
  }

  /** Counts the time of what it does, even where that throws; within itself once. */
  spend<Value>(work: () => Value): Value {
    if (this.#since !== null) return work();
    this.#since = this.#now();
    try {
      return this.#parent ? this.#parent.spend(work) : work();
    } finally {
      this.#usedMs += this.#now() - this.#since;
      this.#since = null;
    }
  }
}
