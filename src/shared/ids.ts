import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;
let lastMs = 0;
let counter = 0;
const COUNTER_LIMIT = 0xfff;

/** A new UUIDv7 (RFC 9562): sorts by time of making, also within one millisecond of one process. */
export function newId(nowMs: number = Date.now()): string {
  if (used + 10 > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const random = pool.subarray(used, used + 10);
  used += 10;
  if (nowMs > lastMs) {
    lastMs = nowMs;
    counter = ((random[0]! << 8) | random[1]!) & 0x7ff;
  } else if (++counter > COUNTER_LIMIT) {
    lastMs += 1;
    counter = 0;
  }
  const time = lastMs.toString(16).padStart(12, '0');
  const tail = Buffer.from(random.subarray(2)).toString('hex');
  const variant = ((random[2]! & 0x3f) | 0x80).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, '0')}-${variant}${tail.slice(2, 4)}-${tail.slice(4)}`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text is a UUID in its canonical, lower-case form: safe to hand to PostgreSQL. */
export function isId(text: string): boolean {
  return UUID.test(text);
}
