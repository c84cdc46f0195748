import { delay } from '../../shared/clock.ts';
import { type Engine, streamProblem } from './connection.ts';
import { ContainerHistory } from './container-history.ts';
import { INSTANCE, STACK } from './labels.ts';
import { engineTime } from './time.ts';

const RECONNECT_MS = 500;
const FIRST_TIME = 1n;
const ACTIONS = ['start', 'die', 'oom', 'health_status', 'rename', 'update', 'pause', 'unpause', 'destroy'];

type EngineEvent = { Action: string; Actor: { ID: string; Attributes: Record<string, string> } };

export type EventListener = {
  /** Something happened to a container of a stack; null: its stack is not known. */
  changed(containerId: string, stackId: string | null): void;
  /** Events flow again: what happened before was not told. */
  connected(): void;
};

/** What happens to the containers of all stacks, live; the engine gives again what it still has from before. */
export class EngineEvents {
  readonly #engine: Engine;
  readonly #told: (error: Error) => void;
  readonly #healthOf: (containerId: string) => Promise<string>;
  readonly #histories = new Map<string, ContainerHistory>();
  readonly #listeners = new Set<EventListener>();
  readonly #end = new AbortController();
  #newest = FIRST_TIME;
  #running: Promise<void> | null = null;

  /** `healthOf`: what the last failed health check of a container said. `told` is called once for each loss of the connection. */
  constructor(engine: Engine, healthOf: (containerId: string) => Promise<string>, told: (error: Error) => void) {
    this.#engine = engine;
    this.#healthOf = healthOf;
    this.#told = told;
  }

  history(containerId: string): ContainerHistory {
    let history = this.#histories.get(containerId);
    if (!history) {
      history = new ContainerHistory();
      this.#histories.set(containerId, history);
    }
    this.#running ??= this.#run();
    return history;
  }

  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    this.#running ??= this.#run();
    return () => this.#listeners.delete(listener);
  }

  /** Something about a container is other than it was told. */
  announce(containerId: string, stackId: string | null): void {
    for (const listener of this.#listeners) listener.changed(containerId, stackId);
  }

  async close(): Promise<void> {
    this.#end.abort();
    for (const history of this.#histories.values()) history.touch();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    let isTold = false;
    while (!signal.aborted) {
      try {
        await this.#follow(() => {
          isTold = false;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (!isTold) this.#told(error as Error);
        isTold = true;
      }
      await delay(RECONNECT_MS, signal);
    }
  }

  async #follow(onConnected: () => void): Promise<void> {
    const filters = JSON.stringify({ type: ['container'], label: [STACK, INSTANCE], event: ACTIONS });
    const query = { since: engineTime(this.#newest), filters };
    const stream = await this.#engine.stream('GET', '/events', { query, signal: this.#end.signal });
    onConnected();
    for (const listener of this.#listeners) listener.connected();
    let rest = '';
    stream.setEncoding('utf8');
    try {
      for await (const text of stream) {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line.trim() !== '') this.#take(line);
      }
    } catch (error) {
      throw streamProblem(error, stream);
    }
  }

  #take(line: string): void {
    const { Action: action, Actor: actor }: EngineEvent = JSON.parse(line);
    // As a number it would lose its last digits.
    const time = BigInt(/"timeNano":(\d+)/.exec(line)?.[1] ?? 0);
    if (time > this.#newest) this.#newest = time;
    const history = this.history(actor.ID);
    if (action === 'start') history.add({ kind: 'start', time });
    else if (action === 'die') history.died(time, Number(actor.Attributes.exitCode));
    else if (action === 'oom') history.outOfMemory(time);
    else if (action.startsWith('health_status')) void this.#addHealth(actor.ID, history, time, action);
    else history.touch();
    if (action === 'destroy') this.#histories.delete(actor.ID);
    this.announce(actor.ID, actor.Attributes[STACK] ?? null);
  }

  async #addHealth(containerId: string, history: ContainerHistory, time: bigint, action: string): Promise<void> {
    if (action.endsWith(': healthy')) return history.add({ kind: 'health', time, message: 'healthy' });
    if (!action.endsWith(': unhealthy')) return;
    const reason = await this.#healthOf(containerId).catch(() => '');
    history.add({ kind: 'health', time, message: reason === '' ? 'unhealthy' : `unhealthy: ${reason}` });
  }
}
