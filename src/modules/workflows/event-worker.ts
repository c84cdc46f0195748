import { setImmediate } from 'node:timers/promises';
import type { Transaction } from '../../db/client.ts';
import { Prisma } from '../../db/client.ts';
import type { PrismaClient } from '../../db/generated/prisma/client.ts';
import type { Role } from '../../db/generated/prisma/enums.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { EVENT_COLUMNS, type StoredEvent } from '../../realtime/event-store.ts';
import { changeBySystem, type Recorder } from '../change.ts';
import { dataOf, mayRead, subjectIdOf } from '../events/types.ts';
import { FairShare } from '../executions/fair-share.ts';
import { EXECUTIONS_TOPIC, executionTopic, storableJson } from '../executions/ledger.ts';
import { BY_PEOPLE } from '../executions/principals.ts';
import type { StepRow } from '../executions/procedure.ts';
import { MAX_EVALUATION_MS, TimeBudget } from '../executions/time-budget.ts';
import type { WorkflowDefinition } from './definition.ts';
import { chainOf, MAX_EVENT_DEPTH } from './event-chain.ts';
import { ExpressionError, OutOfTimeError } from './expression.ts';
import { beginTriggered, type Trigger } from './triggers.ts';
import { evaluateWith, RunValues } from './values.ts';

/** Events that are looked at in one transaction. */
const BATCH = 50;
/** Runs that events begin of one workflow in a minute: those that begin each other must come to an end. */
export const MAX_EVENT_RUNS_PER_MINUTE = 60;
/** What all expressions about one event may take. */
export const MAX_EVENT_EVALUATION_MS = 2_000;
/** Others have their turn so often meanwhile. */
const TURN_MS = 20;
const SKIPPED = 'workflow.skipped';

type Cursor = { organizationId: string; after: number };
type EventTrigger = {
  workflowId: string;
  position: number;
  definition: WorkflowDefinition;
  /** Of whoever made the current version; null: they are gone. */
  role: Role | null;
  recent: number;
};
type Waiter = {
  id: string;
  executionId: string;
  definition: WorkflowDefinition;
  given: unknown;
  createdAt: Date;
  input: { where?: string; item?: unknown; index?: number };
  /** Of those in whose name it acts; null: they are no members any more. */
  roles: (Role | null)[];
  /** Null: its condition needs none. */
  ended: Pick<StepRow, 'key' | 'state' | 'output' | 'error'>[] | null;
};

/**
 * Tells workflows and waiting steps of what happened since the last look, each event once, in order: the position moves in the transaction
 * of what it brings about. An organization whose turn it is not is told another time. Returns whether there is more.
 */
export async function tellEvents(prisma: PrismaClient, share = new FairShare()): Promise<boolean> {
  // Where nobody listens the position follows; whoever begins to listen later is told of what comes after that.
  await prisma.$executeRaw`
    insert into workflow_event_cursors as c (organization_id, last_sequence)
    select h.organization_id, h.last_sequence from event_heads h join organizations o on o.id = h.organization_id
    left join workflow_event_cursors known using (organization_id)
    where h.last_sequence > coalesce(known.last_sequence, -1) and not ${LISTENS}
    on conflict (organization_id) do update set last_sequence = greatest(c.last_sequence, excluded.last_sequence)`;
  const behind = await prisma.$queryRaw<{ id: string }[]>`
    select h.organization_id as id from event_heads h join organizations o on o.id = h.organization_id
    left join workflow_event_cursors known using (organization_id)
    where h.last_sequence > coalesce(known.last_sequence, 0) and ${LISTENS}`;
  let isMore = false;
  for (const { id } of behind)
    if (share.waitMs(id) === 0) isMore = (await tellOrganization(prisma, share, id)) || isMore;
  return isMore;
}

const LISTENS = Prisma.sql`(
  exists (select 1 from workflow_triggers t join workflows w on w.id = t.workflow_id
          where t.event_type is not null and w.organization_id = h.organization_id)
  or exists (select 1 from execution_steps s join executions e on e.id = s.execution_id
             where s.waits_for is not null and s.state = 'WAITING' and e.organization_id = h.organization_id))`;

