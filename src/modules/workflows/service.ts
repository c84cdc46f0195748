import type { Prisma, Transaction } from '../../db/client.ts';
import type { Execution, Workflow } from '../../db/generated/prisma/client.ts';
import { ConflictError, NotFoundError, QuotaExceededError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import type { Executions } from '../executions/service.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { givenFields } from '../input.ts';
import type { Access } from '../organizations/access.ts';
import { lockOrganization } from '../organizations/members.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import type { WorkflowDefinition } from './definition.ts';
import {
  requireDefinition,
  requireScheduled,
  type WorkflowCreateInput,
  type WorkflowRunInput,
  type WorkflowUpdateInput,
  workflowCreateInput,
  workflowRunInput,
  workflowUpdateInput,
} from './inputs.ts';
import { createWorkflowLists, type WorkflowLists } from './lists.ts';
import { beginWorkflowRun } from './runs.ts';
import { replaceTriggers } from './triggers.ts';
import { createWebhooks, type Webhooks } from './webhooks.ts';

export const MAX_WORKFLOWS_PER_ORGANIZATION = 1_000;

export type WorkflowDependencies = ServiceDependencies & { access: Access; executions: Executions };

export type Workflows = WorkflowLists &
  Webhooks & {
    create(caller: Caller | null, input: WorkflowCreateInput): Promise<Workflow>;
    /** Another definition makes another version; what runs goes on as it began. */
    update(caller: Caller | null, input: WorkflowUpdateInput): Promise<Workflow>;
    /** Its executions stay. */
    remove(caller: Caller | null, workflowId: string | null): Promise<void>;
    run(caller: Caller | null, input: WorkflowRunInput): Promise<Execution>;
  };

export function createWorkflows(deps: WorkflowDependencies): Workflows {
  const { prisma, keyring, access, executions, clock } = deps;
  const lists = createWorkflowLists(deps);

  return {
    ...lists,
    ...createWebhooks(deps),

    async create(caller, input) {
      const { organizationId } = await access.requireOrganization(caller, input.organizationId, 'workflow:edit');
      const { name, schedule, idempotencyKey: key, definition: given } = parseInput(workflowCreateInput, input);
      const definition = requireDefinition(given);
      if (schedule) requireScheduled(definition, ['schedule']);
      const { id } = await change(prisma, caller!, (tx, record) => {
        const about = { organizationId, name, schedule, definition: given };
        return remember(
          tx,
          keyring,
          { caller: caller!, operation: 'workflowCreate', key, input: about },
          async (workflowId) => {
            await lockOrganization(tx, organizationId);
            const used = await tx.workflow.count({ where: { organizationId } });
            if (used >= MAX_WORKFLOWS_PER_ORGANIZATION)
              throw new QuotaExceededError('workflows', MAX_WORKFLOWS_PER_ORGANIZATION, used);
            await requireFreeName(tx, organizationId, name);
            const createdById = caller!.userId;
            await tx.workflow.create({
              data: { id: workflowId, organizationId, name, version: 1, schedule: schedule ?? null, createdById },
            });
            await addVersion(tx, { workflowId, version: 1, definition, createdById });
            await replaceTriggers(tx, { id: workflowId, schedule: schedule ?? null }, definition, clock.now());
            record.event({ ...subject(organizationId, workflowId), type: 'workflow.created', data: { name } });
          },
        );
      });
      const made = await lists.find(caller, id);
      if (!made) throw forgottenEntity('workflow');
      return made;
    },

    async update(caller, input) {
      const { workflowId: id, organizationId } = await access.requireWorkflow(
        caller,
        input.workflowId,
        'workflow:edit',
      );
      const { definition: given, ...columns } = parseInput(workflowUpdateInput, input);
      const definition = given === undefined ? null : requireDefinition(given);
      return change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        const workflow = await tx.workflow.findUnique({ where: { id } });
        if (!workflow) throw new NotFoundError('workflow');
        const { name } = columns;
        if (name !== undefined && name !== workflow.name) await requireFreeName(tx, organizationId, name);
        const isNew = definition !== null && !(await isCurrent(tx, workflow, definition));
        const fields = [...givenFields(columns), ...(isNew ? ['definition'] : [])];
        if (fields.length === 0) return workflow;
        const version = isNew ? workflow.version + 1 : workflow.version;
        if (isNew) await addVersion(tx, { workflowId: id, version, definition, createdById: caller!.userId });
        record.event({ ...subject(organizationId, id), type: 'workflow.updated', data: { fields, version } });
        const changed = await tx.workflow.update({ where: { id }, data: { ...columns, version } });
        if (isNew || columns.schedule !== undefined) {
          const current = definition ?? (await currentDefinition(tx, changed));
          if (changed.schedule !== null)
            requireScheduled(current, columns.schedule ? ['schedule'] : ['definition', 'inputs']);
          await replaceTriggers(tx, changed, current, clock.now());
        }
        return changed;
      });
    },

    async remove(caller, workflowId) {
      const { workflowId: id, organizationId } = await access.requireWorkflow(caller, workflowId, 'workflow:delete');
      await change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        // Waits for executions that are being created: they lock the row they refer to.
        const locked = await tx.$queryRaw<unknown[]>`select 1 from workflows where id = ${id}::uuid for update`;
        if (locked.length === 0) throw new NotFoundError('workflow');
        const running = await tx.execution.count({ where: { workflowId: id, finishedAt: null } });
        if (running > 0)
          throw new ConflictError(`${running} executions of the workflow are not over: cancel them first`);
        await tx.workflow.delete({ where: { id } });
        record.event({ ...subject(organizationId, id), type: 'workflow.deleted' });
      });
    },

    async run(caller, input) {
      const { workflowId, organizationId } = await access.requireWorkflow(caller, input.workflowId, 'workflow:run');
      const { input: given, idempotencyKey: key } = parseInput(workflowRunInput, input);
      const createdById = caller!.userId;
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = { caller: caller!, operation: 'workflowRun', key, input: { workflowId, input: given } };
        return remember(tx, keyring, request, (executionId) =>
          beginWorkflowRun(tx, record, {
            ...{ id: executionId, workflowId, organizationId, createdById, trigger: 'MANUAL', input: given },
          }),
        );
      });
      const made = await executions.find(caller, id);
      if (!made) throw forgottenEntity('execution');
      return made;
    },
  };
}

