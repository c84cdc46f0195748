import { expect } from 'vitest';
import { Board, type Ended } from '../../src/modules/executions/advance.ts';
import { StepFailure, type StepRow } from '../../src/modules/executions/procedure.ts';
import { checkDefinition } from '../../src/modules/workflows/check.ts';
import { createWorkflowProcedure, type RunDefinition } from '../../src/modules/workflows/procedure.ts';
import { executionRow, READ_AT } from './execution-rows.ts';

const unused = async () => {
  throw new Error('not carried out here');
};
/** Decides as workflows do, and carries nothing out. */
export const procedure = createWorkflowProcedure({
  ...{ agent: unused, workflow: unused, deploy: unused, rollback: unused, http: unused, notify: unused },
});

/** `kept`: steps that it took over of the run that it repeats. */
type Given = { input?: object; kept?: StepRow[]; [field: string]: unknown };

/** A run whose steps end as a test says. */
export class Run {
  readonly #definition: RunDefinition;
  readonly #input: object;
  #now = READ_AT;
  steps: StepRow[] = [];
  move: ReturnType<Board['settle']>['move'] = { to: 'RUNNING' };

  constructor(steps: object, { input = {}, kept = [], ...rest }: Given = {}) {
    const { definition, faults } = checkDefinition({ steps, ...rest });
    expect(faults).toEqual([]);
    this.#definition = { ...definition!, name: 'tested', makerId: null };
    this.#input = input;
    this.steps = kept;
    this.go();
  }

  go(...ended: Ended[]): this {
    const now = this.#now;
    const execution = executionRow({ kind: 'WORKFLOW', definition: this.#definition, input: this.#input, now });
    const board = new Board({ execution, steps: this.steps }, procedure);
    for (const each of ended) board.end(each);
    const running = this.steps.filter(({ state }) => state === 'RUNNING').map(({ key }) => key);
    const over = ended.map(({ key }) => key);
    this.move = board.settle(new Set(running.filter((key) => !over.includes(key)))).move;
    this.steps = board.steps;
    return this;
  }

  succeed(key: string, output: unknown = null): this {
    return this.go({ key, attempt: this.of(key).attempt, result: 'succeeded', output });
  }

  fail(key: string, isTransient = false): this {
    const failure = new StepFailure('no', { isTransient });
    return this.go({ key, attempt: this.of(key).attempt, result: 'failed', failure });
  }

  /** So many seconds later, as whoever takes it up then reads it. */
  later(seconds: number): this {
    this.#now += seconds * 1_000;
    const isDue = ({ wakeAt }: StepRow) => wakeAt !== null && wakeAt <= this.#now;
    this.steps = this.steps.map((step) => ({ ...step, isDue: isDue(step) }));
    return this.go();
  }

  of(key: string): StepRow {
    return this.steps.find((step) => step.key === key)!;
  }

  get states(): Record<string, string> {
    return Object.fromEntries(this.steps.map(({ key, state }) => [key, state]));
  }
}

export const http = (more: object = {}) => ({ kind: 'http', url: 'https://example.org', ...more });
