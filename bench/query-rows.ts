import { Client } from 'pg';
import { newId } from '../src/shared/ids.ts';

const USERS = 10;
const ENVIRONMENTS = 4;
const STACKS = 200;
const DEPLOYMENTS = 4_000;

/** Fills an organization with what it would have after some months: nothing of it runs. */
export async function insertRows(databaseUrl: string, organizationId: string): Promise<void> {
  const client = new Client(databaseUrl);
  await client.connect();
  const users = ids(USERS);
  const environments = ids(ENVIRONMENTS);
  const stacks = ids(STACKS);
  const versions = ids(STACKS);
  const places = Array.from({ length: STACKS * ENVIRONMENTS }, () => newId());
  await client.query('begin');
  await client.query(
    `insert into users (id, username, username_key, email, email_key, password_hash)
     select id, 'user-' || n, 'user-' || n, 'user-' || n || '@example.org', 'user-' || n || '@example.org', ''
     from unnest($1::uuid[]) with ordinality as u (id, n)`,
    [users],
  );
  await client.query(
    `insert into organization_members (id, organization_id, user_id, role) select id, $2, id, 'DEVELOPER' from unnest($1::uuid[]) as u (id)`,
    [users, organizationId],
  );
  await client.query(
    `insert into environments (id, organization_id, name, slug, type, runtime)
     select id, $2, 'Environment ' || n, 'environment-' || n, 'STAGING', 'DOCKER' from unnest($1::uuid[]) with ordinality as e (id, n)`,
    [environments, organizationId],
  );
  await client.query(
    `insert into stacks (id, organization_id, name, slug, description, current_number)
     select id, $2, 'Stack ' || n, 'stack-' || n, repeat('What it is for. ', 6), 1 from unnest($1::uuid[]) with ordinality as s (id, n)`,
    [stacks, organizationId],
  );
  await client.query(
    `insert into stack_versions (id, stack_id, number, compose, services)
     select v, s, 1, 'services: {}', '[]' from unnest($1::uuid[], $2::uuid[]) as x (v, s)`,
    [versions, stacks],
  );
  await client.query(
    `insert into stack_environments (id, stack_id, environment_id, last_number)
     select id, ($2::uuid[])[1 + (n - 1) / $4], ($3::uuid[])[1 + (n - 1) % $4], $5 from unnest($1::uuid[]) with ordinality as p (id, n)`,
    [places, stacks, environments, ENVIRONMENTS, DEPLOYMENTS / places.length],
  );
  await client.query(
    `insert into deployments (id, organization_id, stack_id, stack_version_id, environment_id, stack_environment_id, number, status,
                              progress, created_by_id, created_at, started_at, live_at, finished_at)
     select d.id, $2, p.stack_id, v.id, p.environment_id, p.id, 1 + (n - 1) / $4, 'STOPPED', 1, ($3::uuid[])[1 + n % $5],
            at, at, at, at + interval '1 hour'
     from unnest($1::uuid[]) with ordinality as d (id, n)
     cross join lateral (select now() - interval '1 day' + n * interval '1 second' as at) as moment
     join stack_environments p on p.id = ($6::uuid[])[1 + (n * 7919) % $4]
     join stack_versions v on v.stack_id = p.stack_id`,
    [ids(DEPLOYMENTS), organizationId, users, places.length, USERS, places],
  );
  await client.query('commit');
  await client.query('analyze');
  await client.end();
}

function ids(count: number): string[] {
  return Array.from({ length: count }, () => newId());
}
