/** So many bytes each numbered line has, its end included. */
export const LINE_BYTES = 60;
const DIGITS = 7;
const LF = 0x0a;
const ZERO = 0x30;
/** A reader to whom nothing comes for so long gets no more. */
const STALL_MS = 20_000;
const TEXT = 'GET /items 200 in 12 ms, as programs usually write them'.slice(0, LINE_BYTES - DIGITS - 2);

/** A shell script that writes so many numbered lines as fast as it can, and then stays. */
export function writerScript(lines: number): string {
  return `awk 'BEGIN { for (i = 0; i < ${lines}; i++) printf "%0${DIGITS}d ${TEXT}\\n", i }'; exec tail -f /dev/null`;
}

/** Whether numbered lines come each once, whole and in order. */
export class LineCheck {
  readonly #total: number;
  readonly #end = Promise.withResolvers<void>();
  #expected = 0;
  #number = 0;
  #column = 0;
  /** Lines that are not the one after the former: each stands for something that is missing, came twice or is broken. */
  wrong = 0;
  #came = 0;
  #begun = Number.NaN;
  #last = Number.NaN;
  readonly #stall: NodeJS.Timeout;

  constructor(total: number) {
    this.#total = total;
    this.#stall = setTimeout(() => this.#finish(), STALL_MS);
  }

  /** Resolves when the last line came, or none came for too long. */
  get end(): Promise<void> {
    return this.#end.promise;
  }

  /** Lines that never came. */
  get missing(): number {
    return this.#total - this.#came;
  }

  /** Of those that came, from the first to the last. */
  get linesPerSecond(): number {
    return this.#came / ((this.#last - this.#begun) / 1_000);
  }

  bytes(bytes: Uint8Array): void {
    this.#hear();
    for (const byte of bytes) {
      if (this.#column < DIGITS) this.#number = this.#number * 10 + byte - ZERO;
      this.#column += 1;
      if (byte !== LF) continue;
      this.#take(this.#number, this.#column === LINE_BYTES);
      this.#column = 0;
      this.#number = 0;
    }
  }

  /** A line without its end. */
  line(text: string): void {
    this.#hear();
    this.#take(Number(text.slice(0, DIGITS)), text.length === LINE_BYTES - 1);
  }

  #hear(): void {
    this.#last = performance.now();
    if (Number.isNaN(this.#begun)) this.#begun = this.#last;
    this.#stall.refresh();
  }

  #take(number: number, isWhole: boolean): void {
    if (number !== this.#expected || !isWhole) this.wrong += 1;
    this.#expected = number + 1;
    this.#came += 1;
    if (this.#expected === this.#total) this.#finish();
  }

  #finish(): void {
    clearTimeout(this.#stall);
    this.#end.resolve();
  }
}
