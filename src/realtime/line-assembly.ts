import { characterBoundary, MAX_LINE_BYTES, storablePieces } from './log-line.ts';
import { decodeMasked, MASKED_BYTE, type MaskingStream } from './masking.ts';

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A line's text, and the runtime's time (ms since the epoch) of its first byte. */
export type AssembledLine = { message: string; isPartial: boolean; time: number };

/** From where a stream must be read again after a crash; `masked`: how many first bytes from there belong to a secret. */
export type ResumePoint = { position: number; masked: number };

/** Input that is not part of a line yet, as it lies in the runtime's log. */
type Segment = { offset: number; position: number; time: number };

/**
 * Makes lines of one stream's bytes, masked on the way. What lines come out does not depend on how the input is cut,
 * `flushPartial` aside. A line of more than 16 KiB of input is cut there, between characters.
 */
export class LineAssembler {
  readonly #masking: MaskingStream;
  /** Decided bytes of the line that has no end yet. */
  #rest: Uint8Array[] = [];
  #restLength = 0;
  /** Offsets in the stream as this object saw it: of the first byte not in a line, and after the last byte taken. */
  #lineStart = 0;
  #end = 0;
  #segments: Segment[] = [];

  constructor(masking: MaskingStream) {
    this.#masking = masking;
  }

  /** `position` is that of the first byte, `time` that of all. Returns the lines that are complete now. */
  push(bytes: Uint8Array, position: number, time: number): AssembledLine[] {
    if (bytes.length === 0) return [];
    this.#segments.push({ offset: this.#end, position, time });
    this.#end += bytes.length;
    return this.#take(this.#masking.push(bytes));
  }

  /** Returns what there is of an unfinished line, except what may be half a character, half a secret or half a line end. */
  flushPartial(): AssembledLine[] {
    const length = this.#flushable();
    return length === 0 ? [] : this.#cut(length);
  }

  /** Whether `flushPartial` would return anything. */
  get hasPartial(): boolean {
    return this.#restLength > 0 && this.#flushable() > 0;
  }

  /** The stream has ended: returns everything, the last line as a complete one. */
  finish(): AssembledLine[] {
    const lines = this.#take(this.#masking.flush());
    if (this.#restLength > 0) this.#emit(this.#takeRest(this.#restLength), this.#restLength, false, lines);
    this.#restLength = 0;
    this.#skip(this.#end - this.#lineStart);
    return lines;
  }

  /** Gives up waiting for the end of what is held back: returns all of it, what may begin a secret as masked. */
  release(): AssembledLine[] {
    const lines = this.#take(this.#masking.release());
    return this.#restLength === 0 ? lines : [...lines, ...this.#cut(this.#restLength)];
  }

  /** Null: everything taken so far is in lines. */
  get resume(): ResumePoint | null {
    if (this.#lineStart === this.#end) return null;
    const { position, offset } = this.#segments[0]!;
    return { position: position + (this.#lineStart - offset), masked: this.#leadingMasked() };
  }

  #take(decided: Uint8Array): AssembledLine[] {
    const lines: AssembledLine[] = [];
    let start = 0;
    for (let at = decided.indexOf(NEWLINE); at !== -1; at = decided.indexOf(NEWLINE, start)) {
      let line = decided.subarray(start, at);
      if (this.#restLength > 0) {
        this.#keep(line);
        line = this.#takeRest(this.#restLength);
      }
      this.#emit(line, line.length + 1, false, lines);
      start = at + 1;
    }
    if (start < decided.length) this.#keep(decided.subarray(start));
    while (this.#isTooLong()) lines.push(...this.#cut(cutOf(this.#joinRest())));
    return lines;
  }

  /** Turns a line of any length into messages; `consumed` counts its input, line end included. */
  #emit(line: Uint8Array, consumed: number, isPartial: boolean, lines: AssembledLine[]): void {
    let bytes = !isPartial && line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
    let left = consumed;
    while (bytes.length > MAX_LINE_BYTES) {
      const end = cutOf(bytes);
      this.#append(bytes.subarray(0, end), true, lines);
      this.#skip(end);
      left -= end;
      bytes = bytes.subarray(end);
    }
    this.#append(bytes, isPartial, lines);
    this.#skip(left);
  }

  #append(bytes: Uint8Array, isPartial: boolean, lines: AssembledLine[]): void {
    const { time } = this.#segments[0]!;
    const pieces = storablePieces(this.#decode(bytes));
    for (const [index, message] of pieces.entries()) {
      lines.push({ message, isPartial: isPartial || index < pieces.length - 1, time });
    }
  }

  #decode(bytes: Uint8Array): string {
    if (this.#masking.marks) return decodeMasked(bytes);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  }

  #cut(length: number): AssembledLine[] {
    const lines: AssembledLine[] = [];
    this.#emit(this.#takeRest(length), length, true, lines);
    return lines;
  }

  /** A line end is no part of the limit, and "\r" may turn out to be one. */
  #isTooLong(): boolean {
    if (this.#restLength <= MAX_LINE_BYTES) return false;
    return this.#restLength > MAX_LINE_BYTES + 1 || this.#rest.at(-1)!.at(-1) !== CARRIAGE_RETURN;
  }

  #flushable(): number {
    const rest = this.#joinRest();
    let length = rest.length;
    if (this.#masking.pendingInput > 0) {
      // A masked stretch that may go on is shown once, when it is over.
      while (length > 0 && rest[length - 1] === MASKED_BYTE) length--;
    } else if (rest[length - 1] === CARRIAGE_RETURN) {
      length--;
    }
    return length - incompleteCharacter(rest.subarray(0, length));
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#rest.push(new Uint8Array(bytes));
    this.#restLength += bytes.length;
  }

  #joinRest(): Uint8Array {
    if (this.#rest.length > 1) this.#rest = [Buffer.concat(this.#rest)];
    return this.#rest[0] ?? new Uint8Array(0);
  }

  #takeRest(length: number): Uint8Array {
    const rest = this.#joinRest();
    this.#rest = length < rest.length ? [rest.subarray(length)] : [];
    this.#restLength = rest.length - length;
    return rest.subarray(0, length);
  }

  #leadingMasked(): number {
    if (!this.#masking.marks) return 0;
    const rest = this.#joinRest();
    let masked = 0;
    while (masked < rest.length && rest[masked] === MASKED_BYTE) masked++;
    return masked === rest.length ? masked + this.#masking.maskedAhead : masked;
  }

  #skip(length: number): void {
    this.#lineStart += length;
    let passed = 0;
    while (passed < this.#segments.length) {
      const end = this.#segments[passed + 1]?.offset ?? this.#end;
      if (end > this.#lineStart) break;
      passed++;
    }
    if (passed > 0) this.#segments.splice(0, passed);
  }
}

function cutOf(bytes: Uint8Array): number {
  return characterBoundary(bytes, MAX_LINE_BYTES);
}

/** How many of the last bytes begin a character that is not complete. */
function incompleteCharacter(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const needed =
      byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc0 && byte < 0xe0 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}
