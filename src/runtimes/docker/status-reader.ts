import { delay } from '../../shared/clock.ts';
import type { InstanceStatus, StackRef } from '../runtime.ts';
import type { Engine } from './connection.ts';
import type { EngineEvents } from './engine-events.ts';
import { retiredWith } from './labels.ts';
import { ignoring } from './networks-volumes.ts';
import { endsOf } from './run-ends.ts';
import { containersOf } from './stack-containers.ts';
import { type Inspection, seenOf, startFailureOf, statusOf } from './status.ts';

const NOT_FOUND = 404;
/** Events come a moment after what they tell can be seen. */
const EVENTS_BEHIND_MS = 500;

/** What the containers of instances are, by what the engine shows and by what its events have told. */
export class StatusReader {
  readonly #engine: Engine;
  readonly #events: EngineEvents;

  constructor(engine: Engine, events: EngineEvents) {
    this.#engine = engine;
    this.#events = events;
  }

  inspect(id: string): Promise<Inspection> {
    return this.#engine.get<Inspection>(`/containers/${id}/json`);
  }

  /** What a container is, once the events tell all of it; null: it is gone. */
  async look(id: string): Promise<Inspection | null> {
    const inspection = await ignoring(NOT_FOUND, this.inspect(id));
    if (!inspection || startFailureOf(inspection)) return inspection;
    const history = this.#events.history(id);
    const seen = seenOf(inspection);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), EVENTS_BEHIND_MS);
    while (!history.tells(seen) && !late.signal.aborted) {
      const news = new AbortController();
      const giveUp = history.onceChanged(history.version, () => news.abort());
      await delay(EVENTS_BEHIND_MS, AbortSignal.any([news.signal, late.signal]));
      giveUp();
    }
    clearTimeout(timer);
    history.complete(seen);
    return inspection;
  }

  /** `looked`: as `look` returned it. */
  async statusOf(looked: Inspection): Promise<InstanceStatus> {
    const history = this.#events.history(looked.Id);
    return statusOf(looked, await endsOf(this.#engine, looked, history));
  }

  /** Null: it is gone, or was stopped for good. */
  async byContainer(id: string): Promise<InstanceStatus | null> {
    const inspection = await this.look(id);
    return inspection && retiredWith(inspection.Name) === null ? await this.statusOf(inspection) : null;
  }

  /** By container. */
  async ofStack(stack: StackRef): Promise<Map<string, InstanceStatus>> {
    const containers = (await containersOf(this.#engine, stack)).filter(({ isRetired }) => !isRetired);
    const statuses = await Promise.all(containers.map(async ({ id }) => [id, await this.byContainer(id)] as const));
    return new Map(statuses.flatMap(([id, status]) => (status ? [[id, status]] : [])));
  }
}
