import type { PrismaClient } from '../../db/generated/prisma/client.ts';
import { changeBySystem } from '../change.ts';
import type { FairShare } from '../executions/fair-share.ts';
import { TimeBudget } from '../executions/time-budget.ts';
import type { WorkflowDefinition } from './definition.ts';
import { beginTriggered, MISSED_AFTER_MS, nextTime, OWN_SCHEDULE, type Trigger } from './triggers.ts';

const BATCH = 50;

type Due = {
  id: string;
  position: number;
  nextAt: Date;
  now: Date;
  workflowId: string;
  organizationId: string;
  schedule: string | null;
  definition: WorkflowDefinition;
};

/** Begins what is due by its schedule, each time once, whoever else looks: the row of a trigger moves on with the run. Returns how many were due. */
export async function beginScheduled(prisma: PrismaClient, share: FairShare): Promise<number> {
  return changeBySystem(prisma, async (tx, record) => {
    const due = await tx.$queryRaw<Due[]>`
      select t.id, t.position, t.next_at as "nextAt", now() as now, w.id as "workflowId", w.organization_id as "organizationId", w.schedule,
             v.definition
      from workflow_triggers t join workflows w on w.id = t.workflow_id
      join workflow_versions v on v.workflow_id = w.id and v.version = w.version
      join organizations o on o.id = w.organization_id
      where t.next_at <= now() and o.is_active and o.id <> all (${share.waiting}::uuid[]) order by t.next_at limit ${BATCH} for no key update of t skip locked`;
    for (const { id, now, workflowId, organizationId, ...trigger } of due) {
      if (share.waitMs(organizationId) > 0) continue;
      const { schedule, missed, input } = scheduleOf(trigger);
      const budget = new TimeBudget();
      const wasMissed = now.getTime() - trigger.nextAt.getTime() > MISSED_AFTER_MS;
      if (!(wasMissed && missed === 'skip'))
        await beginTriggered(tx, record, {
          workflowId,
          organizationId,
          trigger: 'SCHEDULE',
          input,
          values: {},
          budget,
        });
      share.used(organizationId, budget.usedMs);
      await tx.workflowTrigger.update({ where: { id }, data: { nextAt: nextTime(schedule, now) } });
    }
    return due.length;
  });
}

function scheduleOf({ position, schedule, definition }: Pick<Due, 'position' | 'schedule' | 'definition'>) {
  if (position === OWN_SCHEDULE) return { schedule: schedule!, missed: 'run-once' as const, input: undefined };
  return definition.triggers[position] as Extract<Trigger, { kind: 'cron' }>;
}
