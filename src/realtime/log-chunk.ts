type ChunkOrigin = {
  /** With it the runtime takes its log up at `next` again; absent: the position says enough. */
  mark?: string;
  /** Byte offsets in the whole log: where the chunk begins, and after it and all of its framing. */
  position: number;
  next: number;
  instanceId: string;
  service: string;
  replica: number;
  /** Milliseconds since the epoch, by the runtime's clock. */
  time: number;
};

export type OutputChunk = ChunkOrigin & {
  kind: 'output';
  stream: 'STDOUT' | 'STDERR';
  /** Byte i lies at `position + i`. */
  bytes: Uint8Array;
};

/** Output that a bound took: exactly so much is missing here. */
export type GapChunk = ChunkOrigin & {
  kind: 'gap';
  stream: 'STDOUT' | 'STDERR';
  lines: number;
  bytes: number;
  reason: string;
};

/** What the runtime reports of an instance. `ended`, `removed`: no more output of this process follows. */
export type EventChunk = ChunkOrigin & {
  kind: 'event';
  event: 'started' | 'ended' | 'restarting' | 'health' | 'removed';
  message: string;
};

/** A piece of a log as runtimes give it: `LogChunk` of runtimes/runtime.ts, which this room does not import. */
export type LogChunk = OutputChunk | GapChunk | EventChunk;

/** Where a log is taken up: `LogPlace` of runtimes/runtime.ts. */
export type LogPlace = { position: number; mark: string | null };

/** The chunk in pieces of at most `size` bytes of output, each a chunk in its own right. */
export function* sliced(chunk: LogChunk, size: number): Generator<LogChunk> {
  if (chunk.kind !== 'output' || chunk.bytes.length <= size) {
    yield chunk;
    return;
  }
  for (let start = 0; start < chunk.bytes.length; start += size) {
    const end = Math.min(start + size, chunk.bytes.length);
    const isLast = end === chunk.bytes.length;
    const next = isLast ? chunk.next : chunk.position + end;
    const mark = isLast ? chunk.mark : undefined;
    yield { ...chunk, mark, position: chunk.position + start, next, bytes: chunk.bytes.subarray(start, end) };
  }
}
