import { filterSql, type LogFilter } from './log-filter.ts';
import { LOG_LEVELS, LOG_STREAMS, type LogLine } from './log-line.ts';
import { pageSql } from './log-page-sql.ts';
import { nextStretch, type Stretch, type StretchQuery } from './log-stretch.ts';
import { type Folding, readFolding } from './search-folding.ts';
import type { SqlExecutor } from './sql.ts';

export { appendLines, logTopic, systemLine } from './log-writer.ts';

/** How many lines one statement looks at to find those that a filter wants. */
export const SCAN_WINDOW = 20_000;
/** How many lines one `read` looks at before it returns with what it has. */
export const SCAN_LIMIT = 400_000;
/** What a line takes in JSON beside its message: names, cursor, time. */
const LINE_OVERHEAD_BYTES = 400;

/** Sequences of the oldest retained and the newest line; `last` is `first - 1` where there is none. */
export type LogHead = { first: number; last: number };

export type LogQuery = {
  deploymentId: string;
  /** Forward (the default): the oldest lines first found; backward: the newest. */
  direction?: 'forward' | 'backward';
  /** Only lines after this sequence, and before that one. */
  after?: number;
  before?: number;
  limit: number;
  /** Of JSON, roughly; one longer line comes alone. */
  maxBytes?: number;
  filter?: LogFilter | null;
  /** How many lines to look at, at most (rounded up to SCAN_WINDOW); those that blocks leave out do not count. */
  scanLimit?: number;
};

export type LogPage = {
  /** In the order of their sequences, whatever the direction. */
  lines: LogLine[];
  head: LogHead;
  /** Every matching line up to this sequence (backward: from it on) is in the page or was before it. */
  through: number;
  /** Nothing that matches is left beyond `through`, as of now. */
  complete: boolean;
  /** How many lines a bound took from what was looked at. */
  dropped: number;
  /** How many lines after `after` retention has taken. */
  pruned: number;
};

type Row = {
  first: string;
  last: string;
  fetched: number | null;
  sequence: string;
  /** Milliseconds since the epoch: cheaper to parse than a date. */
  occurred_at: number;
  service: string | null;
  replica: number | null;
  stream: number;
  level: number;
  message: string;
  is_partial: boolean;
  dropped: string;
  matches: boolean;
};

/**
 * Reads logs page by page; every window is one statement, and so one snapshot of the log and its head. Behind the first window the
 * blocks of a long log tell which lines need not be looked at.
 */
export class LogStore {
  readonly #database: SqlExecutor;
  #folding: Promise<Folding> | null = null;

  constructor(database: SqlExecutor) {
    this.#database = database;
  }

