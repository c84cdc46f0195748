import type { ExecutionStatus, ExecutionStepState } from '../../db/generated/prisma/enums.ts';

/** Every change of status that there is. A state that is not final has at least one way out. */
export const TRANSITIONS: Record<ExecutionStatus, readonly ExecutionStatus[]> = {
  QUEUED: ['RUNNING', 'CANCELLED'],
  RUNNING: ['WAITING', 'COMPLETED', 'FAILED', 'CANCELLING'],
  WAITING: ['RUNNING', 'FAILED', 'CANCELLED'],
  CANCELLING: ['CANCELLED'],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
};

export const STATUSES = Object.keys(TRANSITIONS) as ExecutionStatus[];

/** It has ended, and all that it wrote is stored. */
export function isFinal(status: ExecutionStatus): boolean {
  return TRANSITIONS[status].length === 0;
}

const OVER: readonly ExecutionStepState[] = ['SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED'];

/** Nothing becomes of such a step any more. */
export function isOver(state: ExecutionStepState): boolean {
  return OVER.includes(state);
}
