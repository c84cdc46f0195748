import type { PrismaClient, Transaction } from '../../db/client.ts';
import type { DeploymentStrategy, DeploymentTrigger } from '../../db/generated/prisma/enums.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { appendEvents, type NewEvent } from '../../realtime/event-log.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { remember } from '../idempotency.ts';
import { type Access, type EnvironmentAccess, type Permission, requireCaller } from '../organizations/access.ts';
import { actorOf, type Caller } from '../services.ts';
import { hostTopic } from './records.ts';

/** Deployments of one stack and environment that wait for their turn. */
export const MAX_QUEUED_PER_STACK = 100;

/** What a new deployment runs, and why. */
export type NewDeployment = {
  stackVersionId: string;
  trigger: DeploymentTrigger;
  strategy: DeploymentStrategy;
  autoRollback: boolean;
  healthTimeoutSeconds: number;
  /** How long it is watched once it is live; 0: not at all. */
  watchSeconds: number;
  planDigest?: string;
  rollbackOfId?: string;
  sourceId?: string;
};

export type CreationRequest = {
  /** "system": the server itself, without a user. */
  caller: Caller | 'system' | null;
  environment: Pick<EnvironmentAccess, 'organizationId' | 'environmentId'> & { hostId: string | null };
  stackId: string;
  operation: string;
  idempotencyKey: string | null | undefined;
  /** What makes two requests the same. */
  input: object;
  /** Why it was asked for, until its turn comes; absent: nothing, or what it waits for. */
  statusReason?: string;
  /** Decides what is deployed, under the lock of the stack's row in the environment; throws what forbids it. */
  decide(tx: Transaction, stackEnvironmentId: string): Promise<NewDeployment>;
};

/** Queues a deployment, once for an idempotency key: row, number and event in one transaction. Returns its id. */
export async function queueDeployment(
  { prisma, keyring }: { prisma: PrismaClient; keyring: Keyring },
  request: CreationRequest,
): Promise<string> {
  const { environment, stackId, operation, idempotencyKey, input, decide } = request;
  const { organizationId, environmentId, hostId } = environment;
  const caller = request.caller === 'system' ? null : requireCaller(request.caller);
  const made = await prisma.$transaction(async (tx) => {
    const events: NewEvent[] = [];
    const create = async (id: string) => {
      const place = await takeNumber(tx, organizationId, stackId, environmentId);
      const values = await decide(tx, place.id);
      await tx.deployment.create({
        data: {
          ...values,
          id,
          organizationId,
          stackId,
          environmentId,
          stackEnvironmentId: place.id,
          number: place.number,
          statusReason: request.statusReason ?? (await waitingReason(tx, hostId, place.id)),
          ...createdBy(caller),
        },
      });
      await tx.stack.update({ where: { id: stackId }, data: { lastDeployedAt: new Date() } });
      events.push({
        organizationId,
        type: 'deployment.created',
        actor: caller ? actorOf(caller) : { type: 'system', id: null },
        subject: { type: 'Deployment', id },
        data: { status: 'QUEUED', number: place.number, stackId, environmentId, trigger: values.trigger },
      });
    };
    const remembered = await onceFor(tx, keyring, { caller, operation, key: idempotencyKey, input }, create);
    if (hostId) await notifyTopics(tx, [hostTopic(hostId)]);
    await appendEvents(tx, events);
    return remembered;
  });
  return made.id;
}

/** One of them: what acts in a person's name is named itself, with the execution in which it does. */
function createdBy(caller: Caller | null) {
  if (!caller?.by) return { createdById: caller?.userId };
  const { type, id, executionId } = caller.by;
  return { ...(type === 'agent' ? { agentId: id } : { workflowId: id }), executionId };
}

