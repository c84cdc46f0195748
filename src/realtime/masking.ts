import { type ByteAutomaton, compileAutomaton, MAX_PATTERN_BYTES, openSuffix, sparseStep } from './byte-automaton.ts';
import { maskedForms } from './masked-forms.ts';

/** What one contiguous masked stretch reads as. */
export const MASK = '***';
/** Where it stands, a text may have been cut: what precedes it may be the beginning of a secret. */
const CUT_MARK = '…';
/** Stands for one masked byte in what a MaskingStream returns; no UTF-8 text contains it. */
export const MASKED_BYTE = 0xff;
/** What a MaskingStream returns for an 0xff of the input: as invalid in UTF-8 as that. */
const OTHER_INVALID_BYTE = 0xfe;

/** The secrets, in all the forms that are masked, are too much to look for. */
export class SecretsTooLargeError extends Error {
  override name = 'SecretsTooLargeError';
}

/**
 * Compiles the automaton that finds every form of the secrets (see `maskedForms`); streams and texts share it.
 * Empty values are ignored. Throws SecretsTooLargeError (about 400 KiB of secrets together are possible).
 */
export function createMasker(secrets: readonly string[]): Masker {
  const forms = new Map<string, Uint8Array>();
  let bytes = 0;
  for (const secret of new Set(secrets)) {
    for (const form of maskedForms(secret)) {
      const key = Buffer.from(form.buffer, form.byteOffset, form.byteLength).toString('latin1');
      if (forms.has(key)) continue;
      forms.set(key, form);
      bytes += form.length;
      if (bytes > MAX_PATTERN_BYTES) {
        throw new SecretsTooLargeError(
          'the secrets are too large together to be masked in logs: use fewer or smaller ones',
        );
      }
    }
  }
  return new Masker(forms.size === 0 ? null : compileAutomaton([...forms.values()]));
}

export class Masker {
  readonly #automaton: ByteAutomaton | null;

  constructor(automaton: ByteAutomaton | null) {
    this.#automaton = automaton;
  }

