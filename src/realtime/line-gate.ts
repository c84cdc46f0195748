import type { AssembledLine } from './line-assembly.ts';
import type { LogRateLimit } from './log-rate-limit.ts';

/** What of a stack's log the limit lets through, and where in it lines are being dropped. */
export type LogGate = {
  limit: LogRateLimit;
  /** By `streamKey`: streams whose line under way is being dropped, and counted already. Outlives a crash in the offset. */
  cut: Set<string>;
};

/** Decides piece by piece which lines of an instance are stored, and counts those that are not. */
export class LineGate {
  readonly #gate: LogGate;
  readonly #instanceId: string;
  #dropped = 0;

  constructor(gate: LogGate, instanceId: string) {
    this.#gate = gate;
    this.#instanceId = instanceId;
  }

  /** How many lines were dropped and not told of yet. */
  get dropped(): number {
    return this.#dropped;
  }

  /** A line is stored up to the first piece that is dropped, and counts once however many pieces it has. `time`: when it was written. */
  admits(streamKey: string, { message, isPartial }: AssembledLine, time: number): boolean {
    const { limit, cut } = this.#gate;
    const isGoingOn = cut.has(streamKey);
    if (!isGoingOn && limit.admits(this.#instanceId, message.length, time)) return true;
    if (!isGoingOn) this.#dropped += 1;
    if (isPartial) cut.add(streamKey);
    else cut.delete(streamKey);
    return false;
  }

  /** Nothing more comes of the line under way. */
  endLine(streamKey: string): void {
    this.#gate.cut.delete(streamKey);
  }

  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  close(): void {
    this.#gate.limit.forget(this.#instanceId);
  }
}
