import type { QueryResult, QueryResultRow } from 'pg';

/** A `pg` client (inside a transaction) or pool. */
export type SqlExecutor = {
  query<R extends QueryResultRow = QueryResultRow>(text: string, values?: unknown[]): Promise<QueryResult<R>>;
};

/** Prisma's client, or its transaction. */
export type PrismaSqlExecutor = {
  $executeRawUnsafe(text: string, ...values: unknown[]): PromiseLike<number>;
};

/** Runs a statement whose rows nobody needs, through whichever of the two the transaction was opened with. */
export async function execute(
  executor: SqlExecutor | PrismaSqlExecutor,
  text: string,
  values: unknown[],
): Promise<void> {
  if (isPrisma(executor)) await executor.$executeRawUnsafe(text, ...values);
  else await executor.query(text, values);
}

/** By call, not by `in`: Prisma's transaction is a proxy. */
function isPrisma(executor: SqlExecutor | PrismaSqlExecutor): executor is PrismaSqlExecutor {
  return typeof (executor as Partial<PrismaSqlExecutor>).$executeRawUnsafe === 'function';
}

/** Commits what `work` does on that one connection, or undoes all of it. */
export async function inTransaction<T>(client: SqlExecutor, work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}
