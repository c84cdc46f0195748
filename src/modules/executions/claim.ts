import type { Pool } from 'pg';
import type { ExecutionKind, ExecutionStatus } from '../../db/generated/prisma/enums.ts';
import type { Lease } from '../../engine/host-lease.ts';
import { fenced } from '../lease-transaction.ts';
import { executionTopic, movedEvent } from './ledger.ts';

type Claimed = {
  id: string;
  organizationId: string;
  kind: ExecutionKind;
  previousStatus: ExecutionStatus;
  status: ExecutionStatus;
};

/**
 * Takes up to so many executions that somebody has to work on: those that nobody has, that an earlier epoch of this host had, or a host
 * whose lease is over, and those that wait and whose time has come. Of the organizations in `without`
 * only those that are to be cancelled. Returns their ids, the oldest first.
 */
export async function claimExecutions(
  pool: Pool,
  lease: Lease,
  limit: number,
  without: readonly string[] = [],
): Promise<string[]> {
  if (limit <= 0) return [];
  return fenced(pool, lease, async (client, record) => {
    // Its revision tells whether another host has claimed one since this statement began.
    const { rows } = await client.query<Claimed>({
      name: 'claim-executions',
      text: `
        with due as (
          (select e.id, e.revision from executions e left join hosts h on h.id = e.host_id
           where e.status in ('QUEUED', 'RUNNING', 'CANCELLING') and (e.status = 'CANCELLING' or e.organization_id <> all ($4::uuid[]))
             and (e.host_id is null or (e.host_id = $1 and e.host_epoch < $2) or h.id is null
                  or (e.host_id <> $1 and (h.epoch > e.host_epoch or h.lease_expires_at is null or h.lease_expires_at < now())))
             and (e.status <> 'QUEUED' or e.concurrency_key is null or not exists (
               select 1 from executions o
               where o.workflow_id = e.workflow_id and o.concurrency_key = e.concurrency_key and o.finished_at is null
                 and (o.created_at, o.id) < (e.created_at, e.id)))
           order by e.created_at, e.id limit $3)
          union all
          (select e.id, e.revision from executions e where e.status = 'WAITING' and e.wake_at <= now() and e.organization_id <> all ($4::uuid[]) order by e.wake_at limit $3)
        ), held as (
          select e.id, e.status from executions e join due on due.id = e.id
          where e.revision = due.revision and e.finished_at is null limit $3 for no key update of e skip locked
        )
        update executions e
          set host_id = $1, host_epoch = $2, wake_at = null, revision = e.revision + 1, started_at = coalesce(e.started_at, now()),
              status = case when held.status = 'CANCELLING' then held.status else 'RUNNING' end, status_reason = null,
              deadline_at = e.deadline_at + coalesce(now() - e.waiting_since, interval '0'), waiting_since = null
        from held where e.id = held.id
        returning e.id, e.organization_id as "organizationId", e.kind::text as kind, held.status::text as "previousStatus",
                  e.status::text as status, e.created_at`,
      values: [lease.hostId, lease.epoch, limit, without],
    });
    for (const { previousStatus, status, ...execution } of rows) {
      record.wake(executionTopic(execution.id));
      if (previousStatus !== status) record.event(movedEvent(execution, previousStatus, status, null));
    }
    return rows.map(({ id }) => id);
  });
}

/** Those of the executions in hand that are to be looked at: to be stopped, told of something, or not this process's any more. */
export async function executionsToLookAt(pool: Pool, lease: Lease, inHand: readonly string[]): Promise<string[]> {
  if (inHand.length === 0) return [];
  const { rows } = await pool.query<{ id: string }>(
    `select given.id from unnest($1::uuid[]) as given(id) left join executions e on e.id = given.id
     where e.id is null or e.host_id is distinct from $2 or e.host_epoch is distinct from $3 or e.status = 'CANCELLING'
        or e.deadline_at < now() or e.wake_at <= now()`,
    [inHand, lease.hostId, lease.epoch],
  );
  return rows.map(({ id }) => id);
}
