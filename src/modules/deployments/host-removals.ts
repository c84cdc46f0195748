import type { Pool } from 'pg';
import { type Lease, LeaseLostError } from '../../engine/host-lease.ts';
import { type Runtime, type StackRef, StaleLeaseError } from '../../runtimes/runtime.ts';
import { type Clock, delay, SECOND_MS, systemClock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { hostTopic } from '../host-topic.ts';
import { fenced } from '../lease-transaction.ts';
import { serviceUid } from './service-uid.ts';

/** So many deleted stacks are removed from the host side by side. */
const MAX_AT_ONCE = 4;
/** What could not be removed is tried again after this time. */
export const REMOVAL_RETRY_MS = 60 * SECOND_MS;

/** How long an ending server waits for those under way; what they leave, the next one removes. */
const CLOSE_GRACE_MS = SECOND_MS;

export type HostRemovalDependencies = { pool: Pool; runtime: Runtime; log: Logger };

type Removal = { id: string; environmentId: string; stackId: string; uidOffset: number | null };

/** Under the host's lease: rids the host of what deleted stacks and environments left there, volumes and logs included. */
export class HostRemovals {
  readonly #deps: HostRemovalDependencies;
  readonly #lease: Lease;
  readonly #clock: Clock;
  readonly #underWay = new Map<string, Promise<void>>();
  /** Until when those rest that failed. */
  readonly #resting = new Map<string, number>();

  constructor(deps: HostRemovalDependencies, lease: Lease, clock: Clock = systemClock) {
    this.#deps = deps;
    this.#lease = lease;
    this.#clock = clock;
  }

  /** Begins with those that are due; resolves without waiting for their end. `letGo`: resolves once nobody else here works with that stack. */
  async take(letGo: (stackEnvironmentId: string) => Promise<void>): Promise<void> {
    const room = MAX_AT_ONCE - this.#underWay.size;
    if (room <= 0) return;
    for (const [id, until] of this.#resting) if (until <= this.#clock.now().getTime()) this.#resting.delete(id);
    const { rows } = await this.#deps.pool.query<Removal>(
      `select stack_environment_id as id, environment_id as "environmentId", stack_id as "stackId", uid_offset as "uidOffset"
       from stack_removals where host_id = $1 and stack_environment_id <> all($2) order by created_at limit $3`,
      [this.#lease.hostId, [...this.#underWay.keys(), ...this.#resting.keys()], room],
    );
    for (const removal of rows) {
      await letGo(removal.id);
      const removing = this.#try(removal).finally(() => this.#underWay.delete(removal.id));
      this.#underWay.set(removal.id, removing);
    }
  }

  async close(): Promise<void> {
    const ended = new AbortController();
    const all = Promise.all(this.#underWay.values()).finally(() => ended.abort());
    await Promise.race([all, delay(CLOSE_GRACE_MS, ended.signal)]);
  }

  async #try(removal: Removal): Promise<void> {
    try {
      await this.#remove(removal);
    } catch (error) {
      if (this.#lease.signal.aborted || error instanceof LeaseLostError || error instanceof StaleLeaseError) return;
      this.#resting.set(removal.id, this.#clock.now().getTime() + REMOVAL_RETRY_MS);
      const { environmentId, stackId } = removal;
      this.#deps.log.error(
        { err: error, environmentId, stackId },
        'what a deleted stack left could not be removed; it is tried again',
      );
    }
  }

  /** May be repeated from any point on. */
  async #remove({ id, environmentId, stackId, uidOffset }: Removal): Promise<void> {
    const { pool, runtime, log } = this.#deps;
    const { hostId, epoch } = this.#lease;
    const stack: StackRef = { id, environmentId, stackId, uid: serviceUid(uidOffset) };
    // Final deployments have none, unless their work broke on its way.
    const left = await runtime.list(stack);
    await Promise.all(left.map(({ instanceId }) => runtime.stop(stack, instanceId, epoch)));
    await runtime.removeStack(stack, { volumes: true }, epoch);
    await runtime.forgetStack(stack, epoch);
    await fenced(pool, this.#lease, async (client, record) => {
      await client.query('delete from stack_removals where stack_environment_id = $1', [id]);
      record.wake(hostTopic(hostId));
    });
    log.info({ environmentId, stackId }, 'what a deleted stack left was removed');
  }
}