  /** `masked`: that many first bytes belong to a secret which began before them. */
  stream(masked = 0): MaskingStream {
    return new MaskingStream(this.#automaton, masked);
  }

  /** The text with every masked stretch as `***`, before each `…` also what may begin one; the same string where there is none. */
  maskText(text: string): string {
    if (this.#automaton === null || text === '') return text;
    const stream = this.stream();
    const [start = '', ...rest] = text.split(CUT_MARK);
    const pieces = [stream.push(Buffer.from(start))];
    for (const part of rest) pieces.push(stream.release(), stream.push(Buffer.from(`${CUT_MARK}${part}`)));
    const bytes = Buffer.concat([...pieces, stream.flush()]);
    return bytes.includes(MASKED_BYTE) ? decodeMasked(bytes) : text;
  }
}

/**
 * Masks a byte stream piece by piece, whatever the pieces. What comes out is as long as what went in, with MASKED_BYTE
 * in place of each masked byte (so that positions stay known); `decodeMasked` makes text of it.
 */
export class MaskingStream {
  readonly #automaton: ByteAutomaton | null;
  #state = 0;
  /** Stream offsets: bytes taken, and bytes given out. */
  #taken = 0;
  #given = 0;
  /** The bytes between the two. */
  #held: Uint8Array = new Uint8Array(0);
  /** Masked stretches that end after `#given`, in order, none touching another. */
  #stretches: { start: number; end: number }[] = [];

  constructor(automaton: ByteAutomaton | null, masked: number) {
    this.#automaton = automaton;
    if (automaton && masked > 0) this.#stretches.push({ start: 0, end: masked });
  }

  /** False: nothing is ever masked, and 0xff in the output is the input's own. */
  get marks(): boolean {
    return this.#automaton !== null;
  }

  /** How many bytes of input are held back because they may begin a masked form. */
  get pendingInput(): number {
    return this.#taken - this.#given;
  }

  /** How many of the bytes that come out next are known to be masked. */
  get maskedAhead(): number {
    const first = this.#stretches[0];
    return first && first.start <= this.#given ? first.end - this.#given : 0;
  }

  /** Returns what is decided by now: it may be a view of `input`. */
  push(input: Uint8Array): Uint8Array {
    const automaton = this.#automaton;
    if (automaton === null) {
      this.#taken += input.length;
      this.#given = this.#taken;
      return input;
    }
    this.#scan(automaton, input);
    const decided = Math.max(this.#given, this.#taken - openSuffix(automaton, this.#state));
    return this.#give(decided, input);
  }

  /** Ends the input: returns all that is held back, masked only where a form is complete. */
  flush(): Uint8Array {
    this.#state = 0;
    return this.#give(this.#taken, new Uint8Array(0));
  }

  /** Gives up what is held back, as masked, without forgetting how far a form has been read. */
  release(): Uint8Array {
    this.#cover(this.#given, this.#taken);
    return this.#give(this.#taken, new Uint8Array(0));
  }

  #scan(automaton: ByteAutomaton, input: Uint8Array): void {
    const { next, denseStates, longest } = automaton;
    const length = input.length;
    let state = this.#state;
    for (let index = 0; index < length; index++) {
      const byte = input[index]!;
      state = state < denseStates ? next[(state << 8) | byte]! : sparseStep(automaton, state, byte);
      const matched = longest[state]!;
      if (matched !== 0) this.#cover(this.#taken + index + 1 - matched, this.#taken + index + 1);
    }
    this.#state = state;
    this.#taken += length;
  }

  #cover(from: number, to: number): void {
    let [start, end] = [from, to];
    for (let last = this.#stretches.at(-1); last && last.end >= start; last = this.#stretches.at(-1)) {
      start = Math.min(start, last.start);
      end = Math.max(end, last.end);
      this.#stretches.pop();
    }
    if (end > start) this.#stretches.push({ start, end });
  }

  /** Gives out the bytes before `decided`, of what was held and of `input`, and holds the rest. */
  #give(decided: number, input: Uint8Array): Uint8Array {
    const length = decided - this.#given;
    const fromInput = length - this.#held.length;
    let output: Uint8Array;
    if (this.#held.length === 0) {
      output = input.subarray(0, length);
      this.#held = new Uint8Array(input.subarray(length));
    } else if (fromInput >= 0) {
      output = Buffer.concat([this.#held, input.subarray(0, fromInput)]);
      this.#held = new Uint8Array(input.subarray(fromInput));
    } else {
      output = this.#held.subarray(0, length);
      this.#held = Buffer.concat([this.#held.subarray(length), input]);
    }
    output = this.#masked(output);
    this.#given = decided;
    return output;
  }

  #masked(bytes: Uint8Array): Uint8Array {
    const first = this.#stretches[0];
    const touched = first !== undefined && first.start < this.#given + bytes.length;
    if (!touched && !bytes.includes(MASKED_BYTE)) return bytes;
    const output = new Uint8Array(bytes);
    for (let at = output.indexOf(MASKED_BYTE); at !== -1; at = output.indexOf(MASKED_BYTE, at))
      output[at] = OTHER_INVALID_BYTE;
    const end = this.#given + bytes.length;
    let done = 0;
    for (const stretch of this.#stretches) {
      if (stretch.start >= end) break;
      output.fill(MASKED_BYTE, Math.max(0, stretch.start - this.#given), Math.min(stretch.end, end) - this.#given);
      if (stretch.end <= end) done++;
    }
    this.#stretches.splice(0, done);
    return output;
  }
}

/** The text of what a MaskingStream returned: each masked stretch as `***`, invalid UTF-8 as U+FFFD. */
export function decodeMasked(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = '';
  let start = 0;
  for (let masked = buffer.indexOf(MASKED_BYTE); masked !== -1; masked = buffer.indexOf(MASKED_BYTE, start)) {
    text += buffer.toString('utf8', start, masked) + MASK;
    start = masked + 1;
    while (buffer[start] === MASKED_BYTE) start++;
  }
  return text + buffer.toString('utf8', start);
}
