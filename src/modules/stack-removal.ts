import type { Prisma, Transaction } from '../db/client.ts';
import { notifyTopics } from '../realtime/bus.ts';
import { hostTopic } from './host-topic.ts';

/**
 * Before rows are deleted: notes what their hosts have to be rid of, files, volumes and logs. The condition names rows of
 * `stack_environments se` and `environments e`; nothing of them may run, or begin to, until the commit.
 */
export async function removeFromHosts(tx: Transaction, condition: Prisma.Sql): Promise<void> {
  const hosts = await tx.$queryRaw<{ id: string }[]>`
    with noted as (
      insert into stack_removals (stack_environment_id, environment_id, stack_id, host_id, uid_offset)
      select se.id, se.environment_id, se.stack_id, e.host_id, e.uid_offset
      from stack_environments se join environments e on e.id = se.environment_id
      where e.host_id is not null and ${condition} returning host_id)
    select distinct host_id as id from noted`;
  await notifyTopics(
    tx,
    hosts.map(({ id }) => hostTopic(id)),
  );
}
