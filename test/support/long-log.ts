import type { Pool } from 'pg';
import { LOG_LEVELS, LOG_STREAMS, type LogLevel, type LogStream } from '../../src/realtime/log-line.ts';
import { newId } from '../../src/shared/ids.ts';

export type StoredLine = {
  sequence: number;
  occurredAt: Date;
  service: string | null;
  stream: LogStream;
  level: LogLevel;
  message: string;
  dropped: number;
};

/** A log of its own with the line that `at` makes of each sequence from 1 on, received now; faster than ingest for tens of thousands. */
export async function storeLog(
  pool: Pool,
  count: number,
  at: (sequence: number) => Omit<StoredLine, 'sequence'>,
): Promise<{ deploymentId: string; lines: StoredLine[] }> {
  const deploymentId = newId();
  const lines = Array.from({ length: count }, (_, index) => ({ ...at(index + 1), sequence: index + 1 }));
  const rows = lines.map((line) => ({
    ...line,
    stream: LOG_STREAMS.indexOf(line.stream),
    level: LOG_LEVELS.indexOf(line.level),
  }));
  await pool.query(
    `insert into log_lines (deployment_id, sequence, occurred_at, service, stream, level, message, dropped)
     select $1, sequence, "occurredAt", service, stream, level, message, dropped from json_to_recordset($2::json) as line (
       sequence bigint, "occurredAt" timestamptz, service text, stream smallint, level smallint, message text, dropped bigint)`,
    [deploymentId, JSON.stringify(rows)],
  );
  await pool.query('insert into log_heads (deployment_id, last_sequence) values ($1, $2)', [deploymentId, count]);
  return { deploymentId, lines };
}
