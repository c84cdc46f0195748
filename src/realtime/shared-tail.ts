import type { Bus } from './bus.ts';

/** What a tail holds at most: who is further behind reads by itself. */
export const TAIL_ITEMS = 2_000;
export const TAIL_BYTES = 1024 * 1024;

/** What comes after a position, in order. */
export type TailPage<Item> = {
  items: readonly Item[];
  /** Everything up to here is in the page or came before it. */
  through: number;
  /** Nothing further was stored when it was read. */
  isNewest: boolean;
};

export type TailSource<Item> = {
  bus: Bus;
  /** Announces that something was stored. */
  topic: string;
  /** Wake-ups may be lost: after this time it is looked at again anyway. */
  lookMs: number;
  /** The next page; null where something between the position and the page is gone. */
  read(after: number): Promise<TailPage<Item> | null>;
  positionOf(item: Item): number;
  sizeOf(item: Item): number;
};

/**
 * The newest items of an ordered store, for all in this process that follow it: each is read once, and the store is asked again only once
 * something was announced. Begins with the first position that it is asked for.
 */
export class SharedTail<Item> implements Disposable {
  readonly #source: TailSource<Item>;
  readonly #unsubscribe: () => void;
  #items: Item[] = [];
  /** Of each item. */
  #sizes: number[] = [];
  #bytes = 0;
  /** Its items are all that come after `from` up to `through`. */
  #from = 0;
  #through = 0;
  #isNewest = false;
  #wasAnnounced = false;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;

  constructor(source: TailSource<Item>) {
    this.#source = source;
    this.#unsubscribe = source.bus.subscribe(source.topic, () => {
      this.#wasAnnounced = true;
    });
  }

  /**
   * What comes after a position, as new as if the store were asked now: nothing is left out of what was announced before the call. Null
   * where the tail begins later.
   */
  async after(position: number): Promise<TailPage<Item> | null> {
    for (;;) {
      if (position < this.#from) return null;
      const isKnown = this.#isNewest && !this.#isDue();
      if (position < this.#through || (position === this.#through && isKnown)) {
        const first = this.#items.findLastIndex((item) => this.#source.positionOf(item) <= position) + 1;
        return { items: this.#items.slice(first), through: this.#through, isNewest: isKnown };
      }
      if (this.#reading === null && position > this.#through) this.#restart(position);
      this.#reading ??= this.#readOn().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
    }
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  #isDue(): boolean {
    return this.#wasAnnounced || performance.now() - this.#readAt >= this.#source.lookMs;
  }

  async #readOn(): Promise<void> {
    this.#wasAnnounced = false;
    // Not known again before the page is there.
    this.#isNewest = false;
    this.#readAt = performance.now();
    const page = await this.#source.read(this.#through);
    // Whoever is before a gap reads by itself what it means.
    if (page === null) return this.#restart(this.#through + 1);
    for (const item of page.items) {
      const size = this.#source.sizeOf(item);
      this.#items.push(item);
      this.#sizes.push(size);
      this.#bytes += size;
    }
    this.#through = page.through;
    this.#isNewest = page.isNewest;
    this.#trim();
  }

  #restart(position: number): void {
    this.#items = [];
    this.#sizes = [];
    this.#bytes = 0;
    this.#from = position;
    this.#through = position;
    this.#isNewest = false;
  }

  #trim(): void {
    let count = 0;
    while (this.#items.length - count > TAIL_ITEMS || this.#bytes > TAIL_BYTES) this.#bytes -= this.#sizes[count++]!;
    if (count > 0) this.#from = this.#source.positionOf(this.#items[count - 1]!);
    this.#items.splice(0, count);
    this.#sizes.splice(0, count);
  }
}

/** The tails of what two or more follow at present, by key. */
export class SharedTails<Item> {
  readonly #sourceOf: (key: string) => TailSource<Item>;
  readonly #joined = new Map<string, { followers: number; tail: SharedTail<Item> | null }>();

  constructor(sourceOf: (key: string) => TailSource<Item>) {
    this.#sourceOf = sourceOf;
  }

  /** From now on the key is followed by one more; disposing of it ends that. */
  join(key: string): TailReader<Item> {
    const joined = this.#joined.get(key) ?? { followers: 0, tail: null };
    this.#joined.set(key, joined);
    joined.followers++;
    return {
      after: async (position) => {
        if (joined.followers < 2) return null;
        joined.tail ??= new SharedTail(this.#sourceOf(key));
        return joined.tail.after(position);
      },
      [Symbol.dispose]: () => {
        joined.followers--;
        if (joined.followers >= 2) return;
        joined.tail?.[Symbol.dispose]();
        joined.tail = null;
        if (joined.followers === 0) this.#joined.delete(key);
      },
    };
  }
}

export type TailReader<Item> = Disposable & {
  /** See `SharedTail.after`; null too where nobody else follows the same: then it is cheaper to read only what is wanted. */
  after(position: number): Promise<TailPage<Item> | null>;
};
