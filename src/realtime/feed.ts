import { OUTAGE_PATIENCE_MS, retry } from './retry.ts';

/** What a subscription follows, before anyone has looked whether it may. Iterated by itself it serves its one follower alone. */
export class Feed<Item, Told extends Item = Item> implements AsyncIterable<Told> {
  /** Authorizes. Throws what tells the follower why it may not, or may no longer. */
  readonly open: () => Promise<OpenFeed<Item>>;
  readonly #signal: AbortSignal;

  constructor(open: () => Promise<OpenFeed<Item>>, signal: AbortSignal) {
    this.open = () => retry(open, { signal, patienceMs: OUTAGE_PATIENCE_MS });
    this.#signal = signal;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Told, void> {
    try {
      const feed = await this.open();
      for await (const item of feed.own()) if (!feed.isMark?.(item)) yield item as Told;
    } catch (error) {
      if (!this.#signal.aborted) throw error;
    }
  }
}

/** A feed that its follower may follow. Items end at positions, which rise; followers of one topic are told the same items. */
export type OpenFeed<Item> = {
  /** What is followed, by whom in which organization and role as far as that matters. */
  topic: string;
  /** Replay, then live, for this follower alone, whose permission is looked at as it goes on. */
  own(): AsyncGenerator<Item, void>;
  /** Live from a position on, for whoever follows the topic: nobody's permission is looked at, and none of the opener's own things are used. */
  live(position: number, signal: AbortSignal): AsyncGenerator<Item, void>;
  /** Where an item ends. */
  positionOf(item: Item): number;
  /** Whether an item only marks a position, and is not told. Absent: none does. */
  isMark?(item: Item): boolean;
  /** Whether the follower was at the live end when the item was read. */
  isLive(item: Item): boolean;
  /**
   * What of a live item comes after a position before its end: the very item where all of it does, null where nothing does,
   * undefined where only storage can tell.
   */
  rest(item: Item, position: number): Item | null | undefined;
  /** Calls back whenever the follower's rights may have changed: `open` tells whether it may go on. Returns what stops that. */
  watchRights(onChange: () => void): () => void;
};
