import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type PoolConfig } from 'pg';
import type { TestProject } from 'vitest/node';
import { startEmbeddedServer } from '../../src/db/embedded-server.ts';
import { migrate } from '../../src/db/migrations.ts';
import { migrateEngine } from '../../src/engine/durable.ts';
import { createLogger, type Logger } from '../../src/shared/logger.ts';

export const TEMPLATE_DATABASE = 'windflow_template';

declare module 'vitest' {
  interface ProvidedContext {
    databaseServer: PoolConfig;
  }
}

type Shared = { users: number; server: Promise<{ connection: PoolConfig; stop: () => Promise<void> }> };
const SHARED = Symbol.for('windflow.test-database-server');
const shared = globalThis as { [SHARED]?: Shared };

/**
 * One PostgreSQL for a whole run, whichever projects it is of, and in it a migrated template that every test file clones:
 * the embedded one, or the one that WINDFLOW_TEST_DATABASE_URL names (as a role that may create databases).
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Each project loads this module anew, in one process.
  shared[SHARED] ??= { users: 0, server: start() };
  const ours = shared[SHARED];
  ours.users++;
  const { connection, stop } = await ours.server;
  project.provide('databaseServer', connection);
  return async () => {
    if (--ours.users > 0) return;
    shared[SHARED] = undefined;
    await stop();
  };
}

async function start(): Promise<{ connection: PoolConfig; stop: () => Promise<void> }> {
  const log = createLogger('warn');
  const url = process.env.WINDFLOW_TEST_DATABASE_URL;
  const folder = await mkdtemp(join(tmpdir(), 'wf-db-'));
  // PostgreSQL's user passes through: otherwise the cluster would lie where nobody cleans up.
  await chmod(folder, 0o711);
  // Tests crash servers, never the machine.
  const settings = ['fsync=off', 'full_page_writes=off', 'max_connections=400'];
  const server = url ? null : await startEmbeddedServer({ dataDirectory: folder, log, settings });
  const connection: PoolConfig = server?.connection ?? serverOf(url!);

  const stop = async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await makeTemplate(connection, log);
  } catch (error) {
    await stop();
    throw error;
  }
  return { connection, stop };
}

async function makeTemplate(connection: PoolConfig, log: Logger): Promise<void> {
  const client = new Client({ ...connection, database: 'postgres' });
  await client.connect();
  await client.query(`drop database if exists ${TEMPLATE_DATABASE} with (force)`);
  await client.query(`create database ${TEMPLATE_DATABASE}`);
  await client.end();
  const template = { ...connection, database: TEMPLATE_DATABASE };
  await migrate(template, log, () => migrateEngine(template, log));
}

function serverOf(url: string): PoolConfig {
  const { hostname, port, username, password, searchParams } = new URL(url);
  return {
    host: searchParams.get('host') ?? hostname,
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
  };
}
