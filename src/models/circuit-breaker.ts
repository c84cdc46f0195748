import { type Model, ModelError } from './model.ts';

/** So many failures in a row open the circuit … */
export const MAX_FAILURES = 5;
/** … for so long; then one request finds out. */
export const OPEN_MS = 30_000;

/** Where the time comes from: `after` returns what takes a timer back. */
export type Timing = { now(): number; after(ms: number, then: () => void): () => void };

const systemTiming: Timing = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * Leaves a server alone that fails again and again, whoever asks it. What is asked meanwhile waits until one request has found out that the
 * server answers again, the first that waits; the others go on waiting for what comes of it. Only its own signal ends the wait.
 */
export function createCircuitBreaker({ openMs = OPEN_MS, timing = systemTiming } = {}): (model: Model) => Model {
  const circuit = new Circuit(openMs, timing);
  return (model) => ({
    async takeTurn(turn, { signal, onText }) {
      const period = await circuit.enter(signal);
      const isProbe = period.openUntil !== null;
      const heard = (text: string) => {
        // The server is back: nobody needs to wait for all that it has to say.
        if (isProbe) circuit.leave(period, 'answered');
        return onText(text);
      };
      try {
        const result = await model.takeTurn(turn, { signal, onText: heard });
        circuit.leave(period, 'answered');
        return result;
      } catch (error) {
        circuit.leave(period, error instanceof ModelError && error.isOutage ? 'failed' : 'unknown');
        throw error;
      }
    },
  });
}

/** From one opening or closing of the circuit to the next. */
type Period = {
  /** Null: the circuit is closed. */
  openUntil: number | null;
  /** In a row. */
  failures: number;
  isProbed: boolean;
};

class Circuit {
  readonly #openMs: number;
  readonly #timing: Timing;
  #period: Period = { openUntil: null, failures: 0, isProbed: false };
  /** In the order in which they came. */
  readonly #waiting = new Set<(period: Period) => void>();
  #stopTimer: (() => void) | null = null;

  constructor(openMs: number, timing: Timing) {
    this.#openMs = openMs;
    this.#timing = timing;
  }

  /** Resolves when the server may be asked. @throws the signal's reason */
  enter(signal: AbortSignal): Promise<Period> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const admit = (period: Period) => {
        signal.removeEventListener('abort', giveUp);
        resolve(period);
      };
      const giveUp = () => {
        this.#waiting.delete(admit);
        this.#admit();
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(admit);
      this.#admit();
    });
  }

  /** `unknown`: it says nothing about the server. What comes of a request that began in another period counts no more. */
  leave(period: Period, outcome: 'answered' | 'failed' | 'unknown'): void {
    if (period !== this.#period) return;
    period.isProbed = false;
    if (outcome === 'answered') {
      period.failures = 0;
      if (period.openUntil !== null) this.#period = { ...period, openUntil: null };
    }
    if (outcome === 'failed') {
      period.failures++;
      if (period.failures >= MAX_FAILURES) this.#period = { ...period, openUntil: this.#timing.now() + this.#openMs };
    }
    this.#admit();
  }

  /** Lets in whoever may by now, and looks again when the others may. */
  #admit(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
    for (const admit of this.#waiting) {
      const { openUntil, isProbed } = this.#period;
      if (openUntil !== null) {
        if (isProbed) return;
        const leftMs = openUntil - this.#timing.now();
        if (leftMs > 0) {
          this.#stopTimer = this.#timing.after(leftMs, () => this.#admit());
          return;
        }
        this.#period.isProbed = true;
      }
      this.#waiting.delete(admit);
      admit(this.#period);
    }
  }
}
