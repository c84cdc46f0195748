/** What is known of a container's runs, in the order of time: nanoseconds since the epoch, by the engine's clock. */
export type Lifecycle =
  | { kind: 'start'; time: bigint }
  /** `exitCode` null: nobody saw how it ended. `outOfMemory`: the kernel killed something in it before. */
  | { kind: 'die'; time: bigint; exitCode: number | null; outOfMemory: boolean }
  | { kind: 'health'; time: bigint; message: string };
export type Death = Lifecycle & { kind: 'die' };

/** Of a container that restarts all the time the oldest events go. */
const MAX_EVENTS = 1_000;
/** What is inspected was noted a little before its event was made. */
const BEFORE_ITS_EVENT_NS = 1_000_000n;
/** So far apart the time that an inspection tells and that of the event may lie. */
const SAME_EVENT_NS = 5_000_000_000n;

/** One run of a container; `start` null: it began unseen. `end` null: it goes on. */
export type Run = { start: bigint | null; end: Death | null };

/** The times of the newest start and the newest end that an inspection tells; null: there was none. */
export type Seen = { startedAt: bigint | null; finishedAt: bigint | null; exitCode: number | null };

export class ContainerHistory {
  #events: Lifecycle[] = [];
  /** Grows with every change. */
  version = 0;
  readonly #listeners = new Set<() => void>();
  #outOfMemorySince: bigint | null = null;

  get events(): readonly Lifecycle[] {
    return this.#events;
  }

  /** Calls back once, as soon as the version is another; the result gives that up. */
  onceChanged(version: number, listener: () => void): () => void {
    if (this.version !== version) listener();
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Something is new about the container. */
  touch(): void {
    this.version += 1;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  outOfMemory(time: bigint): void {
    this.#outOfMemorySince = time;
  }

  died(time: bigint, exitCode: number): void {
    const outOfMemory = this.#outOfMemorySince !== null && this.#outOfMemorySince <= time;
    this.#outOfMemorySince = null;
    this.add({ kind: 'die', time, exitCode, outOfMemory });
  }

  /** Does nothing when it is known. */
  add(event: Lifecycle): void {
    const at = this.#events.findLastIndex(({ time }) => time <= event.time) + 1;
    if (this.#isKnown(event, at)) return;
    this.#events.splice(at, 0, event);
    if (this.#events.length > MAX_EVENTS) this.#events.shift();
    this.touch();
  }

  /** Whether the events tell what an inspection does. */
  tells({ startedAt, finishedAt }: Seen): boolean {
    return this.#has('start', startedAt) && this.#has('die', finishedAt);
  }

  /** Takes over what no event told: the engine keeps few of them, and loses them when it restarts. */
  complete(seen: Seen): void {
    const { startedAt, finishedAt, exitCode } = seen;
    const isOver = startedAt === null || (finishedAt !== null && finishedAt >= startedAt);
    if (startedAt !== null && !this.#has('start', startedAt)) this.add({ kind: 'start', time: startedAt });
    if (finishedAt === null || this.#has('die', finishedAt)) return;
    // What the last run wrote while it was collected has later times than its end, but earlier ones than the next start.
    const time = isOver || startedAt === null ? finishedAt : startedAt - 1n;
    this.add({ kind: 'die', time, exitCode: isOver ? exitCode : null, outOfMemory: false });
  }

  runs(): Run[] {
    const runs: Run[] = [];
    for (const event of this.#events) {
      const open = runs.at(-1);
      if (event.kind === 'start') runs.push({ start: event.time, end: null });
      else if (event.kind === 'die' && open?.end === null) open.end = event;
      else if (event.kind === 'die') runs.push({ start: null, end: event });
    }
    return runs;
  }

  #has(kind: 'start' | 'die', since: bigint | null): boolean {
    return (
      since === null || this.#events.some((event) => event.kind === kind && event.time >= since - BEFORE_ITS_EVENT_NS)
    );
  }

  /** An event that comes after its place was filled from an inspection is the same again. */
  #isKnown(event: Lifecycle, at: number): boolean {
    const same = ({ kind, time }: Lifecycle) => kind === event.kind && time === event.time;
    if (event.kind === 'health') return this.#events.some(same);
    const neighbours = [
      this.#events.slice(0, at).findLast(({ kind }) => kind !== 'health'),
      this.#events.slice(at).find(({ kind }) => kind !== 'health'),
    ];
    return neighbours.some(
      (neighbour) => neighbour?.kind === event.kind && distance(neighbour.time, event.time) < SAME_EVENT_NS,
    );
  }
}

function distance(one: bigint, other: bigint): bigint {
  return one < other ? other - one : one - other;
}
