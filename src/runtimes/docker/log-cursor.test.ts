import { describe, expect, it } from 'vitest';
import type { LogChunk } from '../runtime.ts';
import { LogCursor, startingAt } from './log-cursor.ts';
import type { LogRecord } from './log-stream.ts';

const ORIGIN = { instanceId: 'i', service: 'web', replica: 1 };
const START = { position: 0, mark: null };
const out = (time: bigint, text: string): LogRecord => ({ stream: 'STDOUT', time, bytes: Buffer.from(text) });
const err = (time: bigint, text: string): LogRecord => ({ ...out(time, text), stream: 'STDERR' });
const dies = (time: bigint) => ({ kind: 'die' as const, time, exitCode: 1, outOfMemory: false });
const shown = (chunks: LogChunk[]) =>
  chunks.map((chunk) => [
    chunk.position,
    chunk.kind === 'output' ? Buffer.from(chunk.bytes).toString() : chunk.kind === 'gap' ? 'gap' : chunk.event,
  ]);
/** As if each had come by itself. */
const one = (cursor: LogCursor, records: LogRecord[]) => records.flatMap((record) => cursor.take([record]));
const resumed = (chunk: LogChunk | undefined) => new LogCursor(ORIGIN, { position: chunk!.next, mark: chunk!.mark! });

describe('a place in a container’s log', () => {
  it('should count bytes, one for each event, and three between two runs', () => {
    const cursor = new LogCursor(ORIGIN, START);
    const chunks = [
      ...cursor.started(10n),
      ...cursor.take([out(11n, 'one\n')]),
      ...cursor.ended(dies(20n), 'exited', 'restarting'),
      ...cursor.started(30n),
      ...cursor.health(31n, 'healthy'),
      ...cursor.ended(dies(40n), 'exited', null),
      ...cursor.removed(50n, 'removed'),
    ];
    expect(shown(chunks)).toEqual([
      [0, 'started'],
      [1, 'one\n'],
      [5, 'ended'],
      [6, 'restarting'],
      [7, 'started'],
      [8, 'health'],
      [8, 'ended'],
      [10, 'removed'],
    ]);
  });

  it('should be the same whether a restart was seen or not', () => {
    const cursor = new LogCursor(ORIGIN, START);
    const chunks = [...cursor.started(10n), ...cursor.ended(dies(20n), 'exited', null), ...cursor.started(30n)];
    expect(shown(chunks).at(-1)).toEqual([3, 'started']);
  });

  it('should start a run with what it writes before the engine says so', () => {
    const cursor = new LogCursor(ORIGIN, START);
    expect(shown(cursor.take([out(9n, 'early')]))).toEqual([
      [0, 'started'],
      [1, 'early'],
    ]);
    expect(cursor.started(10n)).toEqual([]);
  });

  it('should go on from a mark without what was given before, in each stream by itself', () => {
    const records = [out(1n, 'a'), out(5n, 'b'), err(3n, 'c'), out(5n, 'd'), err(4n, 'e'), out(5n, 'f'), err(9n, 'g')];
    const chunks = one(new LogCursor(ORIGIN, START), records);
    for (const [index, chunk] of chunks.entries()) {
      const cursor = resumed(chunk);
      const since = cursor.open();
      const read = one(
        cursor,
        records.filter(({ time }) => time >= since),
      );
      expect(shown(read)).toEqual(shown(chunks.slice(index + 1)));
    }
  });

  it('should join what is of one stream and one millisecond, and go on after the last of it', () => {
    const [ms, next] = [7_000_000n, 8_000_000n];
    const records = [
      out(ms, 'a'),
      out(ms, 'b'),
      out(ms + 1n, 'c'),
      err(ms + 2n, 'd'),
      out(ms + 3n, 'e'),
      out(next, 'f'),
    ];
    const chunks = new LogCursor(ORIGIN, START).take(records);
    expect(shown(chunks)).toEqual([
      [0, 'started'],
      [1, 'abc'],
      [4, 'd'],
      [5, 'e'],
      [6, 'f'],
    ]);
    const cursor = resumed(chunks[1]);
    cursor.open();
    expect(shown(cursor.take(records))).toEqual(shown(chunks.slice(2)));
  });

  it('should join nothing over what the engine lost', () => {
    const cursor = resumed(new LogCursor(ORIGIN, START).take([out(1n, 'one')]).at(-1));
    cursor.open();
    expect(shown(cursor.take([out(7n, 'later'), out(8n, ' still')]))).toEqual([
      [4, 'gap'],
      [5, 'later still'],
    ]);
  });

  it('should read little again for a stream that said nothing for long', () => {
    const hour = 3_600_000_000_000n;
    const chunks = new LogCursor(ORIGIN, START).take([err(1n, 'old'), out(hour, 'new')]);
    expect(resumed(chunks.at(-1)).open()).toBe(hour - 10_000_000_000n);
  });

  it('should tell of a gap where nothing that was given is there any more', () => {
    const chunks = new LogCursor(ORIGIN, START).take([out(1n, 'one')]);
    const cursor = resumed(chunks.at(-1));
    cursor.open();
    const read = cursor.take([out(7n, 'later')]);
    expect(shown(read)).toEqual([
      [4, 'gap'],
      [5, 'later'],
    ]);
  });

  it('should tell a failed start by its end alone', () => {
    const cursor = new LogCursor(ORIGIN, START);
    expect(shown([...cursor.failed(1n, 'command not found: x'), ...cursor.failed(1n, 'again')])).toEqual([
      [1, 'ended'],
    ]);
  });

  it('should begin in the middle of a chunk', () => {
    const [, output] = new LogCursor(ORIGIN, START).take([out(1n, 'abc')]);
    expect(startingAt(output!, 2)).toMatchObject({ position: 2, next: 4, bytes: Buffer.from('bc') });
    expect(startingAt(output!, 4)).toBeNull();
  });
});
