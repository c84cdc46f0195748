import type { Pool } from 'pg';
import type { PrismaClient } from '../../db/generated/prisma/client.ts';
import type { ModelCatalog } from '../../models/catalog.ts';
import type { Bus } from '../../realtime/bus.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { type GuardedHttp, HttpRequestError } from '../../shared/guarded-http.ts';
import type { Deployments } from '../deployments/service.ts';
import { effectKey, StepFailure, type StepResult, type StepWork } from '../executions/procedure.ts';
import type { Access } from '../organizations/access.ts';
import { asFailure, askAgent, runWorkflow } from './children.ts';
import { deploy, rollBack } from './deploying.ts';
import { nameOf, type PerformedKind, type Performer, type RunDefinition } from './procedure.ts';

/** Of an answer's body. */
const MAX_BODY_BYTES = 256 * 1024;
/** Timers that are to take longer take no time at all. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const RETRIED_STATUSES = [408, 425, 429];

/** Sends messages to channels. */
export type Notifier = {
  /** Once for each key. @throws {NotFoundError} where the organization has no such channel */
  notify(message: { organizationId: string; channelId: string | null; message: string; key: string }): Promise<string>;
  /** What becomes of it: resolves once it was sent, or given up. Throws the signal's reason where that aborts. */
  settled(
    deliveryId: string,
    signal: AbortSignal,
  ): Promise<{ status: 'PENDING' | 'SENT' | 'FAILED'; error: string | null }>;
};

export type PerformerDependencies = {
  prisma: PrismaClient;
  pool: Pool;
  bus: Bus;
  access: Access;
  catalog: ModelCatalog;
  http: GuardedHttp;
  deployments: Deployments;
  notifier: Notifier;
};

/** How the steps of workflows are done, by their kinds. */
export function createPerformers(deps: PerformerDependencies): Record<PerformedKind, Performer> {
  const withDeps =
    (
      perform: (deps: PerformerDependencies, work: StepWork, input: Record<string, unknown>) => Promise<StepResult>,
    ): Performer =>
    (work, input) =>
      withinTime(work, (inTime) => perform(deps, inTime, input));
  return {
    agent: withDeps(askAgent),
    workflow: withDeps(runWorkflow),
    deploy: withDeps(deploy),
    rollback: withDeps(rollBack),
    http: withDeps(ask),
    notify: withDeps(tell),
  };
}

function timeoutSecondsOf({ execution, step }: StepWork): number | undefined {
  return (execution.definition as RunDefinition).steps[nameOf(step.key)]!.timeoutSeconds;
}

const timerMs = (seconds: number): number => Math.min(seconds * SECOND_MS, MAX_TIMER_MS);

/** Each attempt has as long as its step says; what waits longer than that is looked at by the scheduler. */
async function withinTime(work: StepWork, perform: (work: StepWork) => Promise<StepResult>): Promise<StepResult> {
  const timeoutSeconds = timeoutSecondsOf(work);
  if (timeoutSeconds === undefined) return perform(work);
  const timeout = AbortSignal.timeout(timerMs(timeoutSeconds));
  const signal = AbortSignal.any([work.signal, timeout]);
  const cancelled = AbortSignal.any([work.cancelled, timeout]);
  try {
    const result = await perform({ ...work, signal, cancelled });
    const wakeAt = new Date(work.execution.now + timeoutSeconds * SECOND_MS);
    return 'isWaiting' in result ? { ...result, wakeAt } : result;
  } catch (error) {
    if (!timeout.aborted || work.signal.aborted || error instanceof StepFailure) throw error;
    throw new StepFailure(`it took longer than ${timeoutSeconds} s`, { isTransient: true });
  }
}

type HttpInput = {
  url: string;
  method: string;
  headers?: Record<string, string>;
  body?: unknown;
  expectStatus?: number[];
};

/** A step that sends a request. Its receiver can tell a repetition by the key. */
async function ask(
  { http }: PerformerDependencies,
  work: StepWork,
  input: Record<string, unknown>,
): Promise<StepResult> {
  const { execution, step, signal } = work;
  const { url, method, headers = {}, body, expectStatus } = input as HttpInput;
  const isText = typeof body === 'string' || body === undefined || body === null;
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  const sent: Record<string, string> = { ...headers };
  if (!names.includes('idempotency-key')) sent['idempotency-key'] = effectKey(execution, step);
  if (!isText && !names.includes('content-type')) sent['content-type'] = 'application/json';
  try {
    const request = {
      url,
      method,
      headers: sent,
      body: isText ? ((body as string | null) ?? undefined) : JSON.stringify(body),
    };
    const timeoutSeconds = timeoutSecondsOf(work);
    const timeoutMs = timeoutSeconds === undefined ? undefined : timerMs(timeoutSeconds);
    const answer = await http.send({ ...request, signal, timeoutMs, maxBytes: MAX_BODY_BYTES });
    const { status, isCut } = answer;
    const output = { status, headers: answer.headers, body: readBody(answer), isCut };
    if (expectStatus ? expectStatus.includes(status) : status >= 200 && status < 300) return { output };
    throw new StepFailure(`the answer was ${status}`, {
      isTransient: status >= 500 || RETRIED_STATUSES.includes(status),
      output,
    });
  } catch (error) {
    if (error instanceof HttpRequestError) throw new StepFailure(error.message, error);
    throw error;
  }
}

/** A step that sends a message: done once it was sent. */
async function tell(
  { notifier }: PerformerDependencies,
  { execution, step, signal }: StepWork,
  input: Record<string, unknown>,
): Promise<StepResult> {
  const { organizationId } = execution;
  const channelId = decodeIdOf('NotificationChannel', String(input.channelId));
  const key = effectKey(execution, step);
  const delivery = await notifier
    .notify({ organizationId, channelId, message: String(input.message), key })
    .catch(asFailure);
  const { status, error } = await notifier.settled(delivery, signal);
  if (status === 'SENT') return { output: { deliveryId: encodeGlobalId('NotificationDelivery', delivery) } };
  throw new StepFailure(`the message could not be sent: ${error}`, { isTransient: true });
}

/** JSON as what it says, anything else as text. */
function readBody({
  headers,
  body,
  isCut,
}: {
  headers: Record<string, string>;
  body: string;
  isCut: boolean;
}): unknown {
  if (isCut || !/\bjson\b/.test(headers['content-type'] ?? '')) return body;
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
