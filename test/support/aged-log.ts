import type { Pool } from 'pg';
import { appendLines } from '../../src/realtime/log-store.ts';

/** Appends lines to a log as if they had come at that time; absent: now. Messages are "line 1", "line 2" … */
export async function appendAged(pool: Pool, deploymentId: string, count: number, receivedAt?: Date): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const lines = Array.from({ length: count }, (_, index) => ({
      occurredAt: (receivedAt ?? new Date()).getTime(),
      instanceId: null,
      service: 'web',
      replica: 1,
      stream: 'STDOUT' as const,
      level: 'INFO' as const,
      message: `line ${index + 1}`,
      isPartial: false,
      dropped: 0,
    }));
    await appendLines(client, deploymentId, lines);
    if (receivedAt) {
      await client.query(
        `update log_lines set received_at = $3 from log_heads as head
         where head.deployment_id = $1 and log_lines.deployment_id = $1 and sequence > head.last_sequence - $2`,
        [deploymentId, count, receivedAt],
      );
    }
    await client.query('commit');
  } finally {
    client.release();
  }
}

/** The sequences that are stored of a log, in order. */
export async function storedSequences(pool: Pool, deploymentId: string): Promise<number[]> {
  const { rows } = await pool.query<{ sequence: number }>(
    'select sequence::int from log_lines where deployment_id = $1 order by 1',
    [deploymentId],
  );
  return rows.map(({ sequence }) => sequence);
}
