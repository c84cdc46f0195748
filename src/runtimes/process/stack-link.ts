import type { InstanceStatus } from '../runtime.ts';
import type { StatusReporter } from '../status-reporter.ts';
import { ConnectionLostError, ControlConnection } from './control-connection.ts';
import { type LaunchOptions, launchSupervisor } from './supervisor-launcher.ts';

/** A supervisor that ends at the very moment it is asked is followed by a new one; more often than this, something is wrong. */
const MAX_ATTEMPTS = 5;

/** The way to one stack's supervisor: one shared connection, and a new supervisor where one is needed. */
export class StackLink {
  #launch: LaunchOptions;
  #prepare: () => Promise<void>;
  #connection: ControlConnection | null = null;
  #connecting: Promise<ControlConnection | null> | null = null;
  #launching: Promise<ControlConnection> | null = null;
  #closed = false;
  #opened = Promise.withResolvers<void>();

  constructor(launch: LaunchOptions, prepare: () => Promise<void>) {
    this.#launch = launch;
    this.#prepare = prepare;
  }

  /** Resolves when the next connection was made: a supervisor lives again. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  async isLive(): Promise<boolean> {
    return (await this.#connect()) !== null;
  }

  /** Asks the supervisor; null where there is none. */
  async ask<Result>(method: string, params: object = {}): Promise<Result | null> {
    const connection = await this.#connect();
    try {
      return connection ? await connection.request<Result>(method, params) : null;
    } catch (error) {
      if (error instanceof ConnectionLostError) return null;
      throw error;
    }
  }

  /** Asks the supervisor, after starting one where there is none. Asks again when it went away: every method is idempotent. */
  async demand<Result>(method: string, params: object): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      const connection = (await this.#connect()) ?? (await this.#start());
      try {
        return await connection.request<Result>(method, params);
      } catch (error) {
        if (!(error instanceof ConnectionLostError) || this.#closed || attempt >= MAX_ATTEMPTS) throw error;
      }
    }
  }

  /** Reports statuses until the connection or the signal ends: all, then changes. False where no supervisor lives. */
  async follow(reporter: StatusReporter, signal: AbortSignal): Promise<boolean> {
    const connection = await ControlConnection.open(this.#launch.home.socket);
    if (!connection) return false;
    const stop = () => connection.close();
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) return true;
      // A change that arrives together with the answer is newer than it, and must be told after it.
      const early: InstanceStatus[] = [];
      const stopCollecting = connection.onStatus((status) => early.push(status));
      reporter.all(await connection.request<InstanceStatus[]>('subscribe'));
      stopCollecting();
      for (const status of early) reporter.one(status);
      connection.onStatus((status) => reporter.one(status));
      await connection.closed;
      return true;
    } catch (error) {
      if (error instanceof ConnectionLostError) return true;
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      connection.close();
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  async #connect(): Promise<ControlConnection | null> {
    if (this.#connection?.isOpen) return this.#connection;
    this.#connecting ??= ControlConnection.open(this.#launch.home.socket).finally(() => {
      this.#connecting = null;
    });
    return this.#adopt(await this.#connecting);
  }

  async #start(): Promise<ControlConnection> {
    this.#launching ??= this.#prepare()
      .then(() => launchSupervisor(this.#launch))
      .finally(() => {
        this.#launching = null;
      });
    return this.#adopt(await this.#launching);
  }

  #adopt<Found extends ControlConnection | null>(connection: Found): Found {
    if (this.#closed) connection?.close();
    if (connection && connection !== this.#connection) {
      this.#opened.resolve();
      this.#opened = Promise.withResolvers<void>();
    }
    this.#connection = connection;
    return connection;
  }
}
