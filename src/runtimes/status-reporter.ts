import type { InstanceStatus } from './runtime.ts';

/** Tells a listener of statuses, and of instances that were forgotten while nobody watched: those are STOPPED. */
export class StatusReporter {
  #listener: (status: InstanceStatus) => void;
  #signal: AbortSignal;
  #failed: (error: Error) => void;
  #known = new Map<string, InstanceStatus>();

  /** `failed` is told of what the listener throws, which must not harm others who use the connection. */
  constructor(listener: (status: InstanceStatus) => void, signal: AbortSignal, failed: (error: Error) => void) {
    this.#failed = failed;
    this.#listener = listener;
    this.#signal = signal;
  }

  one(status: InstanceStatus): void {
    if (this.#signal.aborted) return;
    if (status.state === 'STOPPED') this.#known.delete(status.instanceId);
    else this.#known.set(status.instanceId, status);
    try {
      this.#listener(status);
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  all(statuses: InstanceStatus[]): void {
    const present = new Set(statuses.map(({ instanceId }) => instanceId));
    const gone = [...this.#known.values()].filter(({ instanceId }) => !present.has(instanceId));
    for (const status of statuses) this.one(status);
    for (const status of gone) this.one({ ...status, state: 'STOPPED', pid: null, reason: 'stopped' });
  }
}
