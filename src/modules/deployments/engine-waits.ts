import type { Pool } from 'pg';
import { notifyTopics } from '../../realtime/bus.ts';
import { inTransaction } from '../lease-transaction.ts';
import { deploymentTopic } from './records.ts';

const WAITS = 'waits for its container engine: ';

/** Says of the deployments on a host that wait for their turn that they wait for its engine; null: not any more. */
export async function tellWaiting(pool: Pool, hostId: string, why: string | null): Promise<void> {
  const reason = why && `${WAITS}${why}`;
  await inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `with waiting as (
         select d.id from deployments d join environments e on e.id = d.environment_id
         where e.host_id = $1 and d.status = 'QUEUED'
           and case when $2::text is null then starts_with(d.status_reason, $3) else d.status_reason is null end
         order by d.id for no key update of d)
       update deployments d set status_reason = $2, revision = d.revision + 1 from waiting where d.id = waiting.id
       returning d.id`,
      [hostId, reason, WAITS],
    );
    await notifyTopics(
      client,
      rows.map(({ id }) => deploymentTopic(id)),
    );
  });
}
