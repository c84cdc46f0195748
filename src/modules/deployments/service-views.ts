import type { Pool } from 'pg';
import type { DeploymentStatus, ServiceState } from '../../db/generated/prisma/enums.ts';
import type { PortBinding } from '../../runtimes/runtime.ts';
import { isFinal } from './state.ts';

export type ReplicaView = {
  number: number;
  instance: string;
  state: ServiceState;
  restarts: number;
  exitCode: number | null;
  ports: PortBinding[];
  startedAt: Date | null;
};
export type ServiceView = { deploymentId: string; name: string; state: ServiceState; replicas: ReplicaView[] };

/** From the best to the worst: a service is as well as the worst of its replicas. */
const BY_GRAVITY: readonly ServiceState[] = [
  'HEALTHY',
  'RUNNING',
  'PENDING',
  'STARTING',
  'STOPPED',
  'EXITED',
  'RESTARTING',
  'UNHEALTHY',
];

type Row = {
  deploymentId: string;
  status: DeploymentStatus;
  names: string[];
  instance:
    | (Omit<ReplicaView, 'startedAt' | 'number' | 'instance'> & {
        id: string;
        service: string;
        replica: number;
        startedAt: string | null;
      })
    | null;
};

/**
 * The services of deployments with their newest instances: those that belong to it and, while it is being rolled out, those that it
 * leaves as they are. One query, whatever their number.
 */
export async function readServices(pool: Pool, deploymentIds: string[]): Promise<Map<string, ServiceView[]>> {
  const { rows } = await pool.query<Row>(
    `select d.id as "deploymentId", d.status::text as status,
            array(select s.value->>'name' from jsonb_array_elements(v.services) s) as names,
            case when i.id is not null then jsonb_build_object('id', i.id, 'service', i.service, 'replica', i.replica,
              'state', i.state, 'restarts', i.restarts, 'exitCode', i.exit_code, 'ports', i.ports,
              'startedAt', i.started_at) end as instance
     from deployments d
     join stack_versions v on v.id = d.stack_version_id
     left join releases r on r.id = d.release_id
     left join lateral (
       select distinct on (service, replica) i.*
       from instances i
       where i.deployment_id = d.id
          or (d.finished_at is null and i.stack_environment_id = d.stack_environment_id and i.removed_at is null
              and r.config_hashes->i.service->'configHashes'->>(i.replica - 1) = i.config_hash)
       order by service, replica, i.created_at desc, i.id desc
     ) i on true
     where d.id = any($1)
     order by i.service, i.replica`,
    [deploymentIds],
  );
  return new Map([...Map.groupBy(rows, ({ deploymentId }) => deploymentId)].map(([id, group]) => [id, viewsOf(group)]));
}

function viewsOf(rows: Row[]): ServiceView[] {
  const { deploymentId, status, names } = rows[0]!;
  const instances = rows.flatMap(({ instance }) => instance ?? []);
  const present = Map.groupBy(instances, ({ service }) => service);
  const all = [...new Set([...names, ...present.keys()])].sort();
  return all.map((name) => {
    const replicas = (present.get(name) ?? []).map(({ id, replica, service: _service, startedAt, ...rest }) => ({
      ...rest,
      number: replica,
      instance: id,
      startedAt: startedAt === null ? null : new Date(startedAt),
    }));
    return { deploymentId, name, state: worstOf(replicas) ?? (isFinal(status) ? 'STOPPED' : 'PENDING'), replicas };
  });
}

function worstOf(replicas: readonly ReplicaView[]): ServiceState | null {
  // One that has ended well is no trouble.
  const states = replicas.map(({ state, exitCode }) => ({
    state,
    gravity: state === 'EXITED' && exitCode === 0 ? 0 : BY_GRAVITY.indexOf(state),
  }));
  return states.toSorted((a, b) => b.gravity - a.gravity)[0]?.state ?? null;
}
