import type { Pool } from 'pg';
import { serviceUid } from '../../src/modules/deployments/service-uid.ts';
import { createProcessRuntime } from '../../src/runtimes/process/process-runtime.ts';
import { createLogger } from '../../src/shared/logger.ts';

/** Lets a runtime stop and forget the one instance of a service, while its row stays as it is: half of what a retirement does. */
export async function forgetInstance(pool: Pool, directory: string, service: string): Promise<void> {
  const { rows } = await pool.query(
    `select i.id as instance, h.epoch::int as epoch, e.uid_offset as "uidOffset",
            se.id, e.id as "environmentId", se.stack_id as "stackId"
     from instances i join stack_environments se on se.id = i.stack_environment_id
     join environments e on e.id = se.environment_id join hosts h on h.id = e.host_id
     where i.removed_at is null and i.service = $1`,
    [service],
  );
  const { instance, epoch, uidOffset, ...ids } = rows[0];
  await using runtime = createProcessRuntime({ directory, nodePath: process.execPath, log: createLogger('silent') });
  await runtime.stop({ ...ids, uid: serviceUid(uidOffset) }, instance, epoch);
}
