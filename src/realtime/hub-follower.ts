import type { OpenFeed } from './feed.ts';
import type { Following, Hub } from './hub.ts';
import type { HubGroup, Member, ToldItem } from './hub-group.ts';

/** Takes payloads as they come. */
export type Sink<Payload> = {
  write(payload: Payload): void;
  /** It has more in hand than it should: nothing is written until it has drained. */
  readonly isBehind: boolean;
  /** Resolves when it takes more, or the signal aborts. */
  drained(signal: AbortSignal): Promise<void>;
};

const DONE = { done: true as const, value: undefined };

/**
 * One follower of a feed: by itself as long as it replays or is behind, told with the others of its group once it is up to date. Pulled
 * like any iterator, or pushing into a sink: then its iterator only ends.
 */
export class Follower<Item, Payload> implements AsyncIterableIterator<Payload>, Member<Item, Payload> {
  readonly #following: Following<Item, Payload>;
  readonly #hub: Hub;
  #feed: OpenFeed<Item> | null = null;
  #unwatch: (() => void) | null = null;
  #rightsChanged = false;
  /** Where the last item that it was told ended; null before the first. */
  #position: number | null = null;
  #own: { items: AsyncGenerator<Item, void>; end: AbortController | null } | null = null;
  #group: HubGroup<Item, Payload> | null = null;
  /** Set while it is told with the others directly. */
  #sink: Sink<Payload> | null = null;
  #woken: (() => void) | null = null;
  #pushing: Promise<IteratorResult<Payload>> | null = null;
  #isOver = false;

