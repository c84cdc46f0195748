import { delay } from '../../shared/clock.ts';
import type { LogChunk, LogPlace } from '../runtime.ts';
import { type Engine, EngineError, streamProblem } from './connection.ts';
import type { ContainerHistory, Death, Lifecycle } from './container-history.ts';
import { LogBacklog } from './log-backlog.ts';
import { LogCursor, type LogOrigin, startingAt } from './log-cursor.ts';
import { FrameParser, type LogRecord, TerminalParser } from './log-stream.ts';
import { endOf, type Inspection, lengthMs, restartDelayMs, startFailureOf } from './status.ts';
import { engineTime, nanoseconds, nowNs } from './time.ts';

/** So often is looked whether something changed of which no event told. */
const LOOK_AGAIN_MS = 5_000;
/** A stream that was silent for so long is compared with what the engine has, later and later while that is the same. */
const SILENCE_MS = 5_000;
const MAX_SILENCE_MS = 60_000;
/** By then a stream brings what the engine has. */
const DELIVERY_MS = 1_000;
/** Between two reads of a log that was cut off although its container runs. */
const READ_AGAIN_MS = 200;
const FIRST_TIME = 1n;
/** A log that the engine does not keep. */
const NOT_KEPT = 501;
const NOT_FOUND = 404;

/** `isRetired`: it was stopped for good. */
export type ContainerLook = { inspection: Inspection; isRetired: boolean };

export type LogSource = {
  engine: Engine;
  containerId: string;
  origin: LogOrigin;
  history: ContainerHistory;
  /** What the container is now, after the history tells all of it; null: it was removed. */
  look(): Promise<ContainerLook | null>;
};

/** The log of one container from a place on, then live, until it was stopped for good or removed. */
export async function* readContainerLog(
  source: LogSource,
  from: LogPlace,
  signal: AbortSignal,
): AsyncGenerator<LogChunk, void, undefined> {
  const reader = new ContainerLogReader(source, from, signal);
  for await (const chunk of reader.read()) {
    const wanted = startingAt(chunk, from.position);
    if (wanted) yield wanted;
    if (signal.aborted) return;
  }
}

class ContainerLogReader {
  readonly #source: LogSource;
  readonly #cursor: LogCursor;
  readonly #signal: AbortSignal;
  /** Cuts off the log that is open. */
  #cut = new AbortController();

  constructor(source: LogSource, from: LogPlace, signal: AbortSignal) {
    this.#source = source;
    this.#cursor = new LogCursor(source.origin, from);
    this.#signal = signal;
  }

  async *read(): AsyncGenerator<LogChunk, void, undefined> {
    const { history } = this.#source;
    while (!this.#signal.aborted && this.#cursor.phase !== 'removed') {
      const { version } = history;
      const look = await this.#source.look();
      if (!look) return yield* this.#vanished();
      const failure = startFailureOf(look.inspection);
      if (failure) yield* this.#cursor.failed(createdAt(look.inspection), failure.reason);
      const isRunning = look.inspection.State.Running && !look.inspection.State.Restarting;
      if (isRunning && !this.#hasDeath()) {
        yield* this.#tell(look.inspection, 0n);
        // Read from what is written down, nothing is left out: a stream is for who is up to date.
        yield* this.#catchUp(look);
        const outcome = yield* this.#follow(look);
        if (outcome !== 'behind') await this.#wait(version, outcome === 'cut' ? READ_AGAIN_MS : LOOK_AGAIN_MS);
        continue;
      }
      if (!failure) yield* this.#catchUp(look);
      if (look.isRetired) return yield* this.#cursor.removed(nowNs(), 'stopped and removed');
      if (!isRunning) await this.#wait(version, LOOK_AGAIN_MS);
    }
  }

