import { Client } from 'pg';

/** What looks around now and then by itself, whatever is asked for: its heartbeats are not part of anybody's work. */
const BY_THEMSELVES = ['windflow-bus'];

export type Statement = { name?: string; text: string; values?: unknown[] };

/** How many SQL statements this process sends while the work is done. */
export async function countStatements(work: () => Promise<unknown>): Promise<number> {
  return (await recordStatements(work)).length;
}

/** The SQL statements that this process sends while the work is done, which may look at those that there are so far. */
export async function recordStatements(work: (soFar: readonly Statement[]) => Promise<unknown>): Promise<Statement[]> {
  const { query } = Client.prototype;
  const statements: Statement[] = [];
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg.
  const overloaded = query as any;
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg.
  Client.prototype.query = function (this: any, ...args: any[]) {
    if (!BY_THEMSELVES.includes(this.connectionParameters.application_name))
      statements.push(typeof args[0] === 'string' ? { text: args[0], values: args[1] } : args[0]);
    return overloaded.apply(this, args);
  } as typeof query;
  try {
    await work(statements);
  } finally {
    Client.prototype.query = query;
  }
  return statements;
}

/** How often a piece of work is done for the least of its costs. */
const RUNS_COUNTED = 5;

/**
 * How many SQL statements a piece of work needs, once whatever it finds in memory is there. The server looks around now
 * and then meanwhile (whether a session lives, who holds a lease): the least of some runs is the work's own.
 */
export async function leastOf(count: () => Promise<number>): Promise<number> {
  await count();
  const counts: number[] = [];
  while (counts.length < RUNS_COUNTED) counts.push(await count());
  return Math.min(...counts);
}
