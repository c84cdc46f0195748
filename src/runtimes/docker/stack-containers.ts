import type Docker from 'dockerode';
import { type StackRef, StaleLeaseError } from '../runtime.ts';
import { type Engine, EngineError } from './connection.ts';
import { EPOCH, INSTANCE, labelled, REPLICA, retiredWith, SERVICE, STACK } from './labels.ts';

const NOT_FOUND = 404;
const CONFLICT = 409;

/** A container of a stack, as the engine lists it. */
export type StackContainer = {
  id: string;
  instanceId: string;
  service: string;
  replica: number;
  /** It was stopped for good: what is left of it is its log. */
  isRetired: boolean;
  epoch: number;
};

/** All containers of a stack's instances, those that ended or were stopped for good included. */
export async function containersOf(engine: Engine, stack: StackRef): Promise<StackContainer[]> {
  const query = { all: true, filters: labelled(`${STACK}=${stack.id}`, INSTANCE) };
  const containers = await engine.get<Docker.ContainerInfo[]>('/containers/json', { query });
  return containers.map(({ Id: id, Labels: labels, Names: names }) => {
    const retired = names.map(retiredWith).find((epoch) => epoch !== null) ?? null;
    return {
      id,
      instanceId: labels[INSTANCE] ?? '',
      service: labels[SERVICE] ?? '',
      replica: Number(labels[REPLICA]),
      isRetired: retired !== null,
      epoch: Math.max(retired ?? 0, Number(labels[EPOCH] ?? 0)),
    };
  });
}

/** With its anonymous volumes; one that somebody else removes meanwhile is removed as well. */
export async function removeContainer(engine: Engine, id: string): Promise<void> {
  try {
    await engine.delete(`/containers/${id}`, { query: { force: true, v: true } });
  } catch (error) {
    if (!(error instanceof EngineError && (error.status === NOT_FOUND || error.status === CONFLICT))) throw error;
  }
}

/** The highest epochs that were seen, by stack. */
export class Fences {
  readonly #seen = new Map<string, number>();

  /** @throws {StaleLeaseError} where somebody came with a higher epoch */
  pass(stack: StackRef, epoch: number, containers: readonly StackContainer[]): void {
    const seen = Math.max(this.#seen.get(stack.id) ?? 0, ...containers.map((container) => container.epoch));
    if (epoch < seen) throw new StaleLeaseError(`epoch ${epoch} is over: this stack was taken over with epoch ${seen}`);
    this.#seen.set(stack.id, epoch);
  }

  forget(stack: StackRef): void {
    this.#seen.delete(stack.id);
  }
}

/** Work that follows each other where it has the same key. */
export class Queues {
  readonly #last = new Map<string, Promise<unknown>>();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const settled = result.then(
      () => {},
      () => {},
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return result;
  }
}
