import { PrismaPg } from '@prisma/adapter-pg';
import { Pool, type PoolConfig } from 'pg';
import type { Logger } from '../shared/logger.ts';
import { PrismaClient } from './generated/prisma/client.ts';
import { type Announce, announcingClient } from './wake-ups.ts';

export { Prisma, PrismaClient } from './generated/prisma/client.ts';

/** Inside `prisma.$transaction(async (tx) => …)`. */
export type Transaction = Omit<PrismaClient, '$connect' | '$disconnect' | '$on' | '$use' | '$extends' | '$transaction'>;

export const PRISMA_POOL_SIZE = 16;
export const SQL_POOL_SIZE = 12;
const CONNECT_TIMEOUT_MS = 5_000;
const TRANSACTION_TIMEOUT_MS = 15_000;

export type Database = { prisma: PrismaClient; pool: Pool; connection: PoolConfig; close(): Promise<void> };

/**
 * Two pools on one database: Prisma's for the domain, a plain one for the log and whatever else writes by the batch. `announce`: what
 * carries wake-ups after the commit; absent: PostgreSQL itself.
 */
export function connectDatabase(connection: PoolConfig, log: Logger, announce: Announce | null = null): Database {
  const limits = {
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    ...(announce && { Client: announcingClient(announce) }),
  };
  // `pipeline`: statements that do not wait for each other's results go out together.
  const batches = { max: SQL_POOL_SIZE, pipeline: true, application_name: 'windflow-sql' };
  const pool = new Pool({ ...connection, ...limits, ...batches });
  // Without a listener a connection that the database ends would end this process.
  pool.on('error', (error) => log.warn({ err: error }, 'an idle database connection was lost'));
  // One that is lost in the moment between its making and its first use has nobody else to tell it to.
  pool.on('connect', (client) => client.on('error', () => undefined));
  const prismaPool = { ...connection, ...limits, max: PRISMA_POOL_SIZE, application_name: 'windflow' };
  const adapter = new PrismaPg(prismaPool, {
    onPoolError: (error) => log.warn({ err: error }, 'an idle database connection was lost'),
  });
  const prisma = new PrismaClient({
    adapter,
    transactionOptions: { maxWait: CONNECT_TIMEOUT_MS, timeout: TRANSACTION_TIMEOUT_MS },
  });
  return {
    prisma,
    pool,
    connection,
    async close() {
      await Promise.allSettled([prisma.$disconnect(), pool.end()]);
    },
  };
}