async function tellOrganization(prisma: PrismaClient, share: FairShare, organizationId: string): Promise<boolean> {
  return changeBySystem(prisma, async (tx, record) => {
    const [cursor] = await tx.$queryRaw<Cursor[]>`
      insert into workflow_event_cursors as c (organization_id, last_sequence) values (${organizationId}::uuid, 0)
      on conflict (organization_id) do update set last_sequence = c.last_sequence
      returning organization_id as "organizationId", last_sequence::float8 as after`;
    const events = await tx.$queryRaw<StoredEvent[]>`
      select ${Prisma.raw(EVENT_COLUMNS)} from events e
      where e.organization_id = ${organizationId}::uuid and e.sequence > ${cursor!.after} order by e.sequence limit ${BATCH}`;
    let [through, count] = [cursor!.after, 0];
    for (const event of events) {
      if (share.waitMs(organizationId) > 0) break;
      const told = { event: viewOf(event) };
      const time = new EventTime();
      await beginRuns(tx, record, event, told, time);
      await wakeWaiters(tx, event, told, time);
      share.used(organizationId, time.usedMs);
      [through, count] = [event.sequence, count + 1];
    }
    await tx.$executeRaw`
      update workflow_event_cursors set last_sequence = ${through} where organization_id = ${organizationId}::uuid`;
    return count === BATCH;
  });
}

/** The time for all that has to be evaluated about one event. */
class EventTime {
  readonly #budget = new TimeBudget({ limitMs: MAX_EVENT_EVALUATION_MS });
  #usedAtTurn = 0;

  get usedMs(): number {
    return this.#budget.usedMs;
  }

  /** For the next condition: at most half of what is left, so that slow ones leave enough for all others. */
  async next(): Promise<TimeBudget> {
    if (this.usedMs - this.#usedAtTurn >= TURN_MS) {
      this.#usedAtTurn = this.usedMs;
      await setImmediate();
    }
    return this.#budget.part(Math.min(MAX_EVALUATION_MS, this.#budget.leftMs / 2));
  }
}

/** As expressions read it. */
function viewOf(event: StoredEvent) {
  const { type, occurredAt } = event;
  return { type, subjectId: subjectIdOf(event), occurredAt: occurredAt.toISOString(), data: dataOf(event) };
}

async function beginRuns(
  tx: Transaction,
  record: Recorder,
  event: StoredEvent,
  told: { event: unknown },
  time: EventTime,
): Promise<void> {
  const { type, organizationId, subjectId } = event;
  // Of one that is told of another, nothing more is told: two workflows would tell each other for ever.
  const recorder: Pick<Recorder, 'event'> =
    type === SKIPPED ? { event: (given) => given.type !== SKIPPED && record.event(given) } : record;
  const triggers = await tx.$queryRaw<EventTrigger[]>`
    select w.id as "workflowId", t.position, v.definition, m.role::text as role,
           (select count(*)::int from executions e where e.workflow_id = w.id and e.trigger = 'EVENT' and e.created_at > now() - interval '1 minute') as recent
    from workflow_triggers t join workflows w on w.id = t.workflow_id
    join organizations o on o.id = w.organization_id
    join workflow_versions v on v.workflow_id = w.id and v.version = w.version
    left join organization_members m on m.organization_id = w.organization_id and m.user_id = v.created_by_id
    where t.event_type = ${type} and w.organization_id = ${organizationId}::uuid and o.is_active
      and w.id is distinct from ${subjectId}::uuid
    order by w.id, t.position`;
  if (triggers.length === 0) return;
  const { workflowIds, depth } = await chainOf(tx, event);
  for (const { workflowId, position, definition, role, recent } of triggers) {
    // Nobody learns of what they may not read.
    if (workflowIds.includes(workflowId) || (role !== null && !mayRead(role, type))) continue;
    const { where, input } = definition.triggers[position] as Extract<Trigger, { kind: 'event' }>;
    const budget = await time.next();
    const isMatch = matches(where, (source) => evaluateWith(source, told, budget));
    if (isMatch === false) continue;
    const refusal = refusalOf({ role, recent, depth }) ?? (isMatch === true ? null : `its where: ${isMatch.message}`);
    if (refusal === null) {
      const begun = {
        workflowId,
        organizationId,
        trigger: 'EVENT' as const,
        input,
        values: told,
        eventDepth: depth + 1,
        budget,
      };
      await beginTriggered(tx, recorder, begun);
    } else {
      const subject = { type: 'Workflow', id: workflowId };
      recorder.event({ organizationId, type: SKIPPED, subject, data: { trigger: 'EVENT', reason: refusal } });
    }
  }
}

