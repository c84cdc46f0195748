/** What takes longer in one go may be one fifth of the time, what does not, half of it. */
const LIGHT_MS = 10;
const HEAVY_FACTOR = 5;
const LIGHT_FACTOR = 2;
/** For a short while it may be more. */
const RESERVE_MS = 100;
/** Accounts beyond are looked through for those that are settled. */
const MAX_ACCOUNTS = 1_000;

/** How organizations share the one thread on which what they wrote is evaluated. It only keeps accounts: there is nothing to stop. */
export class FairShare {
  readonly #now: () => number;
  /** When an organization has waited for all that it has used. */
  readonly #settledAt = new Map<string, number>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** How long it is not an organization's turn yet, in milliseconds; 0: it is. */
  waitMs(organizationId: string): number {
    const settledAt = this.#settledAt.get(organizationId);
    return settledAt === undefined ? 0 : Math.max(0, settledAt - this.#now() - RESERVE_MS);
  }

  /** Those whose turn it is not yet. */
  get waiting(): string[] {
    return [...this.#settledAt.keys()].filter((id) => this.waitMs(id) > 0);
  }

  /** Takes down what an organization has used in one go. */
  used(organizationId: string, ms: number): void {
    if (ms <= 0) return;
    const now = this.#now();
    const from = Math.max(now - ms, this.#settledAt.get(organizationId) ?? Number.NEGATIVE_INFINITY);
    this.#settledAt.set(organizationId, from + ms * (ms > LIGHT_MS ? HEAVY_FACTOR : LIGHT_FACTOR));
    if (this.#settledAt.size <= MAX_ACCOUNTS) return;
    for (const [id, settledAt] of this.#settledAt) if (settledAt <= now) this.#settledAt.delete(id);
  }
}