/** Without a user there is nothing to be remembered by. */
async function onceFor(
  tx: Transaction,
  keyring: Keyring,
  { caller, ...request }: Omit<Parameters<typeof remember>[2], 'caller'> & { caller: Caller | null },
  create: (id: string) => Promise<void>,
): Promise<{ id: string }> {
  if (caller) return remember(tx, keyring, { ...request, caller }, create);
  const id = newId();
  await create(id);
  return { id };
}

/** A stack and an environment of one organization, where the caller has the right. */
export async function requirePlace(
  access: Access,
  caller: Caller | null,
  input: { stackId: string | null; environmentId: string | null },
  permission: Permission,
): Promise<{ environment: EnvironmentAccess; stackId: string; stackSlug: string }> {
  const environment = await access.requireEnvironment(caller, input.environmentId, permission);
  const { stackId, stackSlug, organizationId } = await access.requireStack(caller, input.stackId, 'stack:read');
  // Both are the caller's, but not of one organization: for this environment there is no such stack.
  if (organizationId !== environment.organizationId) throw new NotFoundError('stack');
  return { environment, stackId, stackSlug };
}

/** What was allowed when the environment was made may be forbidden by now. */
export function requireRuntime({ runtime, allowedRuntimes }: EnvironmentAccess, processRuntime: boolean): void {
  if (runtime === 'PROCESS' && !processRuntime)
    throw ValidationError.field('environmentId', 'the PROCESS runtime is off here (WINDFLOW_PROCESS_RUNTIME)');
  if (!allowedRuntimes.includes(runtime))
    throw ValidationError.field(
      'environmentId',
      `the organization may not use the runtime ${runtime} any more: ask a superadmin`,
    );
}

/** The next number of a stack in an environment; the row's lock keeps the order of numbers the order of commits. */
async function takeNumber(
  tx: Transaction,
  organizationId: string,
  stackId: string,
  environmentId: string,
): Promise<{ id: string; number: number }> {
  // First of all, as whoever deletes it: two that took these locks in another order would wait for each other.
  await tx.$queryRaw`select 1 from organizations where id = ${organizationId}::uuid for key share`;
  // Deleting either waits for this transaction, or this one finds that it is gone. The stack's row is changed further on: two that
  // shared its lock until then would wait for each other.
  const present = await tx.$queryRaw<unknown[]>`
    select 1 from stacks s, environments e where s.id = ${stackId}::uuid and e.id = ${environmentId}::uuid
    for no key update of s for key share of e`;
  if (present.length === 0) throw new NotFoundError('stack');
  const places = await tx.$queryRaw<{ id: string; number: number }[]>`
    insert into stack_environments as se (id, stack_id, environment_id, last_number)
    values (${newId()}::uuid, ${stackId}::uuid, ${environmentId}::uuid, 1)
    on conflict (stack_id, environment_id) do update set last_number = se.last_number + 1
    returning id, last_number as number`;
  const place = places[0]!;
  const queued = await tx.deployment.count({ where: { stackEnvironmentId: place.id, status: 'QUEUED' } });
  if (queued >= MAX_QUEUED_PER_STACK)
    throw new QuotaExceededError('deployments that wait for their turn', MAX_QUEUED_PER_STACK, queued);
  return place;
}

/** Why a new deployment has to wait, in words; null where its turn comes at once. */
async function waitingReason(
  tx: Transaction,
  hostId: string | null,
  stackEnvironmentId: string,
): Promise<string | null> {
  const [state] = await tx.$queryRaw<{ host: string | null; ahead: number | null }[]>`
    select (select name from hosts where id = ${hostId}::uuid and (holder_id is null or lease_expires_at < now())) as host,
           (select max(number) from deployments where stack_environment_id = ${stackEnvironmentId}::uuid
              and status not in ('RUNNING', 'DEGRADED', 'STOPPED', 'FAILED', 'CANCELLED', 'SUPERSEDED')) as ahead`;
  if (state?.host) return `waits for a server on the host ${state.host}: none that reaches it is running`;
  return state?.ahead ? `waits for deployment ${state.ahead}` : null;
}
