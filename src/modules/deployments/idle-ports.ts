import type { Pool } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import { fenced } from '../lease-transaction.ts';

const NAMES_THE_PORT = `'$.** ? (@.published == $port && @.protocol == $protocol)', jsonb_build_object('port', p.port, 'protocol', p.protocol)`;

/**
 * Gives back ports of the host that neither what is live nor any instance has, and that no deployment under way may want:
 * left by one whose work broke before it could give them back.
 */
export async function freeIdlePorts(pool: Pool, lease: Lease): Promise<void> {
  await fenced(pool, lease, (client) =>
    client.query(
      `delete from port_reservations p using stack_environments se
       where p.host_id = $1 and se.id = p.stack_environment_id and se.active_deployment_id is null
         and not exists (select 1 from deployments d join releases r on r.id = d.release_id
                         where d.id = se.live_deployment_id and jsonb_path_exists(r.ports, ${NAMES_THE_PORT}))
         and not exists (select 1 from instances i where i.stack_environment_id = se.id and i.removed_at is null
                         and jsonb_path_exists(i.ports, ${NAMES_THE_PORT}))`,
      [lease.hostId],
    ),
  );
}
