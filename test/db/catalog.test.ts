import { Client, type PoolConfig } from 'pg';
import { expect, inject, it } from 'vitest';
import { readDatamodel } from '../../src/db/migrations.ts';
import { datamodelSql } from '../../src/db/schema-engine.ts';
import { createTestDatabase } from '../support/database.ts';

// What lies outside the datamodel on purpose: tables that are written by the batch, and what Prisma cannot express.
const OUTSIDE_TABLES = [
  '_prisma_migrations',
  'log_lines',
  'log_lines_default',
  'log_heads',
  'log_blocks',
  'log_offsets',
  'instance_log_offsets',
  'events',
  'event_heads',
  'execution_output',
  'workflow_event_cursors',
  'workflow_webhook_requests',
];
const OUTSIDE_INDEXES = [
  'keys_one_fingerprint',
  'users_one_superadmin',
  'deployments_not_final',
  'instances_present',
  'executions_active',
  'executions_waiting',
  'executions_one_at_a_time',
  'executions_unfinished_children',
  'executions_finished',
  'execution_steps_waiting_for',
  'notification_deliveries_pending',
];

const CATALOG = `
  select 'column ' || table_name || '.' || column_name || ' ' || udt_name || coalesce('(' || datetime_precision || ')', '') || ' ' ||
         is_nullable || ' ' || coalesce(column_default, '-') as line
    from information_schema.columns where table_schema = 'public' and table_name <> all($1)
  union all
  select 'index ' || indexdef from pg_indexes where schemaname = 'public' and tablename <> all($1) and indexname <> all($2)
  union all
  select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(c.oid)
    from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = 'public' and contype in ('p', 'f', 'u') and t.relname <> all($1)
  union all
  select 'enum ' || typname || ' ' || string_agg(enumlabel, ',' order by enumsortorder)
    from pg_enum e join pg_type t on t.oid = e.enumtypid group by typname
  order by 1`;

async function catalogOf(connection: PoolConfig): Promise<string[]> {
  const client = new Client(connection);
  await client.connect();
  const { rows } = await client.query<{ line: string }>(CATALOG, [OUTSIDE_TABLES, OUTSIDE_INDEXES]);
  await client.end();
  return rows.map((row) => row.line);
}

it('should migrate to exactly what the datamodel says', async () => {
  await using migrated = await createTestDatabase();
  const administrator = new Client({ ...inject('databaseServer'), database: 'postgres' });
  await administrator.connect();
  const name = `${migrated.connection.database}_model`;
  await administrator.query(`create database ${name}`);
  const modelled = { ...migrated.connection, database: name };
  const client = new Client(modelled);
  try {
    await client.connect();
    await client.query(await datamodelSql(modelled, await readDatamodel()));
    const lines = await catalogOf(modelled);
    expect(lines.length).toBeGreaterThan(100);
    expect(await catalogOf(migrated.connection)).toEqual(lines);
  } finally {
    await client.end();
    await administrator.query(`drop database ${name} with (force)`);
    await administrator.end();
  }
});
