import { constants } from 'node:os';

/** The longest time that a compose file may ask for: what a timer of Node can wait. */
export const MAX_DURATION_MS = 24 * 24 * 60 * 60 * 1000;

const DURATION_UNITS = new Map(
  Object.entries({
    ns: 0.000_001,
    us: 0.001,
    µs: 0.001,
    ms: 1,
    s: 1000,
    m: 60_000,
    h: 3_600_000,
    d: 86_400_000,
    w: 604_800_000,
  }),
);

/** "1m30s" in milliseconds, rounded; null for what is no duration or longer than MAX_DURATION_MS. */
export function parseDuration(text: string): number | null {
  if (text === '0') return 0;
  if (!/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h|d|w))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)/g)) {
    total += Number(amount) * DURATION_UNITS.get(unit!)!;
  }
  const rounded = Math.round(total);
  return rounded <= MAX_DURATION_MS ? rounded : null;
}

/** Milliseconds as a compose file writes them: "90000ms" is "1m30s". */
export function formatDuration(milliseconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(milliseconds / 3_600_000), 'h'],
    [Math.floor(milliseconds / 60_000) % 60, 'm'],
    [Math.floor(milliseconds / 1000) % 60, 's'],
    [milliseconds % 1000, 'ms'],
  ];
  return parts.map(([amount, unit]) => (amount > 0 ? `${amount}${unit}` : '')).join('') || '0s';
}

const BYTE_UNITS = new Map(
  Object.entries({
    '': 0,
    b: 0,
    k: 1,
    kb: 1,
    kib: 1,
    m: 2,
    mb: 2,
    mib: 2,
    g: 3,
    gb: 3,
    gib: 3,
    t: 4,
    tb: 4,
    tib: 4,
    p: 5,
    pb: 5,
    pib: 5,
  }),
);

/** "64m" in bytes (units are powers of 1024); null for what is no size. */
export function parseBytes(text: string): number | null {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text) ?? [];
  const power = unit === undefined ? undefined : BYTE_UNITS.get(unit.toLowerCase());
  if (amount === undefined || power === undefined) return null;
  const bytes = Math.round(Number(amount) * 1024 ** power);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** "TERM", "sigterm" or "15" as "SIGTERM"; null for no signal of this system. */
export function parseSignal(text: string): string | null {
  const signals = Object.entries(constants.signals);
  if (/^\d+$/.test(text)) return signals.find(([, number]) => number === Number(text))?.[0] ?? null;
  const name = text.toUpperCase();
  const full = name.startsWith('SIG') ? name : `SIG${name}`;
  return signals.some(([signal]) => signal === full) ? full : null;
}
