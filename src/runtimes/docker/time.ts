export const NS_PER_MS = 1_000_000n;
const NEVER = '0001-01-01T00:00:00Z';

/** Nanoseconds since the epoch of an RFC 3339 time in UTC, as the engine writes it; null: it says that there is none. */
export function nanoseconds(time: string | undefined): bigint | null {
  if (!time || time === NEVER) return null;
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
  const seconds = Date.parse(`${time.slice(0, 19)}Z`);
  return BigInt(seconds) * NS_PER_MS + BigInt(fraction.padEnd(9, '0').slice(0, 9));
}

/** Of the clock here, in nanoseconds since the epoch. */
export function nowNs(): bigint {
  return BigInt(Date.now()) * NS_PER_MS;
}

export function milliseconds(time: bigint): number {
  return Number(time / NS_PER_MS);
}

/** "1795563492.000000001", as the engine takes times. */
export function engineTime(time: bigint): string {
  return `${time / 1_000_000_000n}.${String(time % 1_000_000_000n).padStart(9, '0')}`;
}

const SECOND_LENGTH = 19;
const END = 29;
const [DOT, ZERO, NINE, UTC, BLANK] = [...Buffer.from('.09Z ')];

/** Reads times in the engine's own form, "2026-11-24T23:38:12.403282593Z ", of which most lie in the second of the one before. */
export class TimeReader {
  #second = '';
  #start = 0n;

  /** Nanoseconds since the epoch; null: nothing in that form lies there. */
  read(bytes: Buffer, at: number): bigint | null {
    if (bytes[at + SECOND_LENGTH] !== DOT || bytes[at + END] !== UTC || bytes[at + END + 1] !== BLANK) return null;
    let fraction = 0;
    for (let index = at + SECOND_LENGTH + 1; index < at + END; index += 1) {
      const digit = bytes[index]!;
      if (digit < ZERO! || digit > NINE!) return null;
      fraction = fraction * 10 + digit - ZERO!;
    }
    const second = bytes.toString('latin1', at, at + SECOND_LENGTH);
    if (second !== this.#second) {
      const start = nanoseconds(`${second}Z`);
      if (start === null) return null;
      this.#start = start;
      this.#second = second;
    }
    return this.#start + BigInt(fraction);
  }
}
