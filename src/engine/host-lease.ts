import type { Pool, PoolClient } from 'pg';
import { delay, SECOND_MS } from '../shared/clock.ts';
import type { Logger } from '../shared/logger.ts';
import { lockFolder, type ProcessLock } from '../shared/process-lock.ts';

/** The right to change what runs on a host; `signal` aborts when it is lost or given back. */
export type Lease = { hostId: string; epoch: number; signal: AbortSignal };

/** Somebody else may hold the lease now: nothing that this process still wants to write may be written. */
export class LeaseLostError extends Error {
  override name = 'LeaseLostError';
}

export const LEASE_SECONDS = 15;
const RENEW_MS = 5 * SECOND_MS;
const RETRY_MS = SECOND_MS;

/**
 * One server instance of a host holds its lease: a lock of the machine, which ends with its process, and a row with an epoch, which
 * fences writes. The lock alone decides between processes of one machine; the row, between machines that claim to be the same one.
 */
export class HostLease {
  readonly #options: HostLeaseOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #current: { lease: Lease; end: AbortController } | null = null;

  constructor(options: HostLeaseOptions) {
    this.#options = options;
  }

  /** The lease, while this process holds it. */
  get current(): Lease | null {
    return this.#current?.lease ?? null;
  }

  /** Begins to seek the lease; resolves when the first attempt was made (and, where it succeeded, `onAcquired` has run). */
  async start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#running = this.#seek(first.resolve);
    await first.promise;
  }

  /** Gives the lease back, so that another instance, or the next start, takes it at once. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #seek(attempted: () => void): Promise<void> {
    const { log, lockDirectory } = this.#options;
    while (!this.#stop.signal.aborted) {
      let lock: ProcessLock | null = null;
      try {
        lock = await lockFolder(lockDirectory, 'host');
        const epoch = lock ? await this.#claim() : null;
        if (epoch !== null) await this.#hold(epoch, attempted);
      } catch (error) {
        log.error({ err: error }, 'the lease of this host could not be held');
      } finally {
        await lock?.release();
      }
      attempted();
      await delay(RETRY_MS, this.#stop.signal);
    }
  }

  async #claim(): Promise<number | null> {
    const { pool, hostId, instanceId, bootId } = this.#options;
    // The lock is ours, so a holder of this very boot is dead; one of another boot (or machine) has until its lease expires.
    const { rows } = await pool.query<{ epoch: number }>(
      `update hosts set epoch = epoch + 1, holder_id = $2, holder_boot_id = $3,
              lease_expires_at = now() + make_interval(secs => $4)
       where id = $1 and (holder_id is null or holder_boot_id = $3 or lease_expires_at < now()) returning epoch`,
      [hostId, instanceId, bootId, LEASE_SECONDS],
    );
    return rows[0]?.epoch ?? null;
  }

  async #hold(epoch: number, attempted: () => void): Promise<void> {
    const { hostId, onAcquired, onLost, log } = this.#options;
    const end = new AbortController();
    const lease: Lease = { hostId, epoch, signal: end.signal };
    this.#current = { lease, end };
    log.info({ hostId, epoch }, 'this server instance works for its host');
    const renewing = this.#renew(lease, end);
    try {
      await onAcquired(lease);
      attempted();
      await renewing;
    } finally {
      end.abort();
      this.#current = null;
      await renewing;
      await onLost();
      await this.#giveBack(epoch);
    }
  }

  /** Ends when the lease is lost, or to be given back. A database that is away does not end it: the machine's lock is still ours. */
  async #renew(lease: Lease, end: AbortController): Promise<void> {
    const { pool, instanceId, log } = this.#options;
    const over = AbortSignal.any([this.#stop.signal, end.signal]);
    let wait = RENEW_MS;
    while (!over.aborted) {
      await delay(wait, over);
      if (over.aborted) return;
      try {
        const renewed = await pool.query(
          'update hosts set lease_expires_at = now() + make_interval(secs => $4) where id = $1 and epoch = $2 and holder_id = $3',
          [lease.hostId, lease.epoch, instanceId, LEASE_SECONDS],
        );
        if (renewed.rowCount === 0) {
          log.error({ hostId: lease.hostId }, 'another machine took the lease of this host');
          return;
        }
        wait = RENEW_MS;
      } catch (error) {
        log.warn({ err: error }, 'the lease of this host could not be renewed yet');
        wait = RETRY_MS;
      }
    }
  }

  async #giveBack(epoch: number): Promise<void> {
    const { pool, hostId, instanceId, log } = this.#options;
    await pool
      .query(
        'update hosts set holder_id = null, lease_expires_at = null where id = $1 and epoch = $2 and holder_id = $3',
        [hostId, epoch, instanceId],
      )
      .catch((error: unknown) => log.warn({ err: error }, 'the lease of this host could not be given back'));
  }
}

export type HostLeaseOptions = {
  pool: Pool;
  hostId: string;
  /** The id of this server process. */
  instanceId: string;
  bootId: string;
  /** The runtime directory: its lock is the host's. */
  lockDirectory: string;
  log: Logger;
  onAcquired(lease: Lease): Promise<void>;
  onLost(): Promise<void>;
};

/** In a transaction: holds the lease's row until the end of it, or throws LeaseLostError. */
export async function requireLease(client: PoolClient, lease: Lease): Promise<void> {
  if (lease.signal.aborted || !(await holdsLease(client, lease)))
    throw new LeaseLostError('another server instance works for this host now');
}

/** In a transaction: whether the epoch is still the lease's; the row stays locked against a takeover until the end of it. */
export async function holdsLease(client: Pick<PoolClient, 'query'>, lease: Lease): Promise<boolean> {
  const { rowCount } = await client.query('select 1 from hosts where id = $1 and epoch = $2 for share', [
    lease.hostId,
    lease.epoch,
  ]);
  return rowCount === 1;
}