/** Why an event that a workflow is to begin with begins none; null: it may. */
function refusalOf({ role, recent, depth }: Pick<EventTrigger, 'role' | 'recent'> & { depth: number }): string | null {
  if (role === null) return 'whoever made its current version is no member any more: have somebody else save it';
  if (recent >= MAX_EVENT_RUNS_PER_MINUTE)
    return `events began ${MAX_EVENT_RUNS_PER_MINUTE} runs of it within a minute already`;
  if (depth >= MAX_EVENT_DEPTH)
    return `${MAX_EVENT_DEPTH} runs in a row were begun by what the one before brought about: they seem to have no end`;
  return null;
}

/** Steps that wait for such an event have it as their output; whoever takes up their executions goes on. */
async function wakeWaiters(
  tx: Transaction,
  { type, organizationId }: StoredEvent,
  told: { event: unknown },
  time: EventTime,
): Promise<void> {
  const waiters = await tx.$queryRaw<Waiter[]>`
    select s.id, s.execution_id as "executionId", s.input, e.definition, e.input as given, e.created_at as "createdAt",
           array(select m.role::text from unnest(array[(e.definition->>'makerId')::uuid, e.created_by_id]) with ordinality as p(id, place)
                 left join organization_members m on m.user_id = p.id and m.organization_id = e.organization_id
                 where p.place = 1 or e.created_by_id is not null or e.trigger::text = any(${BY_PEOPLE})) as roles,
           case when s.input->>'where' is not null then (
             select jsonb_agg(jsonb_build_object('key', b.key, 'state', b.state, 'output', b.output, 'error', b.error))
             from execution_steps b where b.execution_id = e.id and b.finished_at is not null) end as ended
    from execution_steps s join executions e on e.id = s.execution_id
    where s.waits_for = ${type} and s.state = 'WAITING' and e.organization_id = ${organizationId}::uuid and e.finished_at is null
    order by e.id, s.position`;
  for (const waiter of waiters) {
    const mayBeTold = waiter.roles.every((role) => role !== null && mayRead(role, type));
    const isMatch = mayBeTold && isAwaited(waiter, told, await time.next());
    if (isMatch === false) continue;
    const [state, output, error] =
      isMatch === true
        ? ['SUCCEEDED', storableJson(told.event), null]
        : ['FAILED', null, `its where: ${isMatch.message}`];
    const { id, executionId } = waiter;
    await tx.$queryRaw`select 1 from executions where id = ${executionId}::uuid for no key update`;
    const changed = await tx.$executeRaw`
      update execution_steps set state = ${state}::"ExecutionStepState", output = ${output}::jsonb, error = ${error}, waits_for = null, wake_at = null, finished_at = now()
      where id = ${id}::uuid and state = 'WAITING'`;
    if (changed === 0) continue;
    await tx.$executeRaw`
      update executions set wake_at = now(), revision = revision + 1 where id = ${executionId}::uuid and finished_at is null`;
    await notifyTopics(tx, [EXECUTIONS_TOPIC, executionTopic(executionId)]);
  }
}

/** Its condition may be about what the run was given, and what came of its steps so far. */
function isAwaited(
  { executionId, definition, given, createdAt, input, ended }: Waiter,
  told: { event: unknown },
  budget: TimeBudget,
): boolean | OutOfTimeError {
  const { where, item, index } = input;
  const execution = { id: executionId, createdAt: createdAt.getTime(), input: given };
  return matches(where, (source) =>
    new RunValues(definition, execution, ended ?? []).evaluate(source, budget, { ...told, item, index }),
  );
}

/** One that cannot be evaluated is about another event; whether one that takes too long is, nobody knows. */
function matches(where: string | undefined, evaluate: (source: string) => unknown): boolean | OutOfTimeError {
  if (where === undefined) return true;
  try {
    return evaluate(where) === true;
  } catch (error) {
    if (error instanceof OutOfTimeError) return error;
    if (error instanceof ExpressionError) return false;
    throw error;
  }
}
