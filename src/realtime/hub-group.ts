import { delay } from '../shared/clock.ts';
import type { OpenFeed } from './feed.ts';

/** A busy feed is told in batches of at least this time; an idle one's next item at once. */
export const BATCH_INTERVAL_MS = 5;
/** How many items a follower may be behind and still be told what the others were: older ones it reads again by itself. */
export const RECENT_ITEMS = 8;

/** What an item becomes for everybody who is told the same. */
export type Render<Item, Payload> = (item: Item) => Promise<Payload>;

export type ToldItem<Item, Payload> = {
  item: Item;
  payload: Payload;
  /** The positions where the item before it ended and where it ends. */
  from: number;
  through: number;
};

/** Is called for each item as it comes, and once when no more will come. Must not throw. */
export type Member<Item, Payload> = {
  tell(told: ToldItem<Item, Payload>): void;
  wake(): void;
};

/** All that follow the same and are up to date: one reads and renders for them, from the first member's coming to the last one's leaving. */
export class HubGroup<Item, Payload> {
  readonly #members = new Set<Member<Item, Payload>>();
  readonly #stop = new AbortController();
  readonly #render: Render<Item, Payload>;
  readonly #onEnd: () => void;
  readonly #recent: ToldItem<Item, Payload>[] = [];
  #position: number;
  #end: { error: unknown } | null = null;

  constructor(feed: OpenFeed<Item>, position: number, render: Render<Item, Payload>, onEnd: () => void) {
    this.#position = position;
    this.#render = render;
    this.#onEnd = onEnd;
    void this.#run(feed);
  }

  /** Where the last item ended. */
  get position(): number {
    return this.#position;
  }

  /** Set once no more items come: null as error where the feed is complete. */
  get end(): { error: unknown } | null {
    return this.#end;
  }

  /** Whether everything after the position is still to be told, or told lately. */
  covers(position: number): boolean {
    return position >= (this.#recent[0]?.from ?? this.#position);
  }

  /** The item that goes on beyond the position; null where none does yet, undefined where it was told too long ago. */
  after(position: number): ToldItem<Item, Payload> | null | undefined {
    if (!this.covers(position)) return undefined;
    return this.#recent.find(({ through }) => through > position) ?? null;
  }

  add(member: Member<Item, Payload>): void {
    this.#members.add(member);
  }

  remove(member: Member<Item, Payload>): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#stop.abort();
    this.#onEnd();
  }

  async #run(feed: OpenFeed<Item>): Promise<void> {
    const { signal } = this.#stop;
    let error: unknown = null;
    try {
      for await (const item of feed.live(this.#position, signal)) {
        if (feed.isMark?.(item)) continue;
        const begun = performance.now();
        const payload = await this.#render(item);
        if (signal.aborted) return;
        this.#tell({ item, payload, from: this.#position, through: feed.positionOf(item) });
        // Telling many takes a while: as long again belongs to others.
        await delay(Math.max(BATCH_INTERVAL_MS, performance.now() - begun), signal);
      }
    } catch (cause) {
      error = cause;
    }
    this.#end = { error };
    this.#onEnd();
    for (const member of [...this.#members]) member.wake();
  }

  #tell(told: ToldItem<Item, Payload>): void {
    this.#recent.push(told);
    if (this.#recent.length > RECENT_ITEMS) this.#recent.shift();
    this.#position = told.through;
    for (const member of this.#members) member.tell(told);
  }
}
