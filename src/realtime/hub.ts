import type { Feed, OpenFeed } from './feed.ts';
import { Follower } from './hub-follower.ts';
import { HubGroup, type Render } from './hub-group.ts';

export type Following<Item, Payload> = {
  feed: Feed<Item>;
  /** What tells followers of one topic apart that are shown it in different ways. */
  view: string;
  render: Render<Item, Payload>;
  /** Ends it. */
  signal: AbortSignal;
};

/**
 * Where all that follow the same meet: one reads from the store and renders an item, everybody is told of it. Each replays by itself
 * what it missed, joins the others without a seam, and leaves them while it is behind.
 */
export class Hub {
  readonly #groups = new Map<string, HubGroup<unknown, unknown>>();

  follow<Item, Payload>(following: Following<Item, Payload>): Follower<Item, Payload> {
    return new Follower(following, this);
  }

  /** The group of those that are up to date, where there is one. */
  find<Item, Payload>(key: string): HubGroup<Item, Payload> | undefined {
    return this.#groups.get(key) as HubGroup<Item, Payload> | undefined;
  }

  /** Begins a group at a position. */
  begin<Item, Payload>(
    key: string,
    feed: OpenFeed<Item>,
    position: number,
    render: Render<Item, Payload>,
  ): HubGroup<Item, Payload> {
    const group = new HubGroup(feed, position, render, () => {
      if (this.find(key) === group) this.#groups.delete(key);
    });
    this.#groups.set(key, group as unknown as HubGroup<unknown, unknown>);
    return group;
  }

  /** How many groups there are. */
  get size(): number {
    return this.#groups.size;
  }
}