  /** Everything up to now, the ends of runs included. */
  async *#catchUp({ inspection }: ContainerLook): AsyncGenerator<LogChunk, void, undefined> {
    const known = this.#source.history.events.findLast(({ kind }) => kind === 'die');
    const open = await this.#open(false, inspection.Config.Tty);
    // By now the history tells of every run whose output the open log holds.
    const look = (await this.#source.look()) ?? { inspection };
    if (open) for await (const records of open) yield* this.#interleave(records, look.inspection);
    // What had died when the log was opened has nothing more to say: the engine writes a log down before it tells of a death.
    if (known) yield* this.#tell(look.inspection, known.time);
  }

  /**
   * What a container that runs says, until the log is cut off, as it is when it dies; until the reader is too far behind for a stream, or
   * the stream stands still; or nothing, where the engine keeps no log of it.
   */
  async *#follow({ inspection }: ContainerLook): AsyncGenerator<LogChunk, 'cut' | 'behind' | 'none', undefined> {
    const { history } = this.#source;
    const open = await this.#open(true, inspection.Config.Tty);
    if (!open) return 'none';
    const look = (await this.#source.look()) ?? { inspection };
    const backlog = new LogBacklog(inspection.HostConfig.LogConfig ?? { Type: 'none' });
    let silenceMs = SILENCE_MS;
    let next = open.next();
    try {
      while (!this.#signal.aborted) {
        const { version } = history;
        yield* this.#tell(look.inspection, 0n);
        const batch = await nextOrChange(next, history, version, silenceMs);
        if (batch === 'changed') continue;
        if (batch === 'silent') {
          const isStuck = (await this.#hasMore(inspection)) && (await isPending(next, DELIVERY_MS));
          if (isStuck) return 'behind';
          silenceMs = Math.min(silenceMs * 2, MAX_SILENCE_MS);
          continue;
        }
        if (batch.done) break;
        if (backlog.isDangerous(batch.value, nowNs())) return 'behind';
        silenceMs = SILENCE_MS;
        yield* this.#interleave(batch.value, look.inspection);
        next = open.next();
      }
      return 'cut';
    } finally {
      next.catch(() => {});
      this.#cut.abort();
    }
  }

  /** Whether the engine has written down something newer than what was told. */
  async #hasMore({ Config: { Tty: isTerminal } }: Inspection): Promise<boolean> {
    const query = { stdout: true, stderr: true, timestamps: true, tail: 1 };
    const stream = await this.#source.engine.stream('GET', this.#path, { query, signal: this.#signal });
    const newest: LogRecord[] = [];
    for await (const records of recordsOf(stream, isTerminal, this.#signal)) newest.push(...records);
    return newest.some((record) => this.#cursor.isAhead(record));
  }

  /** Records, and between them the ends and starts of runs that came before them. */
  *#interleave(records: readonly LogRecord[], inspection: Inspection): Generator<LogChunk, void, undefined> {
    let told: LogRecord[] = [];
    let deaths = this.#deaths();
    for (const record of records) {
      const death = deaths.findLast(({ time }) => time < record.time);
      if (death) {
        yield* this.#cursor.take(told);
        told = [];
        yield* this.#tell(inspection, death.time);
        deaths = this.#deaths();
      }
      told.push(record);
    }
    yield* this.#cursor.take(told);
  }

  /** What events say of the container, in order: starts and health as they come, an end only up to `deathsUntil`. */
  *#tell(inspection: Inspection, deathsUntil: bigint): Generator<LogChunk, void, undefined> {
    for (const event of [...this.#source.history.events]) {
      if (!this.#cursor.isNews(event)) continue;
      if (event.kind === 'start') yield* this.#cursor.started(event.time);
      else if (event.kind === 'health') yield* this.#cursor.health(event.time, event.message);
      else if (event.time > deathsUntil) return;
      else yield* this.#cursor.ended(event, this.#messageOf(event, inspection), this.#restarting(event, inspection));
    }
  }

  *#vanished(): Generator<LogChunk, void, undefined> {
    const last = this.#deaths().at(-1);
    if (last) yield* this.#cursor.ended(last, this.#messageOf(last, null), null);
    yield* this.#cursor.removed(nowNs(), 'removed from the engine by somebody else');
  }

  /** `inspection` null: the container is gone. */
  #messageOf(death: Death, inspection: Inspection | null): string {
    if (death.exitCode === null) return 'ended; nobody saw how';
    if (!inspection) return endOf(death.exitCode, death.outOfMemory, null).message;
    const { HostConfig: host, State: state } = inspection;
    // The event that tells of it may come after the end.
    const isLast = this.#source.history.runs().at(-1)?.end === death;
    const outOfMemory = death.outOfMemory || (isLast && state.OOMKilled && !state.Running);
    return endOf(death.exitCode, outOfMemory, host.Memory ?? 0).message;
  }

  /** Null: it does not restart after this end. */
  #restarting(death: Death, { State: state, RestartCount: restarts }: Inspection): string | null {
    const runs = this.#source.history.runs();
    const index = runs.findIndex(({ end }) => end === death);
    const isLast = index === runs.length - 1;
    if (isLast ? !state.Restarting : restarts === 0) return null;
    return `restarting in ${restartDelayMs(runs.slice(0, index + 1).map(lengthMs))} ms`;
  }

