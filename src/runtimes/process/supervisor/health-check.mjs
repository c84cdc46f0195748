/** Probes one process until it is stopped. Times follow Compose; before the first success it also probes in between, which counts only when it succeeds. */
import { spawn } from 'node:child_process';
import { excerptOf } from '../../excerpt.mjs';
import { signalGroup } from './process-identity.mjs';

/** @import { Healthcheck } from '../../runtime.ts' */

const FIRST_PROBE_MS = 100;
const MAX_OUTPUT_BYTES = 4 * 1024;
/** So long the output of an ended probe is awaited where another process holds its pipes open. */
const LAST_OUTPUT_MS = 200;

/**
 * @typedef {{ healthy: true } | { healthy: false, reason: string }} Verdict
 * @typedef {{ cwd: string, env: Record<string, string>, uid?: number, gid?: number }} Surroundings
 */

export class HealthCheck {
  #check;
  #surroundings;
  #onVerdict;
  #startedAt = Date.now();
  #failures = 0;
  #early = FIRST_PROBE_MS;
  #nextCounted;
  #succeeded = false;
  #stopped = false;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** @type {number | null} */
  #probePid = null;

  /**
   * @param {Healthcheck} check
   * @param {Surroundings} surroundings of the service itself
   * @param {(verdict: Verdict) => void} onVerdict called when the verdict changes
   */
  constructor(check, surroundings, onVerdict) {
    this.#check = check;
    this.#surroundings = surroundings;
    this.#onVerdict = onVerdict;
    this.#nextCounted = this.#startedAt + this.#interval();
    this.#schedule(0, false);
  }

  stop() {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#probePid !== null) signalGroup(this.#probePid, 'SIGKILL');
  }

  #interval() {
    const starting = !this.#succeeded && Date.now() - this.#startedAt < this.#check.startPeriodMs;
    return starting ? this.#check.startIntervalMs : this.#check.intervalMs;
  }

  /** @param {number} delayMs @param {boolean} counted */
  #schedule(delayMs, counted) {
    if (this.#stopped) return;
    this.#timer = setTimeout(
      () => {
        this.#probe((failure) => this.#conclude(failure, counted));
      },
      Math.max(0, delayMs),
    );
  }

  /** @param {string | null} failure @param {boolean} counted */
  #conclude(failure, counted) {
    if (this.#stopped) return;
    const now = Date.now();
    if (failure === null) {
      this.#succeeded = true;
      this.#failures = 0;
      this.#onVerdict({ healthy: true });
    } else if (counted && (this.#succeeded || now - this.#startedAt >= this.#check.startPeriodMs)) {
      this.#failures += 1;
      if (this.#failures >= this.#check.retries) this.#onVerdict({ healthy: false, reason: failure });
    }
    if (counted || this.#succeeded) this.#nextCounted = now + this.#interval();
    const early = this.#succeeded ? Number.POSITIVE_INFINITY : now + this.#early;
    this.#early *= 2;
    const next = Math.min(early, this.#nextCounted);
    this.#schedule(next - now, next === this.#nextCounted);
  }

  /** @param {(failure: string | null) => void} done null: it succeeded */
  #probe(done) {
    const [program = '', ...args] = this.#check.argv;
    let output = Buffer.alloc(0);
    let timedOut = false;
    const child = spawn(program, args, { ...this.#surroundings, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const { pid } = child;
    this.#probePid = pid ?? null;
    const collect = (/** @type {Buffer} */ bytes) => {
      if (output.length < MAX_OUTPUT_BYTES) output = Buffer.concat([output, bytes]).subarray(0, MAX_OUTPUT_BYTES);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const deadline = setTimeout(() => {
      timedOut = true;
      if (pid !== undefined) signalGroup(pid, 'SIGKILL');
    }, this.#check.timeoutMs);
    let ended = false;
    const end = (/** @type {string | null} */ failure) => {
      if (ended) return;
      ended = true;
      clearTimeout(deadline);
      this.#probePid = null;
      if (pid !== undefined) signalGroup(pid, 'SIGKILL');
      child.stdout.destroy();
      child.stderr.destroy();
      done(failure);
    };
    child.on('error', (error) => {
      const { code } = /** @type {NodeJS.ErrnoException} */ (error);
      end(code === 'ENOENT' ? `command not found: ${program}` : `could not run ${program}: ${code ?? error.message}`);
    });
    child.on('exit', (code, signal) => {
      const failure = () => {
        if (timedOut) return withOutput(`no answer within ${this.#check.timeoutMs} ms`, output);
        if (code === 0) return null;
        return withOutput(signal ? `killed by ${signal}` : `exit ${code}`, output);
      };
      child.once('close', () => end(failure()));
      setTimeout(() => end(failure()), LAST_OUTPUT_MS);
    });
  }
}

/** @param {string} cause @param {Buffer} output */
function withOutput(cause, output) {
  const start = output.findIndex((byte) => !isBlank(byte));
  if (start === -1) return cause;
  const end = output.indexOf('\n', start);
  const goesOn = end === -1 && output.length === MAX_OUTPUT_BYTES;
  return `${cause}: ${excerptOf(output.subarray(start, end === -1 ? undefined : end), goesOn)}`;
}

/** @param {number} byte */
function isBlank(byte) {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
