import {
  type DeploymentStateFragment,
  FollowLogDocument,
  type FollowLogSubscription,
  WatchDeploymentDocument,
} from '../../schema/generated/graphql.ts';
import type { ApiClient } from './api-client.ts';
import { DemoFailure } from './failure.ts';
import { showLine, showStatus } from './terminal.ts';

type LogLine = NonNullable<FollowLogSubscription['deploymentLogs']>['lines'][number];

const WAIT_LIMIT_MS = 45_000;

/** Prints a deployment's log, live, and lets the demo wait for what it says. */
export class LogFollower {
  #waiters = new Map<(line: LogLine) => boolean, () => void>();
  #failed = Promise.withResolvers<never>();

  constructor(client: ApiClient, { id, number }: DeploymentStateFragment) {
    this.#failed.promise.catch(() => {});
    this.#follow(client, id, number).catch(this.#failed.reject);
  }

  /** Resolves when a line that is printed from now on satisfies the test. */
  async waitFor(what: string, test: (line: LogLine) => boolean): Promise<void> {
    const seen = new Promise<void>((resolve) => this.#waiters.set(test, resolve));
    await withinLimit(Promise.race([seen, this.#failed.promise]), what);
    this.#waiters.delete(test);
  }

  async #follow(client: ApiClient, deploymentId: string, number: number): Promise<void> {
    for await (const { deploymentLogs } of client.subscribe(FollowLogDocument, { deploymentId })) {
      for (const line of deploymentLogs.lines) {
        showLine(number, line);
        for (const [test, resolve] of this.#waiters) if (test(line)) resolve();
      }
    }
  }
}

/** Prints every status of a deployment until it is one of those wanted; another one that does not change any more is a failure. */
export async function followStatus(
  client: ApiClient,
  deploymentId: string,
  wanted: readonly DeploymentStateFragment['status'][],
): Promise<DeploymentStateFragment> {
  return withinLimit(reach(client, deploymentId, wanted), wanted.join(' or '));
}

async function reach(
  client: ApiClient,
  deploymentId: string,
  wanted: readonly DeploymentStateFragment['status'][],
): Promise<DeploymentStateFragment> {
  let latest: DeploymentStateFragment | null = null;
  for await (const { deploymentStatus } of client.subscribe(WatchDeploymentDocument, { deploymentId })) {
    if (deploymentStatus.status !== latest?.status) showStatus(deploymentStatus);
    latest = deploymentStatus;
    if (wanted.includes(latest.status)) return latest;
  }
  const reason = latest?.statusReason ? `: ${latest.statusReason}` : '';
  throw new DemoFailure(`deployment #${latest?.number} is ${latest?.status}, not ${wanted.join(' or ')}${reason}`);
}

async function withinLimit<T>(work: Promise<T>, what: string): Promise<T> {
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => limit.reject(new DemoFailure(`waited ${WAIT_LIMIT_MS / 1000} s in vain for: ${what}`)),
    WAIT_LIMIT_MS,
  );
  try {
    return await Promise.race([work, limit.promise]);
  } finally {
    clearTimeout(timer);
  }
}
