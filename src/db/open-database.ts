import type { PoolConfig } from 'pg';
import type { Logger } from '../shared/logger.ts';
import { lockFolder } from '../shared/process-lock.ts';
import { startEmbeddedServer } from './embedded-server.ts';

/** A PostgreSQL that answers: the operator's own, or the embedded one, which stops with us. */
export type OpenDatabase = AsyncDisposable & { connection: PoolConfig };

/** The data directory is in use; the message says what to do. */
export class DataDirectoryInUseError extends Error {
  override name = 'DataDirectoryInUseError';
}

export async function openDatabase(
  { databaseUrl, dataDirectory }: { databaseUrl: string | null; dataDirectory: string },
  log: Logger,
): Promise<OpenDatabase> {
  if (databaseUrl)
    return { connection: { connectionString: databaseUrl }, [Symbol.asyncDispose]: async () => undefined };
  await using started = new AsyncDisposableStack();
  const lock = await lockFolder(dataDirectory, 'data');
  if (!lock) {
    throw new DataDirectoryInUseError(
      `another WindFlow server already uses the data directory ${dataDirectory}: stop it, or give this one its own ` +
        '(WINDFLOW_DATA_DIR), or let both use one PostgreSQL (DATABASE_URL)',
    );
  }
  started.defer(() => lock.release());
  const server = await startEmbeddedServer({ dataDirectory, log });
  started.defer(() => server.stop());
  const stack = started.move();
  return { connection: server.connection, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
