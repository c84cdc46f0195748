import type { Pool } from 'pg';
import { NotFoundError } from '../shared/errors.ts';

const TABLES = { organization: 'organizations', environment: 'environments' } as const;

/** For who follows something on behalf of many, whose rights are looked after elsewhere. Throws NotFoundError once it was deleted. */
export async function requireThere(pool: Pool, what: keyof typeof TABLES, id: string): Promise<void> {
  const { rowCount } = await pool.query(`select from ${TABLES[what]} where id = $1`, [id]);
  if (rowCount === 0) throw new NotFoundError(what);
}
