import type { PrismaClient, Transaction } from '../db/client.ts';
import { isMissingParent } from '../db/missing-parent.ts';
import { notifyTopics } from '../realtime/bus.ts';
import { appendEvents, type NewEvent } from '../realtime/event-log.ts';
import { NotFoundError } from '../shared/errors.ts';
import type { Caller } from './services.ts';

/** Takes note of an event, or of a topic to wake, for the end of the transaction. */
export type Recorder = {
  event(event: Omit<NewEvent, 'actor'>): void;
  /** The user's rights changed: whatever they follow looks at its permission again. */
  accessChanged(userId: string): void;
};

/** The topic that wakes what a user follows when their membership or role changed. */
export const accessTopic = (userId: string): string => `access:${userId}`;

/**
 * Runs `work` in one transaction; what it recorded becomes its last statements, so that no event is told whose rows are not stored.
 * Throws a NotFoundError where what it adds to was deleted meanwhile.
 */
export async function change<T>(
  prisma: PrismaClient,
  caller: Caller,
  work: (tx: Transaction, record: Recorder) => Promise<T>,
): Promise<T> {
  const changed = prisma.$transaction(async (tx) => {
    const events: NewEvent[] = [];
    const topics = new Set<string>();
    const result = await work(tx, {
      event: (event) => events.push({ ...event, actor: { type: 'user', id: caller.userId } }),
      accessChanged: (userId) => topics.add(accessTopic(userId)),
    });
    await notifyTopics(tx, [...topics]);
    await appendEvents(tx, events);
    return result;
  });
  return changed.catch((error: unknown) => {
    throw isMissingParent(error) ? new NotFoundError('object') : error;
  });
}
