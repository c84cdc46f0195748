import type { StackRef } from './runtime.ts';

/** The instance of an output chunk without bytes, which only says that nothing more comes from before its position. */
export const NO_INSTANCE = '00000000-0000-0000-0000-000000000000';

/** A log that is read, stored and trimmed as one: the whole stack's where `instanceId` is null, or one instance's own. */
export type LogRef = { stack: StackRef; instanceId: string | null };

/** Where a log is taken up: at a position and, in a runtime that gives marks, the mark that belongs to it. */
export type LogPlace = { position: number; mark: string | null };

/**
 * A piece of a log as the runtime kept it. Positions are byte offsets in the whole log: they only grow, the same byte has the same
 * position whoever reads it, and `logs(from)` starts at any of them, also in the middle of an output chunk. `mark` belongs to `next`:
 * with it a log is taken up there without reading what came before; absent: the position says enough.
 */
export type LogChunk = { mark?: string } & (
  | {
      kind: 'output';
      /** Of the first byte of `bytes`; byte i lies at `position + i`. */
      position: number;
      /** Position after this chunk and all of its framing. */
      next: number;
      instanceId: string;
      service: string;
      replica: number;
      stream: 'STDOUT' | 'STDERR';
      /** Milliseconds since the epoch, by the runtime's clock. */
      time: number;
      bytes: Uint8Array;
    }
  | {
      /** Output that a bound took: exactly this many lines and bytes are missing here. */
      kind: 'gap';
      position: number;
      next: number;
      instanceId: string;
      service: string;
      replica: number;
      stream: 'STDOUT' | 'STDERR';
      time: number;
      lines: number;
      bytes: number;
      reason: string;
    }
  | {
      /** What the runtime itself reports of an instance: becomes a SYSTEM line. `ended`: no more output of this process follows. */
      kind: 'event';
      position: number;
      next: number;
      instanceId: string;
      service: string;
      replica: number;
      time: number;
      event: 'started' | 'ended' | 'restarting' | 'health' | 'removed';
      message: string;
    }
);
