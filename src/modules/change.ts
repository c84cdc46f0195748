import type { PrismaClient, Transaction } from '../db/client.ts';
import { isMissingParent } from '../db/missing-parent.ts';
import { notifyTopics } from '../realtime/bus.ts';
import { type Actor, appendEvents, type NewEvent } from '../realtime/event-log.ts';
import { NotFoundError } from '../shared/errors.ts';
import { actorOf, type Caller } from './services.ts';

/** Takes note of an event, or of a topic to wake, for the end of the transaction. */
export type Recorder = {
  /** Without an actor it was whoever the change is made for. */
  event(event: Omit<NewEvent, 'actor'> & { actor?: Actor }): void;
  /** The user's rights changed: whatever they follow looks at its permission again. */
  accessChanged(userId: string): void;
};

/** The topic that wakes what a user follows when their membership or role changed. */
export const accessTopic = (userId: string): string => `access:${userId}`;

type Work<T> = (tx: Transaction, record: Recorder) => Promise<T>;

/**
 * Runs `work` in one transaction; what it recorded becomes its last statements, so that no event is told whose rows are not stored.
 * Throws a NotFoundError where what it adds to was deleted meanwhile.
 */
export async function change<T>(prisma: PrismaClient, caller: Caller, work: Work<T>): Promise<T> {
  return changeAs(prisma, actorOf(caller), work);
}

/** The same for what no person asked for. */
export async function changeBySystem<T>(prisma: PrismaClient, work: Work<T>): Promise<T> {
  return changeAs(prisma, { type: 'system', id: null }, work);
}

async function changeAs<T>(prisma: PrismaClient, actor: Actor, work: Work<T>): Promise<T> {
  const changed = prisma.$transaction(async (tx) => {
    const events: NewEvent[] = [];
    const topics = new Set<string>();
    const result = await work(tx, {
      event: (event) => events.push({ actor, ...event }),
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
