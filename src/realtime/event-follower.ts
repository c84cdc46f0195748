import type { Pool } from 'pg';
import { DAY_MS, SECOND_MS } from '../shared/clock.ts';
import type { Bus } from './bus.ts';
import { decodeEventCursor, encodeEventCursor, InvalidCursorError } from './cursor.ts';
import { eventsTopic } from './event-log.ts';
import { type EventRange, type EventSelection, isSelected, readEvents, type StoredEvent } from './event-store.ts';
import { OUTAGE_PATIENCE_MS, retry } from './retry.ts';
import { SharedTails, type TailReader } from './shared-tail.ts';

/** Wake-ups may be lost: events and permission are looked at again so often, at the latest. */
export const LOOK_MS = 5 * SECOND_MS;
/** How long events are kept. */
export const EVENT_RETENTION_MS = 90 * DAY_MS;

/** How many events a tail reads at a time. */
const TAIL_READ_EVENTS = 500;
/** What an event takes in memory beside its data, roughly. */
const EVENT_OVERHEAD_BYTES = 400;

/** What came after the cursor is no longer kept: going on from it would leave out events in silence. */
export class EventsGoneError extends InvalidCursorError {
  constructor() {
    const days = EVENT_RETENTION_MS / DAY_MS;
    super(
      `this cursor is too old, events are kept for ${days} days: read what you follow again, then go on from the organization's eventCursor`,
    );
  }
}

export type EventFollowing<Standing extends { organizationId: string }, Item> = {
  pool: Pool;
  bus: Bus;
  /** What it reads from, where others follow the same organization, once it is live; absent: always from the database. */
  tails?: SharedTails<StoredEvent>;
  /** What the follower is entitled to; throws where it may not follow, or not any more. */
  authorize(): Promise<Standing>;
  /** The topic that tells of changes of that; absent: somebody else looks after them. */
  rightsTopic?: string;
  /** A cursor of the organization: what came after it comes first. Absent: from now on. */
  after: string | null | undefined;
  /** Which events, as long as the entitlement is this one. */
  select(standing: Standing): EventSelection;
  /** How many events a page has at most. */
  limit: number;
  /** What a page tells of its events. */
  load(events: StoredEvent[]): Promise<Item[]>;
  signal: AbortSignal;
  now?: () => number;
};

export type EventsPage<Item> = {
  items: Item[];
  /** Where it ends: every selected event up to there was told. */
  through: number;
  endCursor: string;
  /** Whether these are all that there are at present. */
  isLast: boolean;
  /** Throws once it is no longer allowed: for who tells the items one by one. */
  requireStill(): Promise<void>;
};

/**
 * An organization's events in the order of commits: from storage up to now, then live without a seam, always read from storage, page by
 * page; pages may be empty. Throws what `authorize` does, InvalidCursorError for a cursor of elsewhere, EventsGoneError for one too old.
 * Ends when the signal aborts.
 */
export async function* followEvents<Standing extends { organizationId: string }, Item>(
  following: EventFollowing<Standing, Item>,
): AsyncGenerator<EventsPage<Item>, void> {
  const { pool, bus, rightsTopic, after, limit, signal, now = Date.now } = following;
  const insist = <T>(work: () => Promise<T>) => retry(work, { signal, patienceMs: OUTAGE_PATIENCE_MS });
  try {
    let standing = await insist(following.authorize);
    const { organizationId } = standing;
    const start = after == null ? null : decodeEventCursor(after, organizationId);
    using resources = new DisposableStack();
    let tail: TailReader<StoredEvent> | undefined;
    using watch = bus.watch([eventsTopic(organizationId), ...(rightsTopic ? [rightsTopic] : [])]);
    // What changed before the watch began went unheard.
    let checkedAt = Number.NEGATIVE_INFINITY;
    const requireStill = async () => {
      if (now() - checkedAt < LOOK_MS && !(rightsTopic && watch.has(rightsTopic))) return;
      const at = now();
      standing = await insist(following.authorize);
      checkedAt = at;
    };
    let position = start;
    for (;;) {
      await requireStill();
      const selection = following.select(standing);
      const query = { ...selection, limit };
      const page = await insist(
        async () => (await readTail(tail, position, query)) ?? readEvents(pool, organizationId, position, query),
      );
      if (page.isGone) throw new EventsGoneError();
      const { events, through, isLast } = page;
      const items = events.length > 0 ? await insist(() => following.load(events)) : [];
      position = through;
      yield { items, through, endCursor: encodeEventCursor(organizationId, through), isLast, requireStill };
      if (!isLast) continue;
      tail ??= following.tails && resources.use(following.tails.join(organizationId));
      await watch.wait(LOOK_MS, signal);
      signal.throwIfAborted();
      checkedAt = Number.NEGATIVE_INFINITY;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Tails of events, by the id of the organization. */
export function createEventTails(pool: Pool, bus: Bus): SharedTails<StoredEvent> {
  return new SharedTails((organizationId) => ({
    bus,
    topic: eventsTopic(organizationId),
    lookMs: LOOK_MS,
    positionOf: ({ sequence }) => sequence,
    sizeOf: ({ data }) => EVENT_OVERHEAD_BYTES + JSON.stringify(data).length,
    async read(after) {
      const page = await readEvents(pool, organizationId, after, { types: null, limit: TAIL_READ_EVENTS });
      return page.isGone ? null : { items: page.events, through: page.through, isNewest: page.isLast };
    },
  }));
}

/** What `readEvents` would find; null where the tail cannot tell. */
async function readTail(
  tail: TailReader<StoredEvent> | undefined,
  position: number | null,
  { limit, ...selection }: EventSelection & { limit: number },
): Promise<EventRange | null> {
  const page = position === null ? null : await tail?.after(position);
  if (!page) return null;
  const selected = page.items.filter((event) => isSelected(event, selection));
  const events = selected.slice(0, limit);
  const isFull = events.length === limit;
  const through = isFull ? events.at(-1)!.sequence : page.through;
  return { events, through, isLast: page.isNewest && through === page.through, isGone: false };
}
