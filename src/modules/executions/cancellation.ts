import type { Pool } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import type { Actor } from '../../realtime/event-log.ts';
import { fenced, type Recorder } from '../lease-transaction.ts';
import { cancelled, childKeySql, type Loaded, readExecution, storeMove, storeSteps } from './ledger.ts';
import { isFinal } from './state.ts';

type Client = Parameters<typeof storeMove>[0];

/** Takes back an execution whose row is held and that is not over: at once where nobody works on it. */
export async function requestCancel(
  client: Client,
  record: Recorder,
  { execution, steps }: Loaded,
  { actor, reason }: { actor?: Actor; reason?: string } = {},
): Promise<void> {
  if (execution.status === 'CANCELLING') return;
  if (execution.status === 'RUNNING') return storeMove(client, record, execution, { to: 'CANCELLING', actor, reason });
  await storeSteps(client, execution.id, cancelled(steps));
  await storeMove(client, record, execution, { to: 'CANCELLED', actor, reason });
}

/** Takes back what was begun for a step that does not wait for it any more, and what makes way for a later one of its concurrency key. */
export async function cancelNeedless(pool: Pool, lease: Lease): Promise<void> {
  const { rows } = await pool.query<{ id: string; reason: string }>({
    name: 'needless-executions',
    text: `
      select c.id, 'the step that began it waits for it no more' as reason from executions c join executions p on p.id = c.parent_id
      left join execution_steps s on s.execution_id = p.id and s.key = regexp_replace(c.parent_step, '~\\d+$', '')
      where c.parent_id is not null and c.finished_at is null and c.status <> 'CANCELLING'
        and (p.finished_at is not null or p.status = 'CANCELLING' or s.finished_at is not null
          or c.parent_step <> ${childKeySql('s')})
      union all
      select c.id, 'a later run with the same concurrency key takes its place' from executions c
      where c.concurrency_key is not null and c.finished_at is null and c.status <> 'CANCELLING' and exists (
        select 1 from executions n
        where n.workflow_id = c.workflow_id and n.concurrency_key = c.concurrency_key and n.finished_at is null
          and (n.created_at, n.id) > (c.created_at, c.id) and n.definition->'concurrency'->>'policy' = 'cancel-running')`,
  });
  for (const { id, reason } of rows)
    await fenced(pool, lease, async (client, record) => {
      const loaded = await readExecution(client, id);
      if (loaded && !isFinal(loaded.execution.status)) await requestCancel(client, record, loaded, { reason });
    });
}