  get #path(): string {
    return `/containers/${this.#source.containerId}/logs`;
  }

  #deaths(): Death[] {
    const isDeath = (event: Lifecycle): event is Death => event.kind === 'die' && this.#cursor.isNews(event);
    return this.#source.history.events.filter(isDeath);
  }

  #hasDeath(): boolean {
    return this.#deaths().length > 0;
  }

  /** Null: the engine keeps no log of it, or the container is gone. */
  async #open(follow: boolean, isTerminal: boolean): Promise<AsyncGenerator<LogRecord[], void, undefined> | null> {
    const { engine } = this.#source;
    const since = engineTime(this.#cursor.open() || FIRST_TIME);
    const query = { follow, stdout: true, stderr: true, timestamps: true, since };
    this.#cut = new AbortController();
    const signal = AbortSignal.any([this.#signal, this.#cut.signal]);
    try {
      const stream = await engine.stream('GET', this.#path, { query, signal });
      return recordsOf(stream, isTerminal, signal);
    } catch (error) {
      const isGone = error instanceof EngineError && (error.status === NOT_KEPT || error.status === NOT_FOUND);
      if (isGone || this.#signal.aborted) return null;
      throw error;
    }
  }

  /** Until something changed since that version, the time is over, or the reader has enough. */
  async #wait(version: number, ms: number): Promise<void> {
    const enough = new AbortController();
    const giveUp = this.#source.history.onceChanged(version, () => enough.abort());
    await delay(ms, AbortSignal.any([enough.signal, this.#signal]));
    giveUp();
  }
}

/** The next batch, or that the history is another before, or that nothing came for so long. */
function nextOrChange<T>(
  next: Promise<T>,
  history: ContainerHistory,
  version: number,
  silenceMs: number,
): Promise<T | 'changed' | 'silent'> {
  const { promise, resolve, reject } = Promise.withResolvers<T | 'changed' | 'silent'>();
  const giveUp = history.onceChanged(version, () => resolve('changed'));
  const timer = setTimeout(() => resolve('silent'), silenceMs);
  next.then(resolve, reject);
  return promise.finally(() => {
    clearTimeout(timer);
    giveUp();
  });
}

async function isPending(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const settled = new AbortController();
  const settle = () => settled.abort();
  promise.then(settle, settle);
  await delay(ms, settled.signal);
  return !settled.signal.aborted;
}

async function* recordsOf(
  stream: NodeJS.ReadableStream & AsyncIterable<Buffer> & { destroy(): void },
  isTerminal: boolean,
  signal: AbortSignal,
): AsyncGenerator<LogRecord[], void, undefined> {
  const parser = isTerminal ? new TerminalParser() : new FrameParser();
  try {
    for await (const bytes of stream) yield parser.push(bytes);
    yield parser.finish();
  } catch (error) {
    if (!signal.aborted) throw streamProblem(error);
  } finally {
    stream.destroy();
  }
}

function createdAt({ Created: created }: Inspection): bigint {
  return nanoseconds(created) ?? 0n;
}
