import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedServer } from '../src/db/embedded-server.ts';
import { createLogger } from '../src/shared/logger.ts';

/** A PostgreSQL that we and the peers share. */
export type BenchDatabase = AsyncDisposable & { url: string };

/** The empty database that DATABASE_URL names, or an embedded PostgreSQL in a folder of its own. */
export async function openBenchDatabase(): Promise<BenchDatabase> {
  const given = process.env.DATABASE_URL;
  if (given) return { url: given, [Symbol.asyncDispose]: async () => undefined };
  const folder = await mkdtemp(join(tmpdir(), 'wf-bench-db-'));
  // PostgreSQL's own user must pass through.
  await chmod(folder, 0o711);
  const server = await startEmbeddedServer({ dataDirectory: folder, log: createLogger('error') });
  const { user, password, database, host, port } = server.connection;
  const credentials = `${user}:${encodeURIComponent(String(password))}`;
  const query = new URLSearchParams({ host: String(host), ...(port && { port: String(port) }) });
  return {
    url: `postgresql://${credentials}@localhost/${database}?${query}`,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
