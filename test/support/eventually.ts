import { setTimeout as sleep } from 'node:timers/promises';

const DEADLINE_MS = 60_000;
const FIRST_POLL_MS = 10;
const LONGEST_POLL_MS = 100;
/** Each look comes so much later than the one before: what takes long is not looked at all the time. */
const POLL_GROWTH = 1.3;

/**
 * Resolves with the first value that is neither null, undefined nor false; rejects with what was awaited after a deadline. `pollMs`: the
 * time between two looks, where it is always the same.
 */
export async function eventually<Value>(
  what: string,
  look: () => Promise<Value> | Value,
  { deadlineMs = DEADLINE_MS, pollMs }: { deadlineMs?: number; pollMs?: number } = {},
): Promise<NonNullable<Value>> {
  const deadline = Date.now() + deadlineMs;
  for (let wait = FIRST_POLL_MS; ; wait = Math.min(wait * POLL_GROWTH, LONGEST_POLL_MS)) {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value as NonNullable<Value>;
    if (Date.now() > deadline) throw new Error(`${what}: did not happen within ${deadlineMs} ms`);
    await sleep(pollMs ?? wait);
  }
}
