/** What the restarts of one instance have in common: how long to wait before the next one, and how it began. */

/**
 * `exitCode` as a shell would say it: 128 + n after signal n; `said`: what it told of its error at the end, '' where there is nothing.
 * @typedef {{ exitCode: number, message: string, said: string }} End
 */

export const FIRST_DELAY_MS = 100;
export const MAX_DELAY_MS = 10_000;
/** A run of this length ends the loop: what fails after it fails for the first time. */
export const STABLE_RUN_MS = 10_000;

export class CrashLoop {
  /** Restarts in this loop. */
  restarts = 0;
  #delayMs = FIRST_DELAY_MS;
  /** @type {End | null} */
  #first = null;
  /** @type {End | null} */
  #last = null;

  /** @param {End} end of the last run @param {number} ranMs how long it lasted */
  add(end, ranMs) {
    if (ranMs >= STABLE_RUN_MS) {
      this.#delayMs = FIRST_DELAY_MS;
      this.#first = null;
      this.restarts = 0;
    }
    this.#first ??= end;
    this.#last = end;
  }

  countRestart() {
    this.restarts += 1;
  }

  /** How long to wait before the next start; longer each time, up to a bound. */
  nextDelayMs() {
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(delayMs * 2, MAX_DELAY_MS);
    return delayMs;
  }

  /** One clause: the first error, since what comes after it often only follows from it, then the last one where it is another. */
  describe() {
    const [first, last] = [this.#first, this.#last];
    if (!first || !last) return '';
    const count = this.restarts === 0 ? '' : `, restarted ${times(this.restarts)}`;
    return `${quoting(first)}${count}${last.message === first.message ? '' : `, last: ${quoting(last)}`}`;
  }
}

/** @param {number} count */
export function times(count) {
  return count === 1 ? 'once' : `${count} times`;
}

/** @param {End} end */
function quoting({ message, said }) {
  return said === '' ? message : `${message} (${said})`;
}
