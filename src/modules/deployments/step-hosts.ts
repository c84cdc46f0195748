import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import { delay, SECOND_MS } from '../../shared/clock.ts';

const RETRY_MS = SECOND_MS;

/** Those of the hosts that this process works for, by id: each while its lease is held. */
export class StepHosts<Host> {
  readonly #hosts = new Map<string, Host>();
  #pool: Pool | null = null;
  #changed = Promise.withResolvers<void>();

  /** Where it is looked up which deployment belongs to which host. Null: nothing is carried out any more. */
  use(pool: Pool | null): void {
    this.#pool = pool;
  }

  set(hostId: string, host: Host): void {
    this.#hosts.set(hostId, host);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  delete(hostId: string): void {
    this.#hosts.delete(hostId);
  }

  present(): Host[] {
    return [...this.#hosts.values()];
  }

  /** Waits until this process works for a deployment's host, for ever if need be: whoever does it then runs the step. Null: it was deleted. */
  async of(deploymentId: string): Promise<Host | null> {
    for (;;) {
      const { promise } = this.#changed;
      const hostId = await this.#hostOf(deploymentId);
      if (hostId === null) return null;
      const host = this.#hosts.get(hostId);
      if (host) return host;
      await promise;
    }
  }

  async #hostOf(deploymentId: string): Promise<string | null> {
    for (;;) {
      const pool = this.#pool;
      if (!pool) return new Promise<never>(() => undefined);
      try {
        const { rows } = await pool.query<{ hostId: string | null }>(
          'select e.host_id as "hostId" from deployments d join environments e on e.id = d.environment_id where d.id = $1',
          [deploymentId],
        );
        return rows[0]?.hostId ?? null;
      } catch (error) {
        if (!isOutage(error)) throw error;
        await delay(RETRY_MS);
      }
    }
  }
}
