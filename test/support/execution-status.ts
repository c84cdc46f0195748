import { eventually } from './eventually.ts';

export const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];

/** Waits until an execution, as it is read, has one of the states; rejects at once where it ends in another. */
export function untilStatus<T extends { status: string }>(read: () => Promise<T>, statuses: string[]): Promise<T> {
  return eventually(`it is ${statuses.join(' or ')}`, async () => {
    const execution = await read();
    if (statuses.includes(execution.status)) return execution;
    if (FINAL.includes(execution.status)) throw new Error(`it ended: ${JSON.stringify(execution)}`);
    return null;
  });
}
