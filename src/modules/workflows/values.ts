import { encodeGlobalId } from '../../shared/global-id.ts';
import { jsonLength } from '../../shared/json-length.ts';
import type { ExecutionRow, StepRow } from '../executions/procedure.ts';
import type { TimeBudget } from '../executions/time-budget.ts';
import type { WorkflowDefinition } from './definition.ts';
import { ExpressionError, Expressions } from './expression.ts';
import { fillIn } from './template.ts';

/** What was checked when the definition was stored is not checked again: any value may stand under these names. */
const EXPRESSIONS = new Expressions({
  ...{ inputs: 'dyn', steps: 'dyn', execution: 'dyn', item: 'dyn', index: 'int', event: 'dyn', body: 'dyn' },
});

/** In characters of JSON: what an expression, or all those of a step together, may come to. */
export const MAX_VALUE_LENGTH = 1024 * 1024;

/** A step's own values beside those of the whole run. */
export type Local = { item?: unknown; index?: number; event?: unknown };

/** Evaluates the expressions of a definition in one run of it. */
export class RunValues {
  readonly #values: Record<string, unknown>;

  constructor(
    { inputs: declared }: Pick<WorkflowDefinition, 'inputs'>,
    execution: Pick<ExecutionRow, 'id' | 'createdAt' | 'input'>,
    steps: readonly Pick<StepRow, 'key' | 'state' | 'output' | 'error'>[],
  ) {
    this.#values = {
      inputs: typed(declared, execution.input),
      execution: {
        id: encodeGlobalId('Execution', execution.id),
        createdAt: new Date(execution.createdAt).toISOString(),
      },
      steps: Object.fromEntries(steps.map(({ key, state, output, error }) => [key, { state, output, error }])),
    };
  }

  /** @throws {ExpressionError} */
  evaluate(source: string, budget: TimeBudget, local: Local = {}): unknown {
    return evaluateWith(source, { ...this.#values, ...local }, budget);
  }

  /** A JSON value with the values of its expressions in their places. @throws {ExpressionError} */
  fill(value: unknown, budget: TimeBudget, local: Local = {}): unknown {
    return fillWith(value, { ...this.#values, ...local }, budget);
  }
}

/** The value of an expression about what begins a run: an event, the body of a request. @throws {ExpressionError} */
export function evaluateWith(source: string, values: Record<string, unknown>, budget: TimeBudget): unknown {
  const value = EXPRESSIONS.evaluate(source, values, budget);
  requireLength(jsonLength(value, MAX_VALUE_LENGTH));
  return value;
}

/** The same for a JSON value with expressions. @throws {ExpressionError} */
export function fillWith(value: unknown, values: Record<string, unknown>, budget: TimeBudget): unknown {
  let length = 0;
  return budget.spend(() =>
    fillIn(value, (source) => {
      const found = evaluateWith(source, values, budget);
      length += jsonLength(found);
      requireLength(length);
      return found;
    }),
  );
}

function requireLength(length: number): void {
  if (length > MAX_VALUE_LENGTH)
    throw new ExpressionError(
      `expressions come to more than ${MAX_VALUE_LENGTH.toLocaleString('en')} characters: let them take less of what they read`,
    );
}

/** A whole number is a floating-point number all the same where the input is declared as one. */
function typed(declared: WorkflowDefinition['inputs'], given: unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries((given ?? {}) as Record<string, unknown>).map(([name, value]) => [
      name,
      declared[name]?.type === 'number' && typeof value === 'number' ? Object(value) : value,
    ]),
  );
}
