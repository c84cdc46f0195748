import type { DependencyCondition } from '../../compose/index.ts';
import type { InstanceStatus } from '../../runtimes/runtime.ts';
import type { ReplicaSpec } from './release.ts';

/** A service without a health check counts as up when it has run for so long without ending. */
export const STABLE_MS = 500;
/** A service that ends once more after so many restarts, without a stable run between them, is in a crash loop. */
export const CRASH_LOOP_RESTARTS = 3;

export type Verdict = { state: 'ok' } | { state: 'waiting'; why: string } | { state: 'failed'; why: string };

const OK: Verdict = { state: 'ok' };

/** Whether one replica has reached what a dependent waits for, or `live`: what a deployment must be to go live. */
export function judge(
  spec: ReplicaSpec,
  status: InstanceStatus | undefined,
  goal: DependencyCondition | 'live',
  nowMs: number,
): Verdict {
  const who = `service ${spec.service}${spec.replica > 1 ? ` (replica ${spec.replica})` : ''}`;
  if (!status) return { state: 'waiting', why: `${who}: not started yet` };
  const ended = status.state === 'EXITED' || status.state === 'STOPPED';
  const code = status.exitCode;
  const wanted =
    goal === 'service_completed_successfully' ? 'had completed' : spec.healthcheck ? 'was healthy' : 'was up';

  // One that runs again may have its restarts behind it.
  if (restartsInLoop(status) >= CRASH_LOOP_RESTARTS && status.state === 'RESTARTING')
    return { state: 'failed', why: `${who}: ${withRestarts(status)}` };
  if (ended && code === 0) {
    const mayEnd = goal !== 'service_healthy' || spec.healthcheck === null;
    return mayEnd ? OK : { state: 'failed', why: `${who}: exited with code 0 before it ${wanted}` };
  }
  if (ended)
    return {
      state: 'failed',
      why: `${who}: ${status.reason ?? `exited with code ${code ?? 'unknown'}`}${isStartFailure(status) ? '' : ` before it ${wanted}`}`,
    };
  if (status.state === 'UNHEALTHY' && goal !== 'service_started' && goal !== 'service_completed_successfully')
    return { state: 'failed', why: `${who}: ${status.reason ?? 'its health check fails'}` };
  if (goal === 'service_completed_successfully') return { state: 'waiting', why: `${who}: still running` };
  if (status.state === 'HEALTHY') return OK;
  if (status.state === 'RESTARTING') return { state: 'waiting', why: `${who}: ${withRestarts(status)}` };
  if (goal === 'service_started') return OK;
  if (spec.healthcheck)
    return { state: 'waiting', why: `${who}: not healthy${status.reason ? `: ${status.reason}` : ''}` };
  const upForMs = status.startedAt ? nowMs - Date.parse(status.startedAt) : 0;
  return upForMs >= stableAfterMs(status) ? OK : { state: 'waiting', why: `${who}: just started` };
}

/** Whether a live deployment's replica is as it should be: healthy, running without a health check, or exited 0 for good. */
export function isFine(state: InstanceStatus['state'] | 'PENDING', exitCode: number | null): boolean {
  return state === 'HEALTHY' || state === 'RUNNING' || (state === 'EXITED' && exitCode === 0);
}

/** Whether an instance runs, or ended as it should: one that deploying the same thing again does not touch. */
export function isAlive(
  status: (Pick<InstanceStatus, 'exitCode'> & { state: InstanceStatus['state'] | 'PENDING' }) | undefined,
): boolean {
  if (!status) return false;
  return isFine(status.state, status.exitCode) || status.state === 'STARTING';
}

/** The program was never run: there was nothing to wait for. */
export function isStartFailure(status: InstanceStatus): boolean {
  return status.state === 'EXITED' && (status.exitCode === 127 || status.exitCode === 126 || status.startedAt === null);
}

/** A busy runtime tells of an end late: what ended before is trusted after twice as long for each restart, up to a loop of them. */
function stableAfterMs(status: InstanceStatus): number {
  return STABLE_MS * 2 ** Math.min(restartsInLoop(status), CRASH_LOOP_RESTARTS);
}

function withRestarts(status: InstanceStatus): string {
  const reason = status.reason ?? `exited with code ${status.exitCode ?? 'unknown'}`;
  const restarts = restartsInLoop(status);
  return restarts === 0 || /, restarted /.test(reason)
    ? reason
    : `${reason}, restarted ${restarts} ${restarts === 1 ? 'time' : 'times'}`;
}

/** An older supervisor counts only those of the whole life. */
function restartsInLoop({ loopRestarts, restarts }: InstanceStatus): number {
  return loopRestarts ?? restarts;
}
