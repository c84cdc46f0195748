import type { FilterSql } from './log-filter.ts';

/** Parameters that hold the first and last sequences of ranges, in order. */
export type RangeParameters = { lows: string; highs: string };

/**
 * The first matching lines of a log, or the last ones, beside its head, of so many lines or of the given ranges. $1 deployment, $2 after,
 * $3 before, $4 limit, $5 bytes; the filter's parameters follow.
 */
export function pageSql(filter: FilterSql, backward: boolean, where: number | RangeParameters): string {
  const order = backward ? 'desc' : 'asc';
  return `
    select head.first_sequence as first, head.last_sequence as last, fetched, sequence,
           (extract(epoch from occurred_at) * 1000)::float8 as occurred_at,
           service, replica, stream, level, message, is_partial, dropped, matches
    from log_heads as head left join lateral (
      select * from (
        select *, (count(*) over ())::int as fetched,
               sum(octet_length(message)) over (order by sequence ${order}) - octet_length(message) as bytes_before
        from (${typeof where === 'number' ? windowSql(filter, order, where) : rangesSql(filter, order, where)}) as found
      ) as sized where bytes_before < $5
    ) as page on true
    where head.deployment_id = $1
    order by page.sequence ${order}`;
}

const LOWEST = 'greatest($2::bigint + 1, head.first_sequence)';
const HIGHEST = 'least($3::bigint - 1, head.last_sequence)';

function windowSql(filter: FilterSql, order: 'asc' | 'desc', window: number): string {
  return order === 'asc'
    ? linesSql(filter, order, LOWEST, `least(${HIGHEST}, ${LOWEST} + ${window - 1})`)
    : linesSql(filter, order, `greatest(${LOWEST}, ${HIGHEST} - ${window - 1})`, HIGHEST);
}

function rangesSql(filter: FilterSql, order: 'asc' | 'desc', { lows, highs }: RangeParameters): string {
  const lines = linesSql(filter, order, `greatest(${LOWEST}, range.low)`, `least(${HIGHEST}, range.high)`);
  return `
    select line.* from unnest(${lows}::bigint[], ${highs}::bigint[]) as range(low, high) cross join lateral (${lines}) as line
    order by sequence ${order} limit $4`;
}

function linesSql({ matches, concerns }: FilterSql, order: 'asc' | 'desc', from: string, to: string): string {
  const wanted = matches === null ? '' : `and ((${matches}) or (${concerns}))`;
  return `
    select sequence, occurred_at, service, replica, stream, level, message, is_partial, dropped, (${matches ?? 'true'}) as matches
    from log_lines
    where deployment_id = $1 and sequence between ${from} and ${to} ${wanted}
    order by sequence ${order} limit $4`;
}
