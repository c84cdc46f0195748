import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';

/** Every change of status that there is. A state that is not final has at least one way out. */
export const TRANSITIONS: Record<DeploymentStatus, readonly DeploymentStatus[]> = {
  QUEUED: ['PREPARING', 'CANCELLED', 'FAILED'],
  PREPARING: ['DEPLOYING', 'CANCELLING', 'FAILED'],
  DEPLOYING: ['VERIFYING', 'CANCELLING', 'FAILED'],
  VERIFYING: ['RUNNING', 'DEGRADED', 'CANCELLING', 'FAILED'],
  RUNNING: ['DEGRADED', 'STOPPING', 'STOPPED', 'SUPERSEDED'],
  DEGRADED: ['RUNNING', 'STOPPING', 'STOPPED', 'SUPERSEDED'],
  STOPPING: ['STOPPED', 'DEGRADED'],
  CANCELLING: ['CANCELLED'],
  STOPPED: [],
  FAILED: [],
  CANCELLED: [],
  SUPERSEDED: [],
};

export const STATUSES = Object.keys(TRANSITIONS) as DeploymentStatus[];
/** Nothing of it runs, and every line of its log is stored. */
export const FINAL_STATUSES = STATUSES.filter((status) => TRANSITIONS[status].length === 0);
export const LIVE_STATUSES = ['RUNNING', 'DEGRADED'] as const satisfies DeploymentStatus[];

export function isFinal(status: DeploymentStatus): boolean {
  return TRANSITIONS[status].length === 0;
}

export function isLive(status: DeploymentStatus): boolean {
  return status === 'RUNNING' || status === 'DEGRADED';
}

/** The statuses from which `to` may be reached. */
export function sourcesOf(to: DeploymentStatus): DeploymentStatus[] {
  return STATUSES.filter((from) => TRANSITIONS[from].includes(to));
}
