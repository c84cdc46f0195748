import { delay } from '../../shared/clock.ts';
import { type InstanceStatus, RuntimeUnavailableError } from '../runtime.ts';
import type { StatusReporter } from '../status-reporter.ts';
import type { EngineEvents } from './engine-events.ts';

const RETRY_MS = 500;

export type WatchedStack = {
  stackId: string;
  events: EngineEvents;
  /** By container. */
  list(): Promise<Map<string, InstanceStatus>>;
  /** Null: there is no such container, or it was stopped for good. */
  status(containerId: string): Promise<InstanceStatus | null>;
  /** What happens to it meanwhile is not told. */
  isBeingStopped(containerId: string): boolean;
  failed(error: Error): void;
};

/** Reports what the containers of a stack are, then each change that the engine tells of; all of them again after a loss. */
export async function watchStack(watched: WatchedStack, reporter: StatusReporter, until: AbortSignal): Promise<void> {
  const known = new Map<string, InstanceStatus>();
  /** Containers to look at; null: all of them. */
  let due: Set<string> | null = null;
  // What came while it was looking may be all of them.
  const isIdle = () => due !== null && due.size === 0;
  let wake = Promise.withResolvers<void>();
  const stopListening = watched.events.listen({
    changed: (id, stackId) => {
      if (stackId !== watched.stackId) return;
      due?.add(id);
      wake.resolve();
    },
    connected: () => {
      due = null;
      wake.resolve();
    },
  });
  const end = () => wake.resolve();
  until.addEventListener('abort', end, { once: true });
  try {
    while (!until.aborted) {
      const looking: Set<string> | null = due;
      due = new Set();
      wake = Promise.withResolvers<void>();
      try {
        if (looking === null) await lookAtAll(watched, reporter, known);
        else for (const id of looking) await lookAt(watched, reporter, known, id);
      } catch (error) {
        if (until.aborted) return;
        if (!(error instanceof RuntimeUnavailableError)) watched.failed(error as Error);
        due = null;
        await delay(RETRY_MS, until);
        continue;
      }
      if (!until.aborted && isIdle()) await wake.promise;
    }
  } finally {
    until.removeEventListener('abort', end);
    stopListening();
  }
}

async function lookAtAll(watched: WatchedStack, reporter: StatusReporter, known: Map<string, InstanceStatus>) {
  const statuses = await watched.list();
  known.clear();
  for (const [id, status] of statuses) known.set(id, status);
  reporter.all([...statuses.values()]);
}

async function lookAt(watched: WatchedStack, reporter: StatusReporter, known: Map<string, InstanceStatus>, id: string) {
  if (watched.isBeingStopped(id)) return;
  const status = await watched.status(id);
  if (watched.isBeingStopped(id)) return;
  const before = known.get(id);
  if (status) {
    known.set(id, status);
    // Most of what happens to a container changes nothing of its state.
    if (JSON.stringify(status) !== JSON.stringify(before)) reporter.one(status);
    return;
  }
  known.delete(id);
  if (before) reporter.one({ ...before, state: 'STOPPED', pid: null, reason: 'stopped' });
}
