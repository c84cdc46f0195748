import type { ExecutionRow, StepRow } from '../../src/modules/executions/procedure.ts';

/** The time at which they were read. */
export const READ_AT = Date.parse('2030-01-01T00:00:00Z');

/** An execution that is being worked on, as whoever works on it reads it. */
export function executionRow(change: Partial<ExecutionRow> = {}): ExecutionRow {
  return {
    ...{
      id: 'an-execution',
      revision: 1,
      organizationId: 'an-organization',
      kind: 'AGENT',
      status: 'RUNNING',
      statusReason: null,
    },
    ...{
      definition: {},
      input: null,
      agentId: null,
      workflowId: null,
      continuesId: null,
      trigger: 'MANUAL',
      createdById: null,
    },
    ...{ parentId: null, parentStep: null, createdAt: READ_AT, inputTokens: 0, outputTokens: 0 },
    ...{ isLate: false, now: READ_AT },
    ...change,
  };
}

export function stepRow(change: Partial<StepRow> = {}): StepRow {
  return {
    ...{ position: 1, key: 'a', kind: 'task', state: 'PENDING', attempt: 0, failures: 0, dependsOn: [] },
    ...{ input: null, output: null, error: null, approval: null, waitsFor: null, wakeAt: null, isDue: false },
    ...change,
  };
}
