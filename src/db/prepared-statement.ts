import type { QueryArrayConfig } from 'pg';
import type { Prisma } from './client.ts';

/** Statements that each connection keeps parsed and planned. What is asked for more rarely is sent anew each time. */
const MAX_PREPARED = 100;
const names = new Map<string, string>();

/** A statement for the plain driver, its rows as arrays: planned once a connection, as long as there are not too many. */
export function preparedStatement({ text, values }: Prisma.Sql): QueryArrayConfig {
  let name = names.get(text);
  if (name === undefined && names.size < MAX_PREPARED) {
    name = `windflow_${names.size + 1}`;
    names.set(text, name);
  }
  return { text, values: [...values], rowMode: 'array', ...(name && { name }) };
}
