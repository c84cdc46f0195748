import { LOG_LEVELS, LOG_STREAMS, type LogLevel, type LogLine, type LogStream } from './log-line.ts';
import { type Folding, foldSql } from './search-folding.ts';

/** Which lines to read; what is absent or null does not narrow. Times are those of the lines themselves. */
export type LogFilter = {
  services?: readonly string[] | null;
  streams?: readonly LogStream[] | null;
  minLevel?: LogLevel | null;
  /** A literal substring, without regard to case. */
  search?: string | null;
  since?: Date | null;
  until?: Date | null;
};

export type FilterSql = {
  /** A boolean expression over `log_lines`; null: every line matches. */
  matches: string | null;
  /** The same for lines that only report lost ones: they count for whoever reads their service. */
  concerns: string;
};

/** The filter as SQL whose parameters are appended to `values`. `folding` is that of a search beyond ASCII. */
export function filterSql(filter: LogFilter, values: unknown[], folding: Folding | null): FilterSql {
  const parameter = (value: unknown) => `$${values.push(value)}`;
  const conditions: string[] = [];
  const { services, streams, minLevel, search, since, until } = filter;
  if (services) conditions.push(`service = any(${parameter(services)}::text[])`);
  const concerns = ['dropped > 0', ...conditions].join(' and ');
  if (streams) {
    conditions.push(`stream = any(${parameter(streams.map((stream) => LOG_STREAMS.indexOf(stream)))}::smallint[])`);
  }
  if (minLevel) conditions.push(`level >= ${parameter(LOG_LEVELS.indexOf(minLevel))}::smallint`);
  if (since) conditions.push(`occurred_at >= ${parameter(since)}::timestamptz`);
  if (until) conditions.push(`occurred_at <= ${parameter(until)}::timestamptz`);
  if (search) {
    const literal = literalOf(search).replace(/[\\%_]/g, '\\$&');
    const collate = folding?.collation && !isAscii(search) ? ` collate "${folding.collation}"` : '';
    conditions.push(`message${collate} ilike ${parameter(`%${literal}%`)}`);
  }
  return { matches: conditions.length > 0 ? conditions.join(' and ') : null, concerns };
}

/** What `filterSql` says of one line. */
export type LogSelector = {
  matches(line: LogLine): boolean;
  concerns(line: LogLine): boolean;
};

/** The filter for lines at hand; null where only the database can tell: how it folds characters beyond ASCII is its own business. */
export function selectorOf({ services, streams, minLevel, search, since, until }: LogFilter): LogSelector | null {
  if (search && (!isAscii(search) || search.includes('\0'))) return null;
  const lowestLevel = minLevel ? LOG_LEVELS.indexOf(minLevel) : 0;
  const from = since?.getTime() ?? Number.NEGATIVE_INFINITY;
  const to = until?.getTime() ?? Number.POSITIVE_INFINITY;
  const folded = search ? search.toLowerCase() : null;
  const isOfService = ({ service }: LogLine) => !services || (service !== null && services.includes(service));
  return {
    matches: (line) =>
      isOfService(line) &&
      (!streams || streams.includes(line.stream)) &&
      LOG_LEVELS.indexOf(line.level) >= lowestLevel &&
      line.timestamp.getTime() >= from &&
      line.timestamp.getTime() <= to &&
      (folded === null || line.message.toLowerCase().includes(folded)),
    concerns: (line) => line.dropped > 0 && isOfService(line),
  };
}

/** A condition over `log_blocks`: false only where no line of the block matches the filter or concerns its reader. */
export function blockSql(filter: LogFilter, values: unknown[], folding: Folding | null): string {
  const parameter = (value: unknown) => `$${values.push(value)}`;
  const conditions: string[] = [];
  const { services, streams, minLevel, search, since, until } = filter;
  if (services) conditions.push(`services && ${parameter(services)}::text[]`);
  const concerns = ['has_dropped', ...conditions].join(' and ');
  if (streams) {
    const mask = streams.reduce((bits, stream) => bits | (1 << LOG_STREAMS.indexOf(stream)), 0);
    conditions.push(`streams & ${parameter(mask)}::integer <> 0`);
  }
  if (minLevel) conditions.push(`max_level >= ${parameter(LOG_LEVELS.indexOf(minLevel))}::smallint`);
  if (since) conditions.push(`occurred_to >= ${parameter(since)}::timestamptz`);
  if (until) conditions.push(`occurred_from <= ${parameter(until)}::timestamptz`);
  if (search && folding) {
    const folded = foldSql(`${parameter(literalOf(search))}::text`, folding);
    conditions.push(`(folding <> ${parameter(folding.version)} or strpos(folded, ${folded}) > 0)`);
  }
  return `(${[...conditions, 'true'].join(' and ')}) or (${concerns})`;
}

/** No stored line holds a NUL, and PostgreSQL takes none. */
function literalOf(search: string): string {
  return search.replaceAll('\0', '\ufffd').toWellFormed();
}

function isAscii(text: string): boolean {
  return /^[\x00-\x7f]*$/.test(text);
}
