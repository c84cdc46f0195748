import type { Caller } from '../services.ts';
import { type ExecutionRow, StepFailure } from './procedure.ts';

/** In whose name an execution acts, and with whose rights, all of which it needs. */
export type Principals = { maker: Caller; all: Caller[] };

/** The triggers of executions that a person began; their `createdById` is who. */
export const BY_PEOPLE: readonly string[] = ['MANUAL', 'RETRY'];

/** Whoever made what it carries out, and whoever began it, where that was a person. @throws {StepFailure} */
export function principalsOf(execution: ExecutionRow, makerId: string | null): Principals {
  const { trigger, createdById } = execution;
  const by = actingOf(execution);
  const maker = asCaller(makerId, by, 'whoever made it is gone');
  if (createdById === null && !BY_PEOPLE.includes(trigger)) return { maker, all: [maker] };
  const beginner = asCaller(createdById, by, 'whoever began it is gone');
  return { maker, all: maker.userId === beginner.userId ? [maker] : [maker, beginner] };
}

/** Whom what it does names; undefined: it was deleted, and the person has to stand for it. */
function actingOf({ id: executionId, agentId, workflowId }: ExecutionRow): Caller['by'] {
  if (agentId !== null) return { type: 'agent', id: agentId, executionId };
  return workflowId === null ? undefined : { type: 'workflow', id: workflowId, executionId };
}

/** Nothing that runs by itself acts as a superadmin. */
function asCaller(userId: string | null, by: Caller['by'], otherwise: string): Caller {
  if (userId === null) throw new StepFailure(`${otherwise}: it may do nothing`);
  return { userId, sessionId: '', isSuperadmin: false, by };
}
