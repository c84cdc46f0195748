import type { Pool } from 'pg';
import type { Role } from '../../db/generated/prisma/enums.ts';
import type { Bus } from '../../realtime/bus.ts';
import { delay, SECOND_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { accessTopic } from '../change.ts';

/** An announcement that was lost is made good for by looking so often, with one query for everybody: under the 5 s that a removal may take. */
export const RIGHTS_POLL_MS = 3 * SECOND_MS;

export type Rights = { userId: string; organizationId: string; role: Role };
type Watched = Rights & { listeners: Set<() => void> };

/** Tells whoever follows something for a member that their role changed, or that they are none any more: by announcement, or by looking. */
export class RightsWatch implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #watched = new Map<string, Watched>();
  readonly #users = new Map<string, { count: number; unsubscribe: () => void }>();
  readonly #stop = new AbortController();
  readonly #polling: Promise<void>;

  constructor({ pool, bus, log }: { pool: Pool; bus: Bus; log: Logger }) {
    this.#pool = pool;
    this.#bus = bus;
    this.#log = log;
    this.#polling = this.#poll();
  }

  /** Calls back when the role is another one by now, or none, as often as that happens. Returns what stops watching. */
  add(rights: Rights, onChange: () => void): () => void {
    const { userId, organizationId, role } = rights;
    const key = [userId, organizationId, role].join(' ');
    let entry = this.#watched.get(key);
    if (!entry) {
      entry = { ...rights, listeners: new Set() };
      this.#watched.set(key, entry);
      this.#watchUser(userId);
    }
    const { listeners } = entry;
    listeners.add(onChange);
    return () => {
      if (!listeners.delete(onChange) || listeners.size > 0) return;
      this.#watched.delete(key);
      this.#leaveUser(userId);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#polling;
    for (const { unsubscribe } of this.#users.values()) unsubscribe();
  }

  #watchUser(userId: string): void {
    const known = this.#users.get(userId);
    if (known) known.count += 1;
    else {
      const ofUser = () => [...this.#watched.values()].filter((entry) => entry.userId === userId);
      const unsubscribe = this.#bus.subscribe(accessTopic(userId), () => void this.#check(ofUser()));
      this.#users.set(userId, { count: 1, unsubscribe });
    }
  }

  #leaveUser(userId: string): void {
    const known = this.#users.get(userId)!;
    known.count -= 1;
    if (known.count > 0) return;
    known.unsubscribe();
    this.#users.delete(userId);
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await delay(RIGHTS_POLL_MS, signal);
      if (!signal.aborted && this.#watched.size > 0) await this.#check([...this.#watched.values()]);
    }
  }

  async #check(entries: Watched[]): Promise<void> {
    try {
      const { rows } = await this.#pool.query<{ still: boolean }>(
        `select exists (select from organization_members m
                        where m.user_id = known.user_id and m.organization_id = known.organization_id and m.role::text = known.role) as still
         from unnest($1::uuid[], $2::uuid[], $3::text[]) with ordinality as known(user_id, organization_id, role, place) order by place`,
        [
          entries.map(({ userId }) => userId),
          entries.map(({ organizationId }) => organizationId),
          entries.map(({ role }) => role),
        ],
      );
      for (const [index, { still }] of rows.entries())
        if (!still) for (const onChange of [...entries[index]!.listeners]) onChange();
    } catch (error) {
      this.#log.warn({ err: error }, 'could not look whether rights changed');
    }
  }
}
