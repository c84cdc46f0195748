import type { PoolClient } from 'pg';
import type { SqlExecutor } from '../../realtime/sql.ts';
import type { Runtime } from '../../runtimes/runtime.ts';
import { ConflictError } from '../../shared/errors.ts';
import type { ObservedInstance } from './observation.ts';
import { fixedPortProblem, type PortPlan, type PortSources } from './ports.ts';

/** Whose ports they are, and on which host. */
export type PortHolder = { hostId: string | null; stackEnvironmentId: string | null; organizationId: string };

/** What `planPorts` has to know of a host. `runtime` null: it cannot be asked from here, and what is not reserved counts as free. */
export async function portSources(
  database: SqlExecutor,
  runtime: Pick<Runtime, 'portIsFree'> | null,
  holder: PortHolder,
  running: readonly ObservedInstance[],
): Promise<Pick<PortSources, 'ownerOf' | 'isOurs' | 'isFree'>> {
  const reserved = await database.query<{ port: number; protocol: string; owner: string }>(
    `select p.port, p.protocol,
            case when s.organization_id = $3 then 'the stack "' || s.name || '" in the environment "' || e.name || '"'
                 else 'another stack on this host' end as owner
     from port_reservations p join stack_environments se on se.id = p.stack_environment_id
     join stacks s on s.id = se.stack_id join environments e on e.id = se.environment_id
     where p.host_id = $1 and p.stack_environment_id is distinct from $2`,
    [holder.hostId, holder.stackEnvironmentId, holder.organizationId],
  );
  const owners = new Map(reserved.rows.map((row) => [`${row.port}/${row.protocol}`, row.owner]));
  const alive = running.filter(({ isAlive }) => isAlive).flatMap(({ spec }) => spec.ports);
  const ours = new Set(alive.map(({ published, protocol }) => `${published}/${protocol}`));
  return {
    ownerOf: (port, protocol) => owners.get(`${port}/${protocol}`) ?? null,
    isOurs: (port, protocol) => ours.has(`${port}/${protocol}`),
    isFree: async (host, port, protocol) => runtime?.portIsFree(host, port, protocol) ?? true,
  };
}

/** What keeps a stored release from its ports now, in whole sentences. */
export async function portProblems(
  sources: Awaited<ReturnType<typeof portSources>>,
  plan: PortPlan,
): Promise<string[]> {
  const problems: string[] = [];
  for (const [service, replicas] of Object.entries(plan)) {
    for (const port of replicas.flat()) {
      const problem = await fixedPortProblem(sources, service, { ...port, hostIp: port.host });
      if (problem) problems.push(problem);
    }
  }
  return problems;
}

/** Keeps the live release's ports and takes the new one's; what another stack took meanwhile is a ConflictError. */
export async function reservePorts(client: PoolClient, holder: PortHolder, plan: PortPlan): Promise<void> {
  const wanted = Object.values(plan)
    .flat(2)
    .map(({ published, protocol }) => ({ port: published, protocol }));
  const { rows } = await client.query<{ port: number; protocol: string }>(
    `with wanted as (select distinct port, protocol from jsonb_to_recordset($3::jsonb) as w(port int, protocol text)),
          taken as (insert into port_reservations as p (host_id, port, protocol, stack_environment_id)
                    select $1, port, protocol, $2 from wanted order by port, protocol
                    on conflict (host_id, port, protocol) do update set port = excluded.port
                    where p.stack_environment_id = excluded.stack_environment_id returning port, protocol)
     select w.port, w.protocol from wanted w left join taken t using (port, protocol) where t.port is null`,
    [holder.hostId, holder.stackEnvironmentId, JSON.stringify(wanted)],
  );
  const lost = rows[0];
  if (lost)
    throw new ConflictError(`port ${lost.port}/${lost.protocol} was taken by another stack on this host meanwhile`);
}

/** Gives back every reserved port that neither what runs nor these plans need. */
export async function releasePorts(client: PoolClient, holder: PortHolder, needed: readonly PortPlan[]): Promise<void> {
  const keep = needed
    .flatMap((plan) => Object.values(plan).flat(2))
    .map(({ published, protocol }) => `${published}/${protocol}`);
  await client.query(
    `delete from port_reservations where host_id = $1 and stack_environment_id = $2 and port || '/' || protocol <> all($3)`,
    [holder.hostId, holder.stackEnvironmentId, keep],
  );
}
