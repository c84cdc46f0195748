import type { Pool } from 'pg';
import type { Bus } from '../../realtime/bus.ts';
import { decodeOutputCursor, encodeOutputCursor } from '../../realtime/cursor.ts';
import { Feed } from '../../realtime/feed.ts';
import { OUTAGE_PATIENCE_MS, retry } from '../../realtime/retry.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import { NotFoundError } from '../../shared/errors.ts';
import { accessTopic } from '../change.ts';
import { type Access, requireCaller } from '../organizations/access.ts';
import type { RightsWatch } from '../organizations/rights-watch.ts';
import type { Caller } from '../services.ts';
import { executionTopic } from './ledger.ts';
import { outputTopic } from './output-writer.ts';

/** What one batch holds at most. */
export const BATCH_CHUNKS = 500;
const BATCH_CHARACTERS = 128 * 1024;
/** Wake-ups may be lost: it is looked at again so often, at the latest. */
const LOOK_MS = 5 * SECOND_MS;

export type OutputChunk = { sequence: number; step: string | null; attempt: number; text: string };

export type OutputBatch = {
  /** In order; none in a batch that only marks the turn to live. */
  chunks: OutputChunk[];
  endCursor: string;
  /** False while what was stored before is replayed. */
  live: boolean;
  /** Where the batch before it ended, and where it ends. */
  after: number;
  through: number;
  /** Nothing further was stored when it was read. */
  isNewest: boolean;
};

export type OutputFeedDependencies = { pool: Pool; bus: Bus; access: Access; rights: RightsWatch };

/**
 * What an execution writes: from the start, or after a cursor, then live; ends when the execution has ended and all is told. Opening it
 * throws NotFoundError when it may not be followed, or not any more.
 */
export function outputFeed(
  deps: OutputFeedDependencies,
  caller: Caller | null,
  request: { executionId: string | null; after?: string | null },
  signal: AbortSignal,
): Feed<OutputBatch> {
  const { access, rights } = deps;
  const authorize = () => access.requireExecution(caller, request.executionId, 'execution:read');
  return new Feed(async () => {
    const { executionId, organizationId, role } = await authorize();
    const { userId } = requireCaller(caller);
    const after = request.after == null ? 0 : decodeOutputCursor(request.after, executionId);
    return {
      topic: JSON.stringify(['output', executionId, role]),
      own: () => followOutput(deps, executionId, { after, signal, rights: { topic: accessTopic(userId), authorize } }),
      live: (position, end) => followOutput(deps, executionId, { after: position, isLive: true, signal: end }),
      positionOf: ({ through }) => through,
      isLive: ({ live, isNewest }) => live && isNewest,
      rest: restOf,
      watchRights: (onChange) => rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

type Following = {
  after: number;
  isLive?: boolean;
  signal: AbortSignal;
  rights?: { topic: string; authorize: () => Promise<unknown> };
};

async function* followOutput(
  { pool, bus }: OutputFeedDependencies,
  executionId: string,
  { after, isLive = false, signal, rights }: Following,
): AsyncGenerator<OutputBatch, void> {
  const insist = <T>(work: () => Promise<T>) => retry(work, { signal, patienceMs: OUTAGE_PATIENCE_MS });
  const topics = [outputTopic(executionId), executionTopic(executionId)];
  using watch = bus.watch([...topics, ...(rights ? [rights.topic] : [])]);
  let live = isLive;
  let position: number | null = null;
  try {
    for (;;) {
      if (rights) await insist(rights.authorize);
      const page: Page = await insist(() => readOutput(pool, executionId, position ?? after));
      // A position beyond the end (of a database restored from a backup) must not hide what is to come.
      position ??= Math.min(after, page.last);
      const through: number = page.chunks.at(-1)?.sequence ?? position;
      const isNewest = through >= page.last;
      const batch = (chunks: OutputChunk[]): OutputBatch => ({
        ...{ chunks, live, isNewest, after: position!, through },
        endCursor: encodeOutputCursor(executionId, through),
      });
      if (page.chunks.length > 0) yield batch(page.chunks);
      position = through;
      if (!isNewest) continue;
      if (page.isOver) return;
      if (!live) {
        live = true;
        yield batch([]);
      }
      await watch.wait(LOOK_MS, signal);
      signal.throwIfAborted();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

type Page = { chunks: OutputChunk[]; last: number; isOver: boolean };
type Row = { last: string; isOver: boolean } & { [Field in keyof OutputChunk]: OutputChunk[Field] | null };

/** One statement, and so one snapshot: where an execution is over in it, nothing comes after its last chunk. */
async function readOutput(pool: Pool, executionId: string, after: number): Promise<Page> {
  const { rows } = await pool.query<Row>({
    name: 'read-execution-output',
    text: `select e.output_sequence as last, e.finished_at is not null as "isOver", o.sequence::float8 as sequence, o.step, o.attempt, o.text
           from executions e
           left join lateral (select * from execution_output x where x.execution_id = e.id and x.sequence > $2 order by x.sequence limit ${BATCH_CHUNKS}) o on true
           where e.id = $1 order by o.sequence`,
    values: [executionId, after],
  });
  if (!rows[0]) throw new NotFoundError('execution');
  const { last, isOver } = rows[0];
  const chunks: OutputChunk[] = [];
  let characters = 0;
  for (const { sequence, step, attempt, text } of rows) {
    if (sequence === null || (chunks.length > 0 && characters + text!.length > BATCH_CHARACTERS)) break;
    chunks.push({ sequence, step, attempt: attempt!, text: text! });
    characters += text!.length;
  }
  return { chunks, last: Number(last), isOver };
}

function restOf(batch: OutputBatch, position: number): OutputBatch | null {
  if (batch.through <= position) return null;
  const chunks = batch.chunks.filter(({ sequence }) => sequence > position);
  return chunks.length === batch.chunks.length ? batch : { ...batch, chunks, after: position };
}
