/** As the database numbers them: the index is the stored value. */
export const LOG_STREAMS = ['STDOUT', 'STDERR', 'SYSTEM'] as const;
export const LOG_LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const;

/** SYSTEM: what the control plane itself reports. */
export type LogStream = (typeof LOG_STREAMS)[number];
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Longest message of one line, in bytes of UTF-8. */
export const MAX_LINE_BYTES = 16 * 1024;

/** A line before it has a sequence. */
export type NewLogLine = {
  /** By the runtime's clock, in milliseconds since the epoch. */
  occurredAt: number;
  instanceId: string | null;
  /** Null: the whole deployment. */
  service: string | null;
  replica: number | null;
  stream: LogStream;
  level: LogLevel;
  /** Without its newline, masked, valid UTF-8 without NUL, at most MAX_LINE_BYTES. */
  message: string;
  /** The next line of the same service, replica and stream continues this one. */
  isPartial: boolean;
  /** How many lines a bound took just before this one. */
  dropped: number;
};

/** A stored line. */
export type LogLine = {
  deploymentId: string;
  /** 1, 2, 3 … within the deployment, without gaps from the first retained line. */
  sequence: number;
  timestamp: Date;
  service: string | null;
  replica: number | null;
  stream: LogStream;
  level: LogLevel;
  message: string;
  isPartial: boolean;
  dropped: number;
};

/** Where a piece of at most `limit` bytes ends that splits no UTF-8 character: `bytes` is longer than that. */
export function characterBoundary(bytes: Uint8Array, limit: number): number {
  for (let start = limit; start > limit - 4 && start > 0; start--) {
    if ((bytes[start]! & 0xc0) !== 0x80) return start;
  }
  // Four continuation bytes in a row are no character: any place will do.
  return limit;
}

/** The text in pieces that a line may hold: valid UTF-8, NUL as U+FFFD, each at most MAX_LINE_BYTES. */
export function storablePieces(text: string): string[] {
  const clean = (text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text).toWellFormed();
  if (clean.length * 3 <= MAX_LINE_BYTES || Buffer.byteLength(clean) <= MAX_LINE_BYTES) return [clean];
  const bytes = Buffer.from(clean);
  const pieces: string[] = [];
  let start = 0;
  while (bytes.length - start > MAX_LINE_BYTES) {
    const end = start + characterBoundary(bytes.subarray(start), MAX_LINE_BYTES);
    pieces.push(bytes.toString('utf8', start, end));
    start = end;
  }
  return [...pieces, bytes.toString('utf8', start)];
}
