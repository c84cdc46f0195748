import { Client } from 'pg';

/** What looks around now and then by itself, whatever is asked for: its heartbeats are not part of anybody's work. */
const BY_THEMSELVES = ['windflow-bus'];

/** How many SQL statements this process sends while the work is done. */
export async function countStatements(work: () => Promise<unknown>): Promise<number> {
  const { query } = Client.prototype;
  let count = 0;
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg.
  const overloaded = query as any;
  // biome-ignore lint/suspicious/noExplicitAny: the overloads of pg.
  Client.prototype.query = function (this: any, ...args: any[]) {
    if (!BY_THEMSELVES.includes(this.connectionParameters.application_name)) count++;
    return overloaded.apply(this, args);
  } as typeof query;
  try {
    await work();
  } finally {
    Client.prototype.query = query;
  }
  return count;
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
