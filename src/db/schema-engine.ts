import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import type { SchemaEngine } from '@prisma/schema-engine-wasm';
import { Pool, type PoolConfig } from 'pg';
import { delay } from '../shared/clock.ts';
import type { Migration } from './migrations.ts';

/**
 * Prisma's schema engine as WebAssembly: it takes a second and much memory to load, so it is loaded only when there is
 * something to do. Nothing is downloaded.
 */
const DATAMODEL_PATH = 'schema.prisma';
const POOL_END_TIMEOUT_MS = 1_000;
const NO_FILTERS = { externalTables: [], externalEnums: [] };
const LOCKFILE = { path: 'migration_lock.toml', content: 'provider = "postgresql"\n' };

let former: Promise<unknown> = Promise.resolve();

/** The engine's bindings keep their memory in the module: one use at a time. */
function withEngine<T>(
  connection: PoolConfig,
  datamodel: string,
  use: (engine: SchemaEngine) => Promise<T>,
): Promise<T> {
  const next = former.then(() => runEngine(connection, datamodel, use));
  former = next.catch(() => undefined);
  return next;
}

async function runEngine<T>(
  connection: PoolConfig,
  datamodel: string,
  use: (engine: SchemaEngine) => Promise<T>,
): Promise<T> {
  const background = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  const file = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const bytes = await readFile(file.replace(/\.js$/, '.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, {
    './schema_engine_bg.js': withoutHoldingTimers(background),
  });
  background.__wbg_set_wasm(instance.exports);
  (instance.exports.__wbindgen_start as () => void)();
  // The engine never closes its connections: the pool is ours, so that we can.
  const pool = new Pool({ ...connection, max: 4, allowExitOnIdle: true });
  try {
    const factory = bindMigrationAwareSqlAdapterFactory(new PrismaPg(pool));
    return await use(
      await background.SchemaEngine.new({ datamodels: [[DATAMODEL_PATH, datamodel]] }, () => undefined, factory),
    );
  } finally {
    // Clients that the engine still holds would keep end() waiting.
    await Promise.race([pool.end(), delay(POOL_END_TIMEOUT_MS)]);
  }
}

/** The engine forgets a lock timer of 10 s: unreferenced, it does not keep the process from ending. */
function withoutHoldingTimers(imports: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(imports).map(([name, value]) =>
      name.startsWith('__wbg_setTimeout_')
        ? [name, (run: () => void, ms: number) => setTimeout(run, ms).unref()]
        : [name, value],
    ),
  );
}

function migrationsList(migrations: Migration[]) {
  return {
    baseDir: 'prisma/migrations',
    lockfile: LOCKFILE,
    shadowDbInitScript: '',
    migrationDirectories: migrations.map(({ name, sql }) => ({
      path: name,
      migrationFile: { path: 'migration.sql', content: { tag: 'ok' as const, value: sql } },
    })),
  };
}

/** Applies the pending ones and records them in `_prisma_migrations`; returns their names. */
export async function applyMigrations(
  connection: PoolConfig,
  datamodel: string,
  migrations: Migration[],
): Promise<string[]> {
  return withEngine(connection, datamodel, async (engine) => {
    const result = await engine.applyMigrations({ filters: NO_FILTERS, migrationsList: migrationsList(migrations) });
    return result.appliedMigrationNames;
  });
}

/** The SQL that leads from an empty database to the datamodel. */
export async function datamodelSql(connection: PoolConfig, datamodel: string): Promise<string> {
  return withEngine(connection, datamodel, async (engine) => {
    const result = await engine.diff({
      from: { tag: 'empty' },
      to: { tag: 'schemaDatamodel', files: [{ path: DATAMODEL_PATH, content: datamodel }] },
      script: true,
      exitCode: null,
      filters: NO_FILTERS,
    });
    return result.stdout ?? '';
  });
}
