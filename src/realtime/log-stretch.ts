import { BLOCK_LINES } from './log-blocks.ts';
import { blockSql, type LogFilter } from './log-filter.ts';
import type { Folding } from './search-folding.ts';
import type { SqlExecutor } from './sql.ts';

/** How many blocks one statement looks at, and how much text of them, one block with more aside. */
const STRETCH_BLOCKS = 256;
const STRETCH_BYTES = 32 * 1024 * 1024;
/** How many of them it leaves to be read: as many lines as one statement looks at. */
const WANTED_BLOCKS = 20;

/** Sequences, both included. */
export type Range = { low: number; high: number };

/** The lines up to `end` (backward: from it on) of which only those in the ranges can match. */
export type Stretch = { ranges: Range[]; end: number };

export type StretchQuery = {
  deploymentId: string;
  filter: LogFilter;
  /** Looks from here on, in this direction. */
  from: number;
  backward: boolean;
};

type Row = { low: string | null; high: string | null; blocks: number; wanted: string[] };

/** What the blocks of a log say about where to look for the lines that a filter wants; null: there are none from here on. */
export async function nextStretch(
  database: SqlExecutor,
  { deploymentId, filter, from, backward }: StretchQuery,
  folding: Folding | null,
): Promise<Stretch | null> {
  const first = Math.floor((from - 1) / BLOCK_LINES);
  const values: unknown[] = [deploymentId, first];
  const { rows } = await database.query<Row>(stretchSql(blockSql(filter, values, folding), backward), values);
  const { low, high, blocks, wanted } = rows[0]!;
  if (low === null || high === null) return null;
  // Only what lies without a hole from here on is known.
  if (Number(backward ? high : low) !== first || Number(high) - Number(low) + 1 !== blocks) return null;
  const numbers = wanted.map(Number);
  const last = wanted.length === WANTED_BLOCKS ? numbers.at(-1)! : Number(backward ? low : high);
  const ranges = rangesOf(numbers.sort((a, b) => a - b)).map((range) =>
    backward ? { ...range, high: Math.min(range.high, from) } : { ...range, low: Math.max(range.low, from) },
  );
  return { ranges, end: backward ? last * BLOCK_LINES + 1 : (last + 1) * BLOCK_LINES };
}

/** $1 deployment, $2 the block to begin with; the filter's parameters follow. */
function stretchSql(wanted: string, backward: boolean): string {
  const order = backward ? 'desc' : 'asc';
  const range = backward
    ? `$2::bigint - ${STRETCH_BLOCKS - 1} and $2::bigint`
    : `$2::bigint and $2::bigint + ${STRETCH_BLOCKS - 1}`;
  return `
    select low, high, blocks, array(
      select number from log_blocks
      where deployment_id = $1 and number between low and high and (${wanted})
      order by number ${order} limit ${WANTED_BLOCKS}
    ) as wanted
    from (
      select min(number) as low, max(number) as high, count(*)::int as blocks from (
        select number, sum(bytes) over (order by number ${order}) - bytes as bytes_before
        from log_blocks where deployment_id = $1 and number between ${range}
      ) as sized where bytes_before < ${STRETCH_BYTES}
    ) as known`;
}

/** Neighbouring blocks as one range. */
function rangesOf(numbers: readonly number[]): Range[] {
  const ranges: Range[] = [];
  for (const number of numbers) {
    const [low, high] = [number * BLOCK_LINES + 1, (number + 1) * BLOCK_LINES];
    const former = ranges.at(-1);
    if (former && former.high + 1 === low) former.high = high;
    else ranges.push({ low, high });
  }
  return ranges;
}
