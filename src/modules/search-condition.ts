import { Prisma } from '../db/client.ts';
import { searchPattern } from './input.ts';

/** The condition that one of these columns of the listed rows `x` contains a search; see `searchPattern`. */
export function containsSearch(search: string | null | undefined, columns: readonly ('name' | 'slug')[]): Prisma.Sql {
  const contained = searchPattern(search);
  if (contained === undefined) return Prisma.sql`true`;
  if (contained === null) return Prisma.sql`false`;
  const pattern = `%${contained}%`;
  const matches = columns.map((column) => Prisma.sql`x.${Prisma.raw(column)} ilike ${pattern}`);
  return Prisma.sql`(${Prisma.join(matches, ' or ')})`;
}
