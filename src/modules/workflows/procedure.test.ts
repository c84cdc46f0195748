import { expect, it } from 'vitest';
import { executionRow, stepRow } from '../../../test/support/execution-rows.ts';
import { checkDefinition } from './check.ts';
import { MAX_ITEMS } from './definition.ts';
import { createWorkflowProcedure, type Performer } from './procedure.ts';

const never: Performer = () => Promise.reject(new Error('nothing is performed'));
const procedure = createWorkflowProcedure({
  ...{ agent: never, deploy: never, rollback: never, http: never, workflow: never, notify: never },
});
const run = (steps: object) =>
  executionRow({
    kind: 'WORKFLOW',
    definition: { ...checkDefinition({ steps }).definition, name: 'w', makerId: null },
  });
const delay = (more: object) => ({ kind: 'delay', seconds: 0, ...more });

it('should number steps in the order in which they need each other, however their names are stored', () => {
  const steps = { a: delay({ needs: ['long'] }), b: delay({ needs: ['a', 'long'] }), long: delay({}), c: delay({}) };
  expect(procedure.next(run(steps), []).orders.map(({ key }) => key)).toEqual(['long', 'c', 'a', 'b']);
});

it('should fail a step for each entry of a list that is too long', () => {
  const items = Array.from({ length: MAX_ITEMS + 1 }, () => 1);
  const row = stepRow({ key: 'each', kind: 'delay', state: 'WAITING', input: items });
  const { orders } = procedure.next(run({ each: delay({ forEach: '[1]' }) }), [row]);
  expect(orders).toEqual([
    { key: 'each', kind: 'delay', state: 'FAILED', error: 'forEach has 1001 entries: up to 1000' },
  ]);
});
