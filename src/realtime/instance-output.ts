import { type AssembledLine, LineAssembler, type ResumePoint } from './line-assembly.ts';
import { LineGate, type LogGate } from './line-gate.ts';
import type { EventChunk, GapChunk, LogChunk, OutputChunk } from './log-chunk.ts';
import { detectLevel } from './log-level.ts';
import { type LogLevel, type NewLogLine, storablePieces } from './log-line.ts';
import { streamKey } from './log-offset.ts';
import type { Masker } from './masking.ts';

export type InstanceLine = NewLogLine & { instanceId: string };

type Origin = { instanceId: string; service: string; replica: number };

type OutputStream = {
  key: string;
  name: OutputChunk['stream'];
  origin: Origin;
  assembler: LineAssembler;
  /** Of the line that goes on: its pieces share its level. */
  level: LogLevel | null;
};

const OUTPUT_STREAMS = ['STDOUT', 'STDERR'] as const;
const RATE_LIMIT = 'rate limit';

/** Makes log lines of what one instance writes, as far as the gate lets it through, and of what its runtime reports of it. */
export class InstanceOutput {
  readonly #masker: Masker;
  readonly #gate: LineGate;
  readonly #resume: ReadonlyMap<string, ResumePoint>;
  readonly #head: number;
  readonly #streams = new Map<string, OutputStream>();

  /** Of the newest chunk. */
  #origin: Origin;
  #time = 0;

  /** `first`: a chunk of the instance. `stored`: what is left out when it comes again. */
  constructor(
    first: LogChunk,
    masker: Masker,
    gate: LogGate,
    stored: { head: number; pending: ReadonlyMap<string, ResumePoint> },
  ) {
    this.#origin = originOf(first);
    this.#masker = masker;
    this.#gate = new LineGate(gate, first.instanceId);
    this.#resume = stored.pending;
    this.#head = stored.head;
  }

  take(chunk: LogChunk): InstanceLine[] {
    this.#origin = originOf(chunk);
    this.#time = chunk.time;
    if (chunk.kind === 'output') return this.#output(chunk);
    if (chunk.position < this.#head) return [];
    const before = this.#before(chunk);
    return [...before, ...this.tellDropped(), ...(chunk.kind === 'gap' ? this.#gap(chunk) : this.#event(chunk))];
  }

  /** Whether lines were dropped that no line tells of. */
  get hasDropped(): boolean {
    return this.#gate.dropped > 0;
  }

  /** The line that tells what was dropped since the last one. */
  tellDropped(): InstanceLine[] {
    const dropped = this.#gate.takeDropped();
    return dropped === 0 ? [] : this.#system(gapMessage(dropped, RATE_LIMIT), 'WARN', dropped);
  }

  get hasPartial(): boolean {
    return this.#streams.values().some((stream) => stream.assembler.hasPartial);
  }

  /** What there is of unfinished lines. */
  flushPartial(): InstanceLine[] {
    return this.#each((stream) => this.#lines(stream, stream.assembler.flushPartial()));
  }

  /** The rest of all streams: nothing more comes of them for now. */
  finish(): InstanceLine[] {
    const lines = this.#each((stream) => this.#lines(stream, stream.assembler.finish()));
    this.#streams.clear();
    for (const stream of OUTPUT_STREAMS) this.#gate.endLine(streamKey(this.#origin.instanceId, stream));
    return lines;
  }

  /** No chunk of the instance follows. */
  close(): void {
    this.#gate.close();
  }

  /** Gives up what keeps streams from resuming at `position` or later. */
  releaseBefore(position: number): InstanceLine[] {
    return this.#each((stream) => {
      const resume = stream.assembler.resume;
      return resume && resume.position < position ? this.#lines(stream, stream.assembler.release()) : [];
    });
  }

  /** From where each stream must be read again after a crash. */
  *pending(): Generator<[string, ResumePoint]> {
    for (const { key, assembler } of this.#streams.values()) {
      const { resume } = assembler;
      if (resume) yield [key, resume];
    }
  }

  #output(chunk: OutputChunk): InstanceLine[] {
    const key = streamKey(chunk.instanceId, chunk.stream);
    const resume = this.#resume.get(key);
    const known = Math.max(0, (resume?.position ?? this.#head) - chunk.position);
    if (known >= chunk.bytes.length) return [];
    let stream = this.#streams.get(key);
    if (!stream) {
      const masked = chunk.position + known === resume?.position ? resume.masked : 0;
      const assembler = new LineAssembler(this.#masker.stream(masked));
      stream = { key, name: chunk.stream, origin: originOf(chunk), assembler, level: null };
      this.#streams.set(key, stream);
    }
    return this.#lines(stream, stream.assembler.push(chunk.bytes.subarray(known), chunk.position + known, chunk.time));
  }

  /** What a gap or an end cuts off. */
  #before(chunk: GapChunk | EventChunk): InstanceLine[] {
    if (chunk.kind === 'event') return chunk.event === 'ended' || chunk.event === 'removed' ? this.finish() : [];
    const key = streamKey(chunk.instanceId, chunk.stream);
    const stream = this.#streams.get(key);
    this.#streams.delete(key);
    const lines = stream ? this.#lines(stream, stream.assembler.finish()) : [];
    this.#gate.endLine(key);
    return lines;
  }

  #gap({ lines, reason }: GapChunk): InstanceLine[] {
    return this.#system(gapMessage(lines, reason), 'WARN', lines);
  }

  #event({ event, message }: EventChunk): InstanceLine[] {
    return this.#system(message, event === 'restarting' ? 'WARN' : detectLevel(message, 'SYSTEM'), 0);
  }

  #system(message: string, level: LogLevel, dropped: number): InstanceLine[] {
    const pieces = storablePieces(this.#masker.maskText(message));
    return pieces.map((piece, index) => ({
      ...this.#origin,
      occurredAt: this.#time,
      stream: 'SYSTEM',
      level,
      message: piece,
      isPartial: index < pieces.length - 1,
      dropped: index === 0 ? dropped : 0,
    }));
  }

  #lines(stream: OutputStream, assembled: AssembledLine[]): InstanceLine[] {
    const lines: InstanceLine[] = [];
    for (const line of assembled) {
      if (this.#gate.admits(stream.key, line, this.#time)) {
        if (this.hasDropped) lines.push(...this.tellDropped());
        lines.push(lineOf(stream, line));
      } else if (stream.level !== null) {
        // What is stored of a line ends where the rest is dropped: nothing later continues it.
        lines.push(lineOf(stream, { ...line, message: '', isPartial: false }));
      }
    }
    return lines;
  }

  #each(lines: (stream: OutputStream) => InstanceLine[]): InstanceLine[] {
    return [...this.#streams.values()].flatMap(lines);
  }
}

function originOf({ instanceId, service, replica }: LogChunk): Origin {
  return { instanceId, service, replica };
}

function lineOf(stream: OutputStream, { message, isPartial, time }: AssembledLine): InstanceLine {
  const { instanceId, service, replica } = stream.origin;
  const level = stream.level ?? detectLevel(message, stream.name);
  stream.level = isPartial ? level : null;
  return { instanceId, service, replica, occurredAt: time, stream: stream.name, level, message, isPartial, dropped: 0 };
}

function gapMessage(lines: number, reason: string): string {
  return `${lines.toLocaleString('en-US')} ${lines === 1 ? 'line' : 'lines'} dropped: ${reason}`;
}