type NewVersion = { workflowId: string; version: number; definition: WorkflowDefinition; createdById: string };

async function addVersion(tx: Transaction, { definition, ...values }: NewVersion): Promise<void> {
  const stored = definition as unknown as Prisma.InputJsonObject;
  await tx.workflowVersion.create({ data: { id: newId(), ...values, definition: stored } });
}

async function currentDefinition(tx: Transaction, { id: workflowId, version }: Workflow): Promise<WorkflowDefinition> {
  const where = { workflowId_version: { workflowId, version } };
  return (await tx.workflowVersion.findUniqueOrThrow({ where })).definition as WorkflowDefinition;
}

async function isCurrent(tx: Transaction, { id, version }: Workflow, definition: WorkflowDefinition): Promise<boolean> {
  const [found] = await tx.$queryRaw<{ isSame: boolean }[]>`
    select definition = ${JSON.stringify(definition)}::jsonb as "isSame" from workflow_versions
    where workflow_id = ${id}::uuid and version = ${version}`;
  return found?.isSame ?? false;
}

/** Under the organization's lock: it stays free until the commit. */
async function requireFreeName(tx: Transaction, organizationId: string, name: string): Promise<void> {
  if (await tx.workflow.findUnique({ where: { organizationId_name: { organizationId, name } }, select: { id: true } }))
    throw new ConflictError(`the organization has a workflow "${name}" already: choose another name`);
}

function subject(organizationId: string, workflowId: string) {
  return { organizationId, subject: { type: 'Workflow', id: workflowId } };
}
