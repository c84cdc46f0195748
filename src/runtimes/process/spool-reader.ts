import fs from 'node:fs';
import { type LogChunk, NO_INSTANCE } from '../runtime.ts';
import { decodeFrame, EVENT, EVENTS, type Frame, GAP, MAX_FRAME_BYTES, OUTPUT, readGap } from './supervisor/frame.mjs';
import { listStarts, segmentPath } from './supervisor/segments.mjs';

const READ_BYTES = 256 * 1024;

export type SpoolReaderOptions = {
  directory: string;
  /** First position that is wanted. */
  from: number;
  signal: AbortSignal;
  /** Resolves when there may be records after a position, or with a position to start again from where the log was lost. */
  waitForMore: (after: number) => Promise<{ restartAt: number } | null>;
};

/**
 * Reads a spool while a supervisor writes it, from any position on. A record that a dead supervisor left half written is passed over.
 * What was deleted before `from` is not there: the first chunk's position tells.
 */
export async function* readSpool(options: SpoolReaderOptions): AsyncGenerator<LogChunk, void, undefined> {
  const { directory, signal, waitForMore } = options;
  let { from } = options;
  /** Of the next record; a record's end, or where a segment starts. */
  let position = -1;
  while (!signal.aborted) {
    const place = locate(directory, position < 0 ? from : position);
    if (place) {
      // Past a torn end, or where a host restarted: whoever waits for a position there must learn that nothing lies before it.
      if (place.start > Math.max(position, from)) yield passedTo(place.start);
      position = Math.max(position, place.start);
      const batch = await readBatch(directory, place, position);
      for (const chunk of batch.chunks) {
        const wanted = startingAt(chunk, from);
        if (wanted) yield wanted;
        if (signal.aborted) return;
      }
      const progressed = batch.next > position;
      position = batch.next;
      // Nothing more comes in a segment that has a successor: what is left of it is torn.
      if (!progressed && place.next !== null) {
        position = place.next;
        yield passedTo(position);
      }
      if (progressed || place.next !== null) continue;
    }
    const restart = await waitForMore(Math.max(position, from));
    if (!restart) continue;
    from = restart.restartAt;
    position = -1;
  }
}

function passedTo(position: number): LogChunk {
  const bytes = new Uint8Array();
  const origin = { instanceId: NO_INSTANCE, service: '', replica: 0, time: Date.now() };
  return { kind: 'output', position, next: position, ...origin, stream: 'STDOUT', bytes };
}

type Place = { start: number; next: number | null };

/** The segment that holds a position, or the first one after it. */
function locate(directory: string, position: number): Place | null {
  const starts = listStarts(directory);
  const index = Math.max(
    starts.findLastIndex((start) => start <= position),
    0,
  );
  const start = starts[index];
  return start === undefined ? null : { start, next: starts[index + 1] ?? null };
}

/** The complete records from a position on, of one segment, as many as one read gives. */
async function readBatch(directory: string, { start, next }: Place, position: number) {
  const chunks: LogChunk[] = [];
  const bytes = await readAt(
    segmentPath(directory, start),
    position - start,
    (next ?? Number.POSITIVE_INFINITY) - start,
  );
  let at = 0;
  for (;;) {
    const frame = decodeFrame(bytes, at);
    if (frame === null || frame === 'torn') break;
    const chunk = chunkOf(bytes, frame, position + at, at);
    if (chunk) chunks.push(chunk);
    at += frame.length;
  }
  return { chunks, next: position + at };
}

/** Nothing where the segment was deleted in between. */
async function readAt(file: string, offset: number, end: number): Promise<Buffer> {
  let handle: fs.promises.FileHandle;
  try {
    handle = await fs.promises.open(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const length = Math.min(size - offset, end - offset, READ_BYTES + MAX_FRAME_BYTES);
    if (length <= 0) return Buffer.alloc(0);
    // Memory of its own: chunks point into it.
    const bytes = Buffer.allocUnsafeSlow(length);
    const { bytesRead } = await handle.read(bytes, 0, length, offset);
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function chunkOf(bytes: Buffer, frame: Frame, position: number, at: number): LogChunk | null {
  const { instanceId, service, replica, time, length } = frame;
  const common = { next: position + length, instanceId, service, replica, time };
  const stream = frame.stream === 2 ? 'STDERR' : 'STDOUT';
  if (frame.type === OUTPUT) {
    const payload = bytes.subarray(frame.payloadAt, frame.payloadEnd);
    return { kind: 'output', ...common, position: position + (frame.payloadAt - at), stream, bytes: payload };
  }
  if (frame.type === GAP) return { kind: 'gap', ...common, position, stream, ...readGap(bytes, frame) };
  const event = EVENTS[frame.event];
  if (frame.type !== EVENT || !event) return null;
  return {
    kind: 'event',
    ...common,
    position,
    event,
    message: bytes.toString('utf8', frame.payloadAt, frame.payloadEnd),
  };
}

/** What of a chunk lies at or after a position. */
function startingAt(chunk: LogChunk, from: number): LogChunk | null {
  if (chunk.position >= from) return chunk;
  if (chunk.kind !== 'output' || from >= chunk.position + chunk.bytes.length) return null;
  return { ...chunk, position: from, bytes: chunk.bytes.subarray(from - chunk.position) };
}
