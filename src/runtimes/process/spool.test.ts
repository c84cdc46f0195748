import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LogChunk } from '../runtime.ts';
import { spoolEnd, trimSpool } from './resting-spool.ts';
import { readSpool } from './spool-reader.ts';
import { sourceOf } from './supervisor/frame.mjs';
import { RESTART_SKIP_BYTES } from './supervisor/segment-writer.mjs';
import { listSegments, segmentPath } from './supervisor/segments.mjs';
import { Spool } from './supervisor/spool.mjs';

const LIMIT_BYTES = 1024 * 1024;
const source = sourceOf({ instanceId: randomUUID(), service: 'web', replica: 1 });

describe('a spool', () => {
  let directory: string;
  let open: Spool[];

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'spool-'));
    open = [];
  });

  afterEach(() => {
    for (const spool of open) spool.close();
    fs.rmSync(directory, { recursive: true });
  });

  function openSpool(hostRestarted = false): Spool {
    const spool = new Spool({ directory, limitBytes: LIMIT_BYTES, hostRestarted, now: () => 1 });
    open.push(spool);
    return spool;
  }

  /** What can be read now. */
  async function read(from = 0): Promise<LogChunk[]> {
    const stop = new AbortController();
    const waitForMore = async () => {
      stop.abort();
      return null;
    };
    return await Array.fromAsync(readSpool({ directory, from, signal: stop.signal, waitForMore }));
  }

  const outputOf = (chunks: LogChunk[]) =>
    Buffer.concat(chunks.flatMap((chunk) => (chunk.kind === 'output' ? chunk.bytes : []))).toString();
  const messagesOf = (chunks: LogChunk[]) => chunks.flatMap((chunk) => (chunk.kind === 'event' ? chunk.message : []));

  function filled(spool: Spool) {
    const channel = spool.channel(source, 'STDOUT');
    const kept = Buffer.from(`${'x'.repeat(999)}\n`);
    for (let line = 0; line < 2_000; line += 1) spool.output(channel, kept);
    spool.flush();
    return channel;
  }

  it('should give back what was written, in order and with positions that follow each other', async () => {
    const spool = openSpool();
    const channel = spool.channel(source, 'STDOUT');
    spool.event(source, 'started', 'started, pid 1');
    spool.output(channel, Buffer.from('one\n'));
    spool.event(source, 'ended', 'exited with code 0');
    spool.flush();
    const chunks = await read();
    expect(chunks.map(({ kind }) => kind)).toEqual(['event', 'output', 'event']);
    expect(outputOf(chunks)).toBe('one\n');
    expect(chunks.at(-1)?.next).toBe(spool.end);
    expect(chunks[1]?.next).toBe(chunks[2]?.position);
  });

  it('should stay within its bound, and count every line and byte that it dropped', async () => {
    const spool = openSpool();
    const channel = filled(spool);
    const stored = listSegments(directory).reduce((sum, { size }) => sum + size, 0);
    expect(stored).toBeLessThanOrEqual(LIMIT_BYTES);
    const before = await read();
    spool.trim(before.at(-1)?.next ?? 0);
    spool.output(channel, Buffer.from('again\n'));
    spool.flush();
    const after = await read(before.at(-1)?.next ?? 0);
    const missing = 2_000 - outputOf(before).split('\n').length + 1;
    expect(after).toMatchObject([
      { kind: 'gap', lines: missing, bytes: missing * 1_000, stream: 'STDOUT' },
      { kind: 'output' },
    ]);
    expect(outputOf(after)).toBe('again\n');
  });

  it('should tell of events that happened while it was full, after the gap', async () => {
    const spool = openSpool();
    const channel = filled(spool);
    spool.endOfStream(channel);
    spool.event(source, 'ended', 'exited with code 1');
    expect(spool.isSettled).toBe(false);
    spool.trim(spool.end);
    spool.flush();
    expect((await read(0)).map(({ kind }) => kind).slice(-2)).toEqual(['gap', 'event']);
    expect(spool.isSettled).toBe(true);
  });

  it('should account for every line and byte, whatever is written and read when', async () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ lines: fc.integer({ min: 1, max: 60 }), cut: fc.nat(200) }) },
      { weight: 1, arbitrary: fc.constant('read' as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
        fs.rmSync(directory, { recursive: true });
        const spool = new Spool({ directory, limitBytes: LIMIT_BYTES, hostRestarted: false, now: () => 1 });
        const channel = spool.channel(source, 'STDOUT');
        const seen: LogChunk[] = [];
        let written = 0;
        let pending = '';
        const readOn = async () => {
          spool.flush();
          seen.push(...(await read(seen.at(-1)?.next ?? 0)));
          spool.trim(seen.at(-1)?.next ?? 0);
        };
        for (const next of steps) {
          if (next === 'read') await readOn();
          else {
            for (let line = 0; line < next.lines; line += 1) pending += `${String(written++).padStart(800, '.')}\n`;
            const piece = Buffer.from(pending.slice(0, Math.max(0, pending.length - next.cut)));
            pending = pending.slice(piece.length);
            if (piece.length > 0) spool.output(channel, piece.subarray(0, 64 * 1024));
          }
        }
        if (pending) spool.output(channel, Buffer.from(pending));
        spool.endOfStream(channel);
        spool.event(source, 'ended', 'the end');
        while (!messagesOf(seen).includes('the end')) await readOn();
        spool.close();
        const gaps = seen.flatMap((chunk) => (chunk.kind === 'gap' ? chunk : []));
        const text = outputOf(seen);
        const lines = text.split('\n').slice(0, -1);
        expect(lines.length + gaps.reduce((sum, gap) => sum + gap.lines, 0)).toBe(written);
        expect(text.length + gaps.reduce((sum, gap) => sum + gap.bytes, 0)).toBe(written * 801);
        const numbers = lines.map((line) => Number(line.replaceAll('.', '')));
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      }),
      { numRuns: 25 },
    );
  });

  it('should pass over a record that a killed supervisor left half written', async () => {
    const first = openSpool();
    first.event(source, 'started', 'first');
    first.flush();
    const [segment] = listSegments(directory);
    const file = segmentPath(directory, segment?.start ?? 0);
    fs.appendFileSync(file, fs.readFileSync(file).subarray(0, 20));
    const second = openSpool();
    expect(second.end).toBe(first.end);
    second.event(source, 'started', 'second');
    second.flush();
    const chunks = await read();
    expect(messagesOf(chunks)).toEqual(['first', 'second']);
    expect(chunks[1]?.position).toBe(first.end + 20);
  });

  it('should tell its reader that it is at the end, also where a killed supervisor left half a record', async () => {
    const killed = openSpool();
    killed.event(source, 'started', 'started, pid 1');
    killed.flush();
    const [last] = listSegments(directory);
    fs.appendFileSync(segmentPath(directory, last!.start), 'half a record');
    trimSpool(directory, spoolEnd(directory));
    expect(spoolEnd(directory)).toBeGreaterThan(killed.end);
    expect((await read(killed.end)).at(-1)?.next).toBe(spoolEnd(directory));
  });

  it('should give no position twice when the disk lost records with the host’s power', async () => {
    const first = openSpool();
    first.event(source, 'started', 'kept');
    first.flush();
    const kept = first.end;
    first.event(source, 'started', 'lost');
    first.flush();
    fs.truncateSync(segmentPath(directory, 0), kept);
    const second = openSpool(true);
    expect(second.end).toBe(kept + RESTART_SKIP_BYTES);
    second.event(source, 'started', 'second');
    second.flush();
    expect(messagesOf(await read(first.end))).toEqual(['second']);
  });

  it('should keep its position when all of it was read and no supervisor lives', async () => {
    const first = openSpool();
    first.event(source, 'started', 'first');
    first.close();
    trimSpool(directory, first.end);
    expect(listSegments(directory)).toEqual([{ start: first.end, size: 0 }]);
    expect(spoolEnd(directory)).toBe(first.end);
    const second = openSpool();
    second.event(source, 'started', 'second');
    second.flush();
    expect(messagesOf(await read(first.end))).toEqual(['second']);
  });
});
