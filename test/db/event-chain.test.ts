import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EVENT_CHAIN_MINUTES, MAX_EVENT_DEPTH } from '../../src/modules/workflows/event-chain.ts';
import { tellEvents } from '../../src/modules/workflows/event-worker.ts';
import type { NewEvent } from '../../src/realtime/event-log.ts';
import { MINUTE_MS } from '../../src/shared/clock.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { storeEvents } from '../support/stored-events.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

const CREATE = `mutation ($input: WorkflowCreateInput!) { workflowCreate(input: $input) { ... on Workflow { id } } }`;

let tenants: Tenants;
let workflowId: string;
let made = 0;
beforeAll(async () => {
  tenants = await createTenants();
});
afterAll(() => tenants?.[Symbol.asyncDispose]());
beforeEach(async () => {
  await tenants.database.prisma.workflow.deleteMany();
  workflowId = await newWorkflow('execution.completed');
});

async function newWorkflow(event: string): Promise<string> {
  const definition = { triggers: [{ kind: 'event', event }], steps: { pause: { kind: 'delay', seconds: 0 } } };
  const input = { organizationId: tenants.acme.globalId, name: `workflow ${++made}`, definition };
  const { data } = await tenants.ask(tenants.acme.developer, CREATE, { input });
  return decodeIdOf('Workflow', data.workflowCreate.id)!;
}

type Given = { of?: string; parentId?: string; eventDepth?: number; endedAgoMs?: number };

/** A run that has ended, or is not over. */
async function execution({ of, parentId, eventDepth, endedAgoMs }: Given): Promise<string> {
  const id = newId();
  const finishedAt = endedAgoMs === undefined ? null : new Date(Date.now() - endedAgoMs);
  const status = finishedAt ? 'COMPLETED' : 'RUNNING';
  const data = { organizationId: tenants.acme.id, kind: 'WORKFLOW', definition: {}, workflowId: of } as const;
  await tenants.database.prisma.execution.create({
    data: { ...data, id, status, parentId, parentStep: parentId && id, eventDepth, finishedAt, deadlineAt: new Date() },
  });
  return id;
}

async function tell(id: string, type: NewEvent['type'] = 'execution.completed', subject = 'Execution') {
  const { pool, prisma } = tenants.database;
  const organizationId = tenants.acme.id;
  await storeEvents(pool, [{ organizationId, type, actor: null, subject: { type: subject, id }, data: {} }]);
  while (await tellEvents(prisma));
}

/** What it has begun since. */
const begun = async (of = workflowId) => {
  const where = { workflowId: of, trigger: 'EVENT' } as const;
  return (await tenants.database.prisma.execution.findMany({ where })).map(({ eventDepth }) => eventDepth);
};
const skips = async (of = workflowId) => {
  const { rows } = await tenants.database.pool.query<{ reason: string }>(
    `select data->>'reason' as reason from events where type = 'workflow.skipped' and subject_id = $1`,
    [of],
  );
  return rows.map(({ reason }) => reason);
};

describe('what an event begins', () => {
  it('should not be the workflow that brings it about, however far above', async () => {
    const top = await execution({ of: workflowId });
    const below = await execution({ parentId: await execution({ parentId: top }) });
    const other = await newWorkflow('execution.completed');
    await tell(below);
    expect(await begun()).toEqual([]);
    expect(await begun(other)).toEqual([1]);
  });

  it('should be the workflow again once that run is over', async () => {
    const below = await execution({ parentId: await execution({ of: workflowId, endedAgoMs: MINUTE_MS }) });
    await tell(below);
    expect(await begun()).toEqual([1]);
  });

  it('should not be an event about the workflow itself', async () => {
    const id = await newWorkflow('workflow.updated');
    await tell(id, 'workflow.updated', 'Workflow');
    expect(await begun(id)).toEqual([]);
  });

  it('should come to an end where each run brings about the next', async () => {
    await tell(await execution({ eventDepth: MAX_EVENT_DEPTH - 1 }));
    expect(await begun()).toEqual([MAX_EVENT_DEPTH]);
    await tell(await execution({ eventDepth: MAX_EVENT_DEPTH }));
    expect(await begun()).toEqual([MAX_EVENT_DEPTH]);
    expect(await skips()).toEqual([expect.stringContaining('10 runs in a row')]);
    await tell(await execution({ eventDepth: MAX_EVENT_DEPTH, endedAgoMs: (EVENT_CHAIN_MINUTES + 1) * MINUTE_MS }));
    expect(await begun()).toEqual([MAX_EVENT_DEPTH, 1]);
  });

  it('should be told where whoever made the workflow has left, and not told of that again', async () => {
    const watching = await newWorkflow('workflow.skipped');
    const { prisma } = tenants.database;
    const { userId } = tenants.acme.developer;
    const member = await prisma.organizationMember.findFirstOrThrow({ where: { userId } });
    await prisma.organizationMember.delete({ where: { id: member.id } });
    await tell(await execution({}));
    await prisma.organizationMember.create({ data: member });
    expect(await begun()).toEqual([]);
    expect(await skips()).toEqual([expect.stringContaining('no member any more')]);
    expect(await skips(watching)).toEqual([]);
  });
});
