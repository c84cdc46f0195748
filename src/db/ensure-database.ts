import { Client, type PoolConfig } from 'pg';

/** Makes the database that `connection` names, where it is missing. */
export async function ensureDatabase(connection: PoolConfig & { database: string }): Promise<void> {
  const client = new Client({ ...connection, database: 'postgres' });
  await client.connect();
  try {
    const found = await client.query('select 1 from pg_database where datname = $1', [connection.database]);
    if (found.rowCount === 0) await client.query(`create database "${connection.database.replaceAll('"', '""')}"`);
  } finally {
    await client.end();
  }
}
