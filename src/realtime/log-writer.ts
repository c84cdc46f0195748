import { LOG_LEVELS, LOG_STREAMS, type LogLevel, type NewLogLine, storablePieces } from './log-line.ts';
import type { SqlExecutor } from './sql.ts';

/** The topic that wakes whoever follows a deployment's log. */
export const logTopic = (deploymentId: string): string => `log:${deploymentId}`;

const APPEND = `
with head as (
  insert into log_heads as h (deployment_id, last_sequence) values ($1::uuid, $2::bigint)
  on conflict (deployment_id) do update set last_sequence = h.last_sequence + excluded.last_sequence
  returning last_sequence - $2::bigint as base
)
insert into log_lines (deployment_id, sequence, received_at, occurred_at, instance_id, service, replica, stream, level,
                       message, is_partial, dropped)
select $1::uuid, head.base + line.ordinal, clock_timestamp(), to_timestamp(t / 1000),
       ($3::uuid[])[o], ($4::text[])[o], ($5::int[])[o], ($6::smallint[])[o], l, m, p, d
from head cross join unnest($7::int[], $8::float8[], $9::smallint[], $10::text[], $11::boolean[], $12::bigint[])
     with ordinality as line(o, t, l, m, p, d, ordinal)`;

/**
 * Appends lines in the caller's transaction, with the next sequences of the deployment; its head stays locked until the
 * commit. Wakes nobody: the caller announces `logTopic` once a transaction.
 */
export async function appendLines(
  executor: SqlExecutor,
  deploymentId: string,
  lines: readonly NewLogLine[],
): Promise<void> {
  if (lines.length === 0) return;
  const { origins, originOf } = distinctOrigins(lines);
  await executor.query(APPEND, [
    deploymentId,
    lines.length,
    origins.map((line) => line.instanceId),
    origins.map((line) => line.service),
    origins.map((line) => line.replica),
    origins.map((line) => LOG_STREAMS.indexOf(line.stream)),
    arrayLiteral(originOf),
    arrayLiteral(lines.map((line) => line.occurredAt)),
    arrayLiteral(lines.map((line) => LOG_LEVELS.indexOf(line.level))),
    arrayLiteral(lines.map((line) => quoted(line.message))),
    arrayLiteral(lines.map((line) => line.isPartial)),
    arrayLiteral(lines.map((line) => line.dropped)),
  ]);
}

/** As PostgreSQL reads an array: in one piece, where `pg` would make several strings of each element. */
function arrayLiteral(elements: readonly (string | number | boolean)[]): string {
  return `{${elements.join(',')}}`;
}

function quoted(text: string): string {
  return `"${/["\\]/.test(text) ? text.replace(/["\\]/g, '\\$&') : text}"`;
}

/** A line of each origin, and which of them, counted from 1, each line has: what many lines share is sent once. */
function distinctOrigins(lines: readonly NewLogLine[]): { origins: NewLogLine[]; originOf: number[] } {
  const known = new Map<string, number>();
  const origins: NewLogLine[] = [];
  let last: NewLogLine | null = null;
  let index = 0;
  const originOf = lines.map((line) => {
    const { instanceId, service, replica, stream } = line;
    const isSame =
      last?.instanceId === instanceId && last.service === service && last.replica === replica && last.stream === stream;
    last = line;
    if (isSame) return index;
    const key = JSON.stringify([instanceId, service, replica, stream]);
    index = known.get(key) ?? origins.push(line);
    known.set(key, index);
    return index;
  });
  return { origins, originOf };
}

/** Appends what the control plane itself has to say, as `appendLines` does. `message` holds no secrets. */
export async function systemLine(
  executor: SqlExecutor,
  deploymentId: string,
  message: string,
  level: LogLevel,
  of: { service?: string; replica?: number; occurredAt?: Date } = {},
): Promise<void> {
  const pieces = storablePieces(message);
  const lines = pieces.map((piece, index) => ({
    occurredAt: (of.occurredAt ?? new Date()).getTime(),
    instanceId: null,
    service: of.service ?? null,
    replica: of.replica ?? null,
    stream: 'SYSTEM' as const,
    level,
    message: piece,
    isPartial: index < pieces.length - 1,
    dropped: 0,
  }));
  await appendLines(executor, deploymentId, lines);
}