  constructor(following: Following<Item, Payload>, hub: Hub) {
    this.#following = following;
    this.#hub = hub;
    following.signal.addEventListener('abort', () => this.wake(), { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Payload>> {
    return this.#pushing ?? this.#pull();
  }

  async return(): Promise<IteratorResult<Payload>> {
    this.#finish();
    return DONE;
  }

  async throw(error: unknown): Promise<IteratorResult<Payload>> {
    this.#finish();
    throw error;
  }

  /** From now on payloads go into the sink; `next` settles with the end. */
  pushTo(sink: Sink<Payload>): void {
    this.#pushing = this.#push(sink);
    // Told through `next`.
    this.#pushing.catch(() => undefined);
  }

  tell(told: ToldItem<Item, Payload>): void {
    const sink = this.#sink;
    if (sink === null || this.#position !== told.from) {
      this.wake();
      return;
    }
    this.#position = told.through;
    sink.write(told.payload);
    if (sink.isBehind) this.wake();
  }

  wake(): void {
    this.#sink = null;
    this.#woken?.();
  }

  async #pull(): Promise<IteratorResult<Payload>> {
    try {
      const payload = await this.#step();
      if (payload !== null) return { done: false, value: payload };
    } catch (error) {
      this.#finish();
      throw error;
    }
    this.#finish();
    return DONE;
  }

  async #push(sink: Sink<Payload>): Promise<IteratorResult<Payload>> {
    const { signal } = this.#following;
    try {
      while (!signal.aborted && !this.#isOver) {
        if (sink.isBehind) {
          this.#leave();
          await this.#drained(sink);
          if (this.#feed && this.#rightsChanged) await this.#open();
          else this.#rejoin();
        } else if (this.#isUpToDate()) {
          await this.#news(sink);
        } else if (!(await this.#pushOne(sink))) break;
      }
      return DONE;
    } finally {
      this.#finish();
    }
  }

  /** The next payload into the sink; false where none follows. By itself, so that nothing holds on to the payload while it waits for more. */
  async #pushOne(sink: Sink<Payload>): Promise<boolean> {
    const payload = await this.#step();
    if (payload !== null) sink.write(payload);
    return payload !== null;
  }

  /** The next payload; null where none follows. */
  async #step(): Promise<Payload | null> {
    const { signal } = this.#following;
    while (!signal.aborted && !this.#isOver) {
      if (this.#feed === null || this.#rightsChanged) await this.#open();
      const payload = this.#group ? await this.#fromGroup(this.#group) : await this.#byItself(this.#feed!);
      if (payload !== undefined) return payload;
    }
    return null;
  }

  /** Undefined: look again. */
  async #fromGroup(group: HubGroup<Item, Payload>): Promise<Payload | null | undefined> {
    const position = this.#position!;
    const told = group.after(position);
    if (told === null && group.end === null) return void (await this.#news(null));
    if (told) {
      const rest = position === told.from ? told.item : this.#feed!.rest(told.item, position);
      if (rest !== undefined) {
        this.#position = told.through;
        if (rest === null) return undefined;
        return rest === told.item ? told.payload : this.#following.render(rest);
      }
    }
    this.#leave();
    if (told !== null || group.end === null) return undefined;
    if (group.end.error) throw group.end.error;
    return null;
  }

  async #byItself(feed: OpenFeed<Item>): Promise<Payload | null | undefined> {
    this.#own ??= this.#begin(feed);
    const { items, end } = this.#own;
    const { value: item, done } = await items.next();
    if (done || item === undefined) {
      this.#own = null;
      return end?.signal.aborted ? undefined : null;
    }
    const payload = feed.isMark?.(item) ? undefined : await this.#following.render(item);
    // What is rendered may be newer than what was read.
    this.#position = feed.positionOf(item);
    if (feed.isLive(item) && !this.#isOver) this.#join(feed);
    return payload;
  }

  #begin(feed: OpenFeed<Item>) {
    if (this.#position === null) return { items: feed.own(), end: null };
    const end = new AbortController();
    return { items: feed.live(this.#position, end.signal), end };
  }

  async #open(): Promise<void> {
    const former = this.#feed;
    this.#rightsChanged = false;
    const feed = await this.#following.feed.open();
    this.#feed = feed;
    if (this.#isOver || former?.topic === feed.topic) return;
    this.#unwatch?.();
    this.#unwatch = feed.watchRights(() => {
      this.#rightsChanged = true;
      this.#own?.end?.abort();
      this.wake();
    });
    const wasJoined = this.#group !== null;
    this.#leave();
    if (wasJoined) this.#join(feed);
  }

  #keyOf({ topic }: OpenFeed<Item>): string {
    return `${topic}\n${this.#following.view}`;
  }

  /** Where it is up to date: with the others from now on. */
  #join(feed: OpenFeed<Item>): void {
    const key = this.#keyOf(feed);
    const group =
      this.#hub.find<Item, Payload>(key) ?? this.#hub.begin(key, feed, this.#position!, this.#following.render);
    if (!group.covers(this.#position!)) return;
    this.#closeOwn();
    this.#group = group;
    group.add(this);
  }

  /** Where what it missed was told to the others only just now. */
  #rejoin(): void {
    if (this.#feed && !this.#own && this.#hub.find(this.#keyOf(this.#feed))) this.#join(this.#feed);
  }

  #leave(): void {
    const group = this.#group;
    this.#group = null;
    group?.remove(this);
  }

  #isUpToDate(): boolean {
    return this.#group?.end === null && this.#group.position === this.#position && !this.#rightsChanged;
  }

  /** Until there is something to look at; meanwhile items go into the sink, where one is given. */
  async #news(sink: Sink<Payload> | null): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#sink = sink;
      this.#woken = resolve;
    });
    this.#woken = null;
  }

  /** Until the sink takes more, or there is something else to look at: what is sent already does not delay the loss of a right. */
  async #drained(sink: Sink<Payload>): Promise<void> {
    const woken = new AbortController();
    this.#woken = () => woken.abort();
    if (!this.#rightsChanged) await sink.drained(AbortSignal.any([this.#following.signal, woken.signal]));
    this.#woken = null;
  }

  #closeOwn(): void {
    const own = this.#own;
    this.#own = null;
    own?.end?.abort();
    void own?.items.return().catch(() => undefined);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#unwatch?.();
    this.#leave();
    this.#closeOwn();
    this.wake();
  }
}
