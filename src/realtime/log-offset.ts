import { z } from 'zod';
import type { ResumePoint } from './line-assembly.ts';
import type { LogPlace } from './log-chunk.ts';
import type { SqlExecutor } from './sql.ts';

/** Whose log it is: a stack's in an environment, or one instance's of it where each has its own. */
export type LogOwner = { stackEnvironmentId: string; instanceId: string | null };

/** How far a log is stored. */
export type LogOffset = {
  /** Who wrote it, and its how manyth write of all: each batch is written once. */
  writer: string | null;
  batch: number;
  /** Everything before this position is stored, except what `pending` says. */
  head: number;
  /** Everything before this position is stored: up to where the runtime may forget. */
  floor: number;
  /** Where reading resumes: at the floor, or before it where the runtime's marks lie less close. */
  start: LogPlace;
  /** By `streamKey`: streams whose last bytes before `head` are not in a line yet. */
  pending: ReadonlyMap<string, ResumePoint>;
  /** By `streamKey`: streams whose line at `head` is being dropped, and counted already. */
  cut: ReadonlySet<string>;
};

export const NOTHING_STORED: LogOffset = {
  writer: null,
  batch: 0,
  head: 0,
  floor: 0,
  start: { position: 0, mark: null },
  pending: new Map(),
  cut: new Set(),
};

export const streamKey = (instanceId: string, stream: string): string => `${instanceId}/${stream}`;

const storedStreams = z.object({
  writer: z.string(),
  batch: z.int(),
  head: z.int(),
  start: z.object({ position: z.int(), mark: z.string().nullable() }).optional(),
  pending: z.record(z.string(), z.object({ position: z.int(), masked: z.int() })),
  cut: z.array(z.string()).default([]),
});

type OffsetTable = { table: 'log_offsets' | 'instance_log_offsets'; column: string; id: string };

const tableOf = ({ stackEnvironmentId, instanceId }: LogOwner): OffsetTable =>
  instanceId === null
    ? { table: 'log_offsets', column: 'stack_environment_id', id: stackEnvironmentId }
    : { table: 'instance_log_offsets', column: 'instance_id', id: instanceId };

/** What is stored of a log. */
export async function loadOffset(executor: SqlExecutor, owner: LogOwner): Promise<LogOffset> {
  const { table, column, id } = tableOf(owner);
  const { rows } = await executor.query<{ position: string; streams: unknown }>(
    `select position, streams from ${table} where ${column} = $1`,
    [id],
  );
  const row = rows[0];
  if (!row || Object.keys(row.streams as object).length === 0) return NOTHING_STORED;
  const { pending, cut, start, ...streams } = storedStreams.parse(row.streams);
  const floor = Number(row.position);
  return {
    ...streams,
    floor,
    start: start ?? { position: floor, mark: null },
    pending: new Map(Object.entries(pending)),
    cut: new Set(cut),
  };
}

/** Moves the offset in the caller's transaction. False: not the next batch, nothing was changed. */
export async function saveOffset(executor: SqlExecutor, owner: LogOwner, offset: LogOffset): Promise<boolean> {
  const { writer, batch, head, floor, start, pending, cut } = offset;
  const { table, column, id } = tableOf(owner);
  const streams = { writer, batch, head, pending: Object.fromEntries(pending), cut: [...cut] };
  const stored = JSON.stringify(start.mark === null ? streams : { ...streams, start });
  const { rowCount } = await executor.query(
    `insert into ${table} as stored (${column}, position, streams) values ($1, $2, $3)
     on conflict (${column}) do update set position = $2, streams = $3, updated_at = now()
     where coalesce((stored.streams->>'batch')::bigint, 0) = $4`,
    [id, floor, stored, batch - 1],
  );
  return rowCount === 1;
}
