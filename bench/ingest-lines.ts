import type { Client } from 'pg';

/** Each line of the service: numbered, and about so long. */
export const LINE_BYTES = 100;
const PADDING = 'the quick brown fox jumps over the lazy dog; '.repeat(3);

export const lineAt = (index: number): string =>
  `${String(index).padStart(7, '0')} ${PADDING}`.slice(0, LINE_BYTES - 1);

/** Writes so many lines as fast as the pipe takes them, and then stays. */
export function writerStack(lines: number): string {
  const program = `const { writeSync } = require('node:fs');
const padding = ${JSON.stringify(PADDING)};
const write = (bytes) => { for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at); };
for (let line = 0; line < ${lines}; ) {
  let text = '';
  for (const end = Math.min(line + 500, ${lines}); line < end; line++)
    text += (String(line).padStart(7, '0') + ' ' + padding).slice(0, ${LINE_BYTES - 1}) + '\\n';
  write(Buffer.from(text));
}
setInterval(() => {}, 1 << 30);`;
  return JSON.stringify({ services: { writer: { command: ['node', '-e', program.replaceAll('$', '$$$$')] } } });
}

const INSERT = `
insert into log_lines (deployment_id, sequence, received_at, occurred_at, instance_id, service, replica, stream, level,
                       message, is_partial, dropped)
select $1::uuid, $2::bigint + line.ordinal, clock_timestamp(), to_timestamp(t / 1000), i, s, r, f, l, m, p, d
from unnest($3::float8[], $4::uuid[], $5::text[], $6::int[], $7::smallint[], $8::smallint[], $9::text[], $10::boolean[],
            $11::bigint[]) with ordinality as line(t, i, s, r, f, l, m, p, d, ordinal)`;

/** The limit: nothing but the statement, each batch a transaction of its own. Resolves with the seconds it took. */
export async function insertAlone(
  client: Client,
  deploymentId: string,
  instanceId: string,
  lines: number,
  batchLines: number,
): Promise<number> {
  const begun = performance.now();
  for (let start = 0; start < lines; start += batchLines) {
    const each = <T>(value: (index: number) => T) =>
      Array.from({ length: Math.min(batchLines, lines - start) }, (_, index) => value(start + index));
    const now = Date.now();
    await client.query(INSERT, [
      deploymentId,
      start,
      each(() => now),
      each(() => instanceId),
      each(() => 'writer'),
      each(() => 1),
      each(() => 0),
      each(() => 1),
      each(lineAt),
      each(() => false),
      each(() => 0),
    ]);
  }
  return (performance.now() - begun) / 1_000;
}
