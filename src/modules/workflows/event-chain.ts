import type { Transaction } from '../../db/client.ts';
import type { StoredEvent } from '../../realtime/event-store.ts';

/** Runs that begin each other by events come to an end after so many. */
export const MAX_EVENT_DEPTH = 10;
/** What happens so long after a run has ended is not brought about by it any more: the next run is the first of its chain. */
export const EVENT_CHAIN_MINUTES = 10;

export type EventChain = {
  /** Whose runs, which were not over then, the event is brought about by. */
  workflowIds: string[];
  /** How many runs that events began come before it. */
  depth: number;
};

/** Where an event comes from: the execution that it is about, or that asked for the deployment it is about, and those above. */
export async function chainOf(
  tx: Transaction,
  { subjectType, subjectId, occurredAt }: Pick<StoredEvent, 'subjectType' | 'subjectId' | 'occurredAt'>,
): Promise<EventChain> {
  if (subjectId === null || (subjectType !== 'Execution' && subjectType !== 'Deployment'))
    return { workflowIds: [], depth: 0 };
  const [chain] = await tx.$queryRaw<[EventChain]>`
    with recursive above as (
      select e.id, e.parent_id, e.workflow_id, e.event_depth, e.finished_at from executions e
      where e.id = case when ${subjectType} = 'Execution' then ${subjectId}::uuid else (
        select coalesce(d.execution_id, former.execution_id) from deployments d
        left join deployments former on former.id = d.rollback_of_id where d.id = ${subjectId}::uuid) end
      union all
      select p.id, p.parent_id, p.workflow_id, p.event_depth, p.finished_at from executions p join above on p.id = above.parent_id
    )
    select coalesce(array_agg(workflow_id::text) filter (
             where workflow_id is not null and (id = ${subjectId}::uuid or finished_at is null or ${occurredAt} <= finished_at)), '{}') as "workflowIds",
           coalesce(max(event_depth) filter (
             where finished_at is null or ${occurredAt} <= finished_at + make_interval(mins => ${EVENT_CHAIN_MINUTES}::int)), 0)::int as depth
    from above`;
  return chain;
}
