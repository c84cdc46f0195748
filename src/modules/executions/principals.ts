import type { Caller } from '../services.ts';
import { type ExecutionRow, StepFailure } from './procedure.ts';

/** In whose name an execution acts, and with whose rights, all of which it needs. */
export type Principals = { maker: Caller; all: Caller[] };

const BY_PEOPLE = ['MANUAL', 'RETRY'];

/** Whoever made what it carries out, and whoever began it, where that was a person. @throws {StepFailure} */
export function principalsOf({ trigger, createdById }: ExecutionRow, makerId: string | null): Principals {
  const maker = asCaller(makerId, 'whoever made it is gone');
  if (createdById === null && !BY_PEOPLE.includes(trigger)) return { maker, all: [maker] };
  const beginner = asCaller(createdById, 'whoever began it is gone');
  return { maker, all: maker.userId === beginner.userId ? [maker] : [maker, beginner] };
}

/** Nothing that runs by itself acts as a superadmin. */
function asCaller(userId: string | null, otherwise: string): Caller {
  if (userId === null) throw new StepFailure(`${otherwise}: it may do nothing`);
  return { userId, sessionId: '', isSuperadmin: false };
}
