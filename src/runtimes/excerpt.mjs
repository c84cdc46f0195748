/** What is quoted of a program's output in a sentence: one line of it, of a bounded length. */

const MAX_EXCERPT_BYTES = 200;
const LF = 0x0a;
/** Whoever masks secrets takes what stands before it for cut off there. */
const CUT_MARK = '…';
/** What Node writes below an error. */
const TRAILER = /^Node\.js v\d/;

/**
 * A line as it is, or its beginning.
 * @param {Uint8Array} line
 * @param {boolean} [isCut] whether it is known to have gone on
 */
export function excerptOf(line, isCut = false) {
  const fits = line.length <= MAX_EXCERPT_BYTES;
  if (fits && !isCut) return new TextDecoder().decode(line).replace(/\r$/, '');
  const kept = fits ? line : line.subarray(0, MAX_EXCERPT_BYTES - Buffer.byteLength(CUT_MARK));
  return `${new TextDecoder().decode(kept, { stream: true })}${CUT_MARK}`;
}

/** The last line of a stream that tells something: neither empty nor indented, as the frames of a stack trace are. */
export class LastLine {
  /** @type {Buffer} */
  #told = Buffer.alloc(0);
  /** Of the line that has not ended yet. @type {Buffer} */
  #open = Buffer.alloc(0);

  /** @param {Buffer} bytes */
  push(bytes) {
    let end = bytes.lastIndexOf(LF);
    const open =
      end === -1 ? Buffer.concat([this.#open, bytes.subarray(0, MAX_EXCERPT_BYTES + 1)]) : bytes.subarray(end + 1);
    // From the end: of a flood of lines only the last ones matter.
    while (end !== -1) {
      const before = end === 0 ? -1 : bytes.lastIndexOf(LF, end - 1);
      const line = bytes.subarray(before + 1, end);
      if (this.#keep(before === -1 ? Buffer.concat([this.#open, line]) : line)) break;
      end = before;
    }
    this.#open = shortened(open);
  }

  /** '' where nothing was told. */
  get text() {
    return excerptOf(tells(this.#open) ? this.#open : this.#told);
  }

  /** @param {Buffer} line */
  #keep(line) {
    if (!tells(line)) return false;
    this.#told = shortened(line);
    return true;
  }
}

/** A copy, long enough to tell that more was there. @param {Buffer} line */
function shortened(line) {
  return Buffer.from(line.subarray(0, MAX_EXCERPT_BYTES + 1));
}

/** @param {Buffer} line */
function tells(line) {
  return /^\S/.test(line.toString('latin1', 0, 1)) && !TRAILER.test(line.toString('latin1', 0, 16));
}
