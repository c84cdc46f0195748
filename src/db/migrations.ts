import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, type PoolConfig } from 'pg';
import type { Logger } from '../shared/logger.ts';

export type Migration = { name: string; sql: string };

/** One lock for our migrations and those of the durable engine; any number, the same in every release. */
const MIGRATION_LOCK = 7_305_891_642;
const OLDEST_VERSION = 150_000;
const FOLDER = new URL('../../prisma/', import.meta.url).pathname;

export class MigrationError extends Error {
  override name = 'MigrationError';
}

export async function readDatamodel(): Promise<string> {
  return readFile(join(FOLDER, 'schema.prisma'), 'utf8');
}

export async function readMigrations(): Promise<Migration[]> {
  const entries = await readdir(join(FOLDER, 'migrations'), { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names
      .sort()
      .map(async (name) => ({ name, sql: await readFile(join(FOLDER, 'migrations', name, 'migration.sql'), 'utf8') })),
  );
}

/** Brings the database up to date; one server at a time. `also` runs under the same lock, after our own migrations. */
export async function migrate(connection: PoolConfig, log: Logger, also?: () => Promise<void>): Promise<void> {
  const client = new Client(connection);
  client.on('error', (error) => log.warn({ err: error }, 'the migration connection was lost'));
  await client.connect();
  try {
    const { rows } = await client.query<{ version: number }>(
      `select current_setting('server_version_num')::int as version`,
    );
    if (rows[0]!.version < OLDEST_VERSION)
      throw new MigrationError('PostgreSQL 15 or newer is needed: DATABASE_URL names an older one');
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const migrations = await readMigrations();
    const pending = await pendingMigrations(client, migrations);
    if (pending.length > 0) {
      const { applyMigrations } = await import('./schema-engine.ts');
      const applied = await applyMigrations(connection, await readDatamodel(), migrations);
      log.info({ applied }, 'database migrated');
    }
    await also?.();
  } finally {
    await client.end();
  }
}

async function pendingMigrations(client: Client, migrations: Migration[]): Promise<Migration[]> {
  const exists = await client.query(`select to_regclass('_prisma_migrations') is not null as yes`);
  if (!exists.rows[0].yes) return migrations;
  type Row = { migration_name: string; checksum: string; finished_at: Date | null };
  const { rows } = await client.query<Row>(
    'select migration_name, checksum, finished_at from _prisma_migrations where rolled_back_at is null',
  );
  const recorded = new Map(rows.map((row) => [row.migration_name, row]));
  for (const { name, sql } of migrations) {
    const row = recorded.get(name);
    if (row && !row.finished_at)
      throw new MigrationError(`migration ${name} was begun and not finished: restore a backup, or mend it by hand`);
    if (row && row.checksum !== createHash('sha256').update(sql).digest('hex'))
      throw new MigrationError(
        `migration ${name} was applied with another text than this release has: it must not be edited`,
      );
  }
  return migrations.filter(({ name }) => !recorded.has(name));
}
