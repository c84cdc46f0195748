import { setTimeout as sleep } from 'node:timers/promises';

const DEADLINE_MS = 60_000;
const POLL_MS = 10;

/** Resolves with the first value that is neither null, undefined nor false; rejects with what was awaited after a deadline. */
export async function eventually<Value>(
  what: string,
  look: () => Promise<Value> | Value,
  { deadlineMs = DEADLINE_MS, pollMs = POLL_MS } = {},
): Promise<NonNullable<Value>> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value as NonNullable<Value>;
    if (Date.now() > deadline) throw new Error(`${what}: did not happen within ${deadlineMs} ms`);
    await sleep(pollMs);
  }
}
