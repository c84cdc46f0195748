import { randomBytes } from 'node:crypto';
import { Client, type PoolConfig } from 'pg';
import { inject } from 'vitest';
import { connectDatabase, type Database } from '../../src/db/client.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { TEMPLATE_DATABASE } from './database-server.ts';

/** A database of one's own, cloned from the migrated template; `await using` drops it. */
export type TestDatabase = Database & { connection: PoolConfig & { database: string } } & AsyncDisposable;

export async function createTestDatabase(): Promise<TestDatabase> {
  const server = inject('databaseServer');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await asAdministrator(server, `create database ${name} template ${TEMPLATE_DATABASE}`);
  const connection = { ...server, database: name };
  const database = connectDatabase(connection, createLogger('fatal'));
  return {
    ...database,
    connection,
    async [Symbol.asyncDispose]() {
      await database.close();
      await asAdministrator(server, `drop database if exists ${name} with (force)`);
    },
  };
}

async function asAdministrator(server: PoolConfig, sql: string): Promise<void> {
  const client = new Client({ ...server, database: 'postgres' });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
