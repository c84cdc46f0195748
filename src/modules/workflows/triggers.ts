import { Cron } from 'croner';
import type { Transaction } from '../../db/client.ts';
import type { ExecutionTrigger } from '../../db/generated/prisma/enums.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { ExpectedError, reasonOf } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import type { Recorder } from '../change.ts';
import { TimeBudget } from '../executions/time-budget.ts';
import type { WorkflowDefinition } from './definition.ts';
import { ExpressionError } from './expression.ts';
import { beginWorkflowRun } from './runs.ts';
import { fillWith } from './values.ts';

/** The position of a workflow's own schedule; those of the definition are 0, 1, 2 … */
export const OWN_SCHEDULE = -1;
/** A time that passed so long ago was missed: no server was there. */
export const MISSED_AFTER_MS = MINUTE_MS;

export type Trigger = WorkflowDefinition['triggers'][number];

/** When a schedule comes round next; null: never again. */
export function nextTime(schedule: string, after: Date): Date | null {
  return new Cron(schedule, { timezone: 'UTC', paused: true }).nextRun(after);
}

/** In the transaction that changes a workflow: its triggers are those of its current version from now on. */
export async function replaceTriggers(
  tx: Transaction,
  { id: workflowId, schedule }: { id: string; schedule: string | null },
  { triggers }: WorkflowDefinition,
  now: Date,
): Promise<void> {
  const rows = triggers.map((trigger, position) => ({
    ...{ id: newId(), workflowId, position, kind: trigger.kind },
    eventType: trigger.kind === 'event' ? trigger.event : null,
    nextAt: trigger.kind === 'cron' ? nextTime(trigger.schedule, now) : null,
  }));
  const own = { id: newId(), workflowId, position: OWN_SCHEDULE, kind: 'cron' as const, eventType: null };
  if (schedule !== null) rows.push({ ...own, nextAt: nextTime(schedule, now) });
  await tx.workflowTrigger.deleteMany({ where: { workflowId } });
  await tx.workflowTrigger.createMany({ data: rows });
}

export type Triggered = {
  workflowId: string;
  organizationId: string;
  trigger: Extract<ExecutionTrigger, 'SCHEDULE' | 'EVENT' | 'WEBHOOK'>;
  /** What the definition says that the run is given, and what its expressions are about. */
  input: Record<string, unknown> | undefined;
  values: Record<string, unknown>;
  /** The time for what has to be evaluated. */
  budget?: TimeBudget;
  /** Of what an event began: see `Execution.eventDepth`. */
  eventDepth?: number;
};

type EventRecorder = Pick<Recorder, 'event'>;

/** Begins a run without a person; where none can begin, that is told as an event. Returns its id; null: there is none. */
export async function beginTriggered(
  tx: Transaction,
  record: EventRecorder,
  { workflowId, organizationId, trigger, input, values, budget = new TimeBudget(), eventDepth }: Triggered,
): Promise<string | null> {
  const id = newId();
  const byItself: EventRecorder = {
    event: (event) => record.event({ ...event, actor: { type: 'workflow', id: workflowId } }),
  };
  try {
    const filled = fillWith(input ?? {}, values, budget);
    const run = { id, workflowId, organizationId, trigger, createdById: null, eventDepth };
    await beginWorkflowRun(tx, byItself, { ...run, input: filled, budget });
    return id;
  } catch (error) {
    if (!(error instanceof ExpectedError) && !(error instanceof ExpressionError)) throw error;
    const subject = { type: 'Workflow', id: workflowId };
    record.event({
      organizationId,
      type: 'workflow.skipped',
      subject,
      data: { trigger, reason: error instanceof ExpectedError ? reasonOf(error) : error.message },
    });
    return null;
  }
}
