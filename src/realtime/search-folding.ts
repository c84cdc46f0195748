import type { SqlExecutor } from './sql.ts';

const ICU_COLLATION = 'und-x-icu';

/** How the case of text is folded that a search compares. */
export type Folding = {
  /** Null: the database's own, where PostgreSQL was built without ICU. */
  collation: string | null;
  /** Of another version, what is folded may differ. */
  version: string;
};

export async function readFolding(database: SqlExecutor): Promise<Folding> {
  const { rows } = await database.query<{ version: string | null }>(
    'select pg_collation_actual_version(oid) as version from pg_collation where collname = $1',
    [ICU_COLLATION],
  );
  if (!rows[0]) return { collation: null, version: 'default' };
  return { collation: ICU_COLLATION, version: `${ICU_COLLATION} ${rows[0].version ?? ''}` };
}

/** All messages of an aggregate, folded: those in ASCII at a tenth of what ICU takes. */
export function foldedMessagesSql(folding: Folding): string {
  const messages = (condition: string) => `string_agg(message, E'\\n') filter (where ${condition})`;
  const ascii = `lower(${messages('octet_length(message) = length(message)')} collate "C")`;
  return `concat_ws(E'\\n', ${ascii} collate "C", ${foldSql(messages('octet_length(message) <> length(message)'), folding)})`;
}

/**
 * Folds an SQL expression so that whatever text a search finds, folded, holds the search, folded. More alike than a search itself
 * takes it: the database's own collation, which searches in ASCII are under, may fold these letters to others than ICU does.
 */
export function foldSql(expression: string, { collation }: Folding): string {
  const lower = `lower(${expression}${collation ? ` collate "${collation}"` : ''})`;
  return `replace(replace(replace(${lower}, 'ς', 'σ'), 'ı', 'i'), '\u0307', '') collate "C"`;
}
