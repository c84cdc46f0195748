import type { Lease } from '../../engine/host-lease.ts';
import { serviceUid } from './service-uid.ts';
import { StackWorker, type StackWorkerDependencies } from './stack-worker.ts';

/** The workers of a host's stacks, by the id of the `stack_environments` row: each is made when it is first needed. */
export class StackWorkers {
  readonly #deps: StackWorkerDependencies;
  readonly #lease: Lease;
  readonly #workers = new Map<string, Promise<StackWorker>>();

  constructor(deps: StackWorkerDependencies, lease: Lease) {
    this.#deps = deps;
    this.#lease = lease;
  }

  /** One that could not be made is made anew the next time. */
  of(stackEnvironmentId: string): Promise<StackWorker> {
    const known = this.#workers.get(stackEnvironmentId);
    if (known) return known;
    const made = this.#make(stackEnvironmentId);
    this.#workers.set(stackEnvironmentId, made);
    made.catch(() => this.#workers.delete(stackEnvironmentId));
    return made;
  }

  /** Exactly these are wanted from now on. */
  async keep(wanted: ReadonlySet<string>): Promise<void> {
    for (const id of wanted) await this.of(id);
    for (const id of [...this.#workers.keys()]) if (!wanted.has(id)) await this.letGo(id);
  }

  async letGo(stackEnvironmentId: string): Promise<void> {
    const worker = this.#workers.get(stackEnvironmentId);
    this.#workers.delete(stackEnvironmentId);
    await (await worker)?.close();
  }

  /** Each looks at its stack again, also without news. */
  recheck(): void {
    for (const worker of this.#workers.values()) void worker.then((stack) => stack.recheck());
  }

  async close(): Promise<void> {
    const made = await Promise.allSettled(this.#workers.values());
    await Promise.all(made.map((worker) => (worker.status === 'fulfilled' ? worker.value.close() : null)));
  }

  async #make(stackEnvironmentId: string): Promise<StackWorker> {
    const { rows } = await this.#deps.pool.query<{ environmentId: string; stackId: string; uidOffset: number | null }>(
      `select se.environment_id as "environmentId", se.stack_id as "stackId", e.uid_offset as "uidOffset"
       from stack_environments se join environments e on e.id = se.environment_id where se.id = $1`,
      [stackEnvironmentId],
    );
    const found = rows[0];
    if (!found) throw new Error(`stack environment ${stackEnvironmentId} is gone`);
    const { environmentId, stackId, uidOffset } = found;
    const stack = { id: stackEnvironmentId, environmentId, stackId, uid: serviceUid(uidOffset) };
    const worker = new StackWorker(this.#deps, stack, this.#lease);
    await worker.start();
    return worker;
  }
}
