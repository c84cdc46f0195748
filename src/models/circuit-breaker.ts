import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen, IsolatedCircuitError } from 'cockatiel';
import { type Model, ModelError } from './model.ts';

/** So many failures in a row open the circuit … */
export const MAX_FAILURES = 5;
/** … for so long; then one request finds out. */
export const OPEN_MS = 30_000;

/** Leaves a server alone that fails again and again: what is asked meanwhile fails at once, as something to be tried later. */
export function createCircuitBreaker(openMs = OPEN_MS): (model: Model) => Model {
  const policy = circuitBreaker(
    handleWhen((error) => error instanceof ModelError && error.isTransient && error.retryAfterMs === null),
    { halfOpenAfter: openMs, breaker: new ConsecutiveBreaker(MAX_FAILURES) },
  );
  return (model) => ({
    takeTurn: async (turn, options) => {
      try {
        return await policy.execute(() => model.takeTurn(turn, options));
      } catch (error) {
        if (!(error instanceof BrokenCircuitError || error instanceof IsolatedCircuitError)) throw error;
        const message = `the model's server failed ${MAX_FAILURES} times in a row: it is left alone for ${openMs / 1_000} s`;
        throw new ModelError(message, { isTransient: true, retryAfterMs: openMs, cause: error });
      }
    },
  });
}