  async head(deploymentId: string): Promise<LogHead> {
    const { rows } = await this.#database.query<{ first: string; last: string }>(
      'select first_sequence as first, last_sequence as last from log_heads where deployment_id = $1',
      [deploymentId],
    );
    return headOf(rows[0]);
  }

  /** A page of matching lines, after at most `scanLimit` lines looked at: it may hold fewer than there are, even none. */
  async read(query: LogQuery): Promise<LogPage> {
    const backward = query.direction === 'backward';
    const merged = await this.#readWindow(query);
    let scanned = SCAN_WINDOW;
    for (let page = merged; ; scanned += SCAN_WINDOW) {
      const left = query.limit - merged.lines.length;
      if (page.complete || page.isFull || left <= 0 || scanned >= (query.scanLimit ?? SCAN_LIMIT)) return merged;
      const rest = backward ? { before: page.through } : { after: page.through };
      const maxBytes = query.maxBytes === undefined ? undefined : query.maxBytes - jsonBytes(merged.lines);
      if (maxBytes !== undefined && maxBytes <= 0) return merged;
      const from = backward ? page.through - 1 : page.through + 1;
      const stretch = await this.#nextStretch({ ...query, from, backward });
      page = await this.#readWindow({ ...query, ...rest, limit: left, maxBytes }, stretch);
      merged.lines = backward ? [...page.lines, ...merged.lines] : [...merged.lines, ...page.lines];
      merged.dropped += page.dropped;
      ({ head: merged.head, through: merged.through, complete: merged.complete } = page);
    }
  }

  /** The sequence before the last `count` matching lines: read after it to get them. */
  async positionOfLast(
    deploymentId: string,
    count: number,
    filter: LogFilter | null,
    signal?: AbortSignal,
  ): Promise<number> {
    const { first, last } = await this.head(deploymentId);
    const { matches } = filterSql(filter ?? {}, [], null);
    if (matches === null || count === 0) return Math.max(first - 1, last - count);
    let found = 0;
    let end = last;
    let stretch: Stretch | null = null;
    while (end >= first && !signal?.aborted) {
      const { ranges, end: start } = stretch ?? windowBefore(end, first);
      const values: unknown[] = [
        deploymentId,
        ranges.map(({ low }) => Math.max(low, first)),
        ranges.map(({ high }) => high),
        count - found,
      ];
      const sql = filterSql(filter ?? {}, values, await this.#foldingOf(filter));
      const { rows } = await this.#database.query<{ found: number; lowest: string | null }>(
        `select count(*)::int as found, min(sequence) as lowest from (
           select sequence from unnest($2::bigint[], $3::bigint[]) as range(low, high) cross join lateral (
             select sequence from log_lines
             where deployment_id = $1 and sequence between low and high and ${sql.matches}
             order by sequence desc limit $4) as line
           order by sequence desc limit $4) as newest`,
        values,
      );
      found += rows[0]!.found;
      if (found >= count) return Number(rows[0]!.lowest) - 1;
      end = start - 1;
      stretch = await this.#nextStretch({ deploymentId, filter, from: end, backward: true });
    }
    return first - 1;
  }

  /** Looks at one window of lines, or at those of a stretch. */
  async #readWindow(query: LogQuery, stretch: Stretch | null = null): Promise<LogPage & { isFull: boolean }> {
    const backward = query.direction === 'backward';
    const after = query.after ?? 0;
    const before = query.before ?? Number.MAX_SAFE_INTEGER;
    const values: unknown[] = [
      query.deploymentId,
      after,
      before,
      query.limit,
      query.maxBytes ?? Number.MAX_SAFE_INTEGER,
    ];
    const ranges = stretch && {
      lows: `$${values.push(stretch.ranges.map(({ low }) => low))}`,
      highs: `$${values.push(stretch.ranges.map(({ high }) => high))}`,
    };
    const sql = filterSql(query.filter ?? {}, values, await this.#foldingOf(query.filter));
    // Without a filter the limit alone bounds what is looked at.
    const window = sql.matches === null ? Math.max(query.limit, SCAN_WINDOW) : SCAN_WINDOW;
    const { rows } = await this.#database.query<Row>(pageSql(sql, backward, ranges ?? window), values);
    const head = headOf(rows[0]);
    const lowest = Math.max(after + 1, head.first);
    const highest = Math.min(before - 1, head.last);
    const found = rows.filter((row) => row.fetched !== null);
    const kept = found.slice(0, fitting(found, query.maxBytes));
    const isFull = kept.length > 0 && kept.length < found[0]!.fetched!;
    const isCut = isFull || (kept.length > 0 && kept.length === query.limit);
    const lookedAt = stretch?.end ?? (backward ? highest - window + 1 : lowest + window - 1);
    const windowEnd = backward ? Math.max(lowest, lookedAt) : Math.min(highest, lookedAt);
    const through = isCut ? Number(kept.at(-1)!.sequence) : windowEnd;
    const lines = kept.filter((row) => row.matches).map((row) => lineOf(query.deploymentId, row));
    return {
      lines: backward ? lines.reverse() : lines,
      head,
      through: backward ? Math.min(through, before) : Math.max(through, after),
      complete: backward ? through <= lowest : through >= highest,
      dropped: kept.reduce((sum, row) => sum + Number(row.dropped), 0),
      pruned: Math.max(0, Math.min(head.first - 1, before - 1) - after),
      isFull,
    };
  }

  async #nextStretch({ filter, ...query }: Omit<StretchQuery, 'filter'> & { filter?: LogFilter | null }) {
    if (!filter || filterSql(filter, [], null).matches === null) return null;
    return nextStretch(this.#database, { ...query, filter }, await this.#foldingOf(filter));
  }

  async #foldingOf(filter: LogFilter | null | undefined): Promise<Folding | null> {
    if (!filter?.search) return null;
    this.#folding ??= readFolding(this.#database).catch((error) => {
      this.#folding = null;
      throw error;
    });
    return this.#folding;
  }
}

function windowBefore(end: number, first: number): Stretch {
  const low = Math.max(first, end - SCAN_WINDOW + 1);
  return { ranges: [{ low, high: end }], end: low };
}

function headOf(row: { first: string; last: string } | undefined): LogHead {
  return row ? { first: Number(row.first), last: Number(row.last) } : { first: 1, last: 0 };
}

function lineOf(deploymentId: string, row: Row): LogLine {
  return {
    deploymentId,
    sequence: Number(row.sequence),
    timestamp: new Date(row.occurred_at),
    service: row.service,
    replica: row.replica,
    stream: LOG_STREAMS[row.stream]!,
    level: LOG_LEVELS[row.level]!,
    message: row.message,
    isPartial: row.is_partial,
    dropped: Number(row.dropped),
  };
}

/** How many of the first rows fit into so many bytes of JSON: at least one. */
function fitting(rows: readonly Row[], maxBytes = Number.POSITIVE_INFINITY): number {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    if (row.matches) bytes += jsonBytes([row]);
    if (bytes > maxBytes && index > 0) return index;
  }
  return rows.length;
}

/** Of JSON, roughly. */
export function jsonBytes(lines: readonly { message: string; service: string | null }[]): number {
  return lines.reduce(
    (sum, { message, service }) =>
      sum + LINE_OVERHEAD_BYTES + Buffer.byteLength(JSON.stringify(message)) + Buffer.byteLength(service ?? ''),
    0,
  );
}
