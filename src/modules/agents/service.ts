import type { Prisma, Transaction } from '../../db/client.ts';
import type { Agent } from '../../db/generated/prisma/client.ts';
import type { ModelCatalog } from '../../models/catalog.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { givenFields } from '../input.ts';
import type { Access } from '../organizations/access.ts';
import { lockOrganization } from '../organizations/members.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { agentConfiguration } from './configuration.ts';
import { sealCredential } from './credential.ts';
import {
  type AgentCreateInput,
  type AgentUpdateInput,
  agentCreateInput,
  agentDefinition,
  agentUpdateInput,
} from './inputs.ts';
import { type AgentLists, createAgentLists } from './lists.ts';
import { type AgentTemplates, createAgentTemplates, newestTemplate } from './templates.ts';

export const MAX_AGENTS_PER_ORGANIZATION = 1_000;

export type AgentDependencies = ServiceDependencies & { access: Access; catalog: ModelCatalog };

export type Agents = AgentLists &
  AgentTemplates & {
    create(caller: Caller | null, input: AgentCreateInput): Promise<Agent>;
    update(caller: Caller | null, input: AgentUpdateInput): Promise<Agent>;
    /** Its executions stay. */
    remove(caller: Caller | null, agentId: string | null): Promise<void>;
  };

export function createAgents(deps: AgentDependencies): Agents {
  const { prisma, keyring, access, catalog } = deps;
  const lists = createAgentLists(deps);

  return {
    ...lists,
    ...createAgentTemplates(deps, access, lists),

    async create(caller, input) {
      const { organizationId } = await access.requireOrganization(caller, input.organizationId, 'agent:edit');
      const values = parseInput(agentCreateInput, input);
      const { name, credential } = values;
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'agentCreate',
          key: values.idempotencyKey,
          input: { ...values, organizationId },
        };
        return remember(tx, keyring, request, async (agentId) => {
          await lockOrganization(tx, organizationId);
          const used = await tx.agent.count({ where: { organizationId } });
          if (used >= MAX_AGENTS_PER_ORGANIZATION)
            throw new QuotaExceededError('agents', MAX_AGENTS_PER_ORGANIZATION, used);
          await requireFreeName(tx, organizationId, name);
          await tx.agent.create({
            data: {
              ...(await composeAgent(tx, organizationId, values)),
              id: agentId,
              organizationId,
              name,
              credential: credential == null ? null : sealCredential(keyring, agentId, credential),
              createdById: caller!.userId,
            },
          });
          record.event({ ...about(organizationId, agentId), type: 'agent.created', data: { name } });
        });
      });
      const made = await lists.find(caller, id);
      if (!made) throw forgottenEntity('agent');
      return made;
    },

    async update(caller, input) {
      const { agentId: id, organizationId } = await access.requireAgent(caller, input.agentId, 'agent:edit');
      const values = parseInput(agentUpdateInput, input);
      const { name, model, configuration, credential, ...columns } = values;
      if (model !== undefined) requireUsable(model);
      const fields = givenFields(values);
      return change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        const agent = await tx.agent.findUnique({ where: { id } });
        if (!agent) throw new NotFoundError('agent');
        if (fields.length === 0) return agent;
        if (name !== undefined && name !== agent.name) await requireFreeName(tx, organizationId, name);
        record.event({ ...about(organizationId, id), type: 'agent.updated', data: { fields } });
        const data = {
          ...columns,
          name,
          model,
          configuration: configuration as Prisma.InputJsonObject | undefined,
          credential: credential && sealCredential(keyring, id, credential),
        };
        return tx.agent.update({ where: { id }, data });
      });
    },

    async remove(caller, agentId) {
      const { agentId: id, organizationId } = await access.requireAgent(caller, agentId, 'agent:delete');
      await change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        // Waits for executions that are being created: they lock the row they refer to.
        const locked = await tx.$queryRaw<unknown[]>`select 1 from agents where id = ${id}::uuid for update`;
        if (locked.length === 0) throw new NotFoundError('agent');
        const running = await tx.execution.count({ where: { agentId: id, finishedAt: null } });
        if (running > 0) throw new ConflictError(`${running} executions of the agent are not over: cancel them first`);
        await tx.agent.delete({ where: { id } });
        record.event({ ...about(organizationId, id), type: 'agent.deleted' });
      });
    },
  };

  /** What the input gives; what it does not give is the template's, then the installation's. */
  async function composeAgent(
    tx: Transaction,
    organizationId: string,
    { templateSlug, description, model, systemPrompt, configuration }: AgentValues,
  ) {
    const template = templateSlug == null ? null : await newestTemplate(tx, organizationId, templateSlug);
    if (templateSlug != null && !template)
      throw ValidationError.field('templateSlug', `the organization has no agent template "${templateSlug}"`);
    const recipe = template ? parseInput(agentDefinition, template.definition) : {};
    const chosen = model ?? recipe.model ?? catalog.defaultModel;
    requireUsable(chosen);
    return {
      templateId: template?.id ?? null,
      description: description ?? template?.description ?? null,
      model: chosen,
      systemPrompt: systemPrompt ?? recipe.systemPrompt ?? null,
      configuration: (configuration ?? recipe.configuration ?? agentConfiguration.parse({})) as Prisma.InputJsonObject,
    };
  }

  function requireUsable(model: string): void {
    const problem = catalog.problemOf(model);
    if (problem !== null) throw ValidationError.field('model', problem);
  }
}

type AgentValues = ReturnType<typeof agentCreateInput.parse>;

/** Under the organization's lock: it stays free until the commit. */
async function requireFreeName(tx: Transaction, organizationId: string, name: string): Promise<void> {
  if (await tx.agent.findUnique({ where: { organizationId_name: { organizationId, name } }, select: { id: true } }))
    throw new ConflictError(`the organization has an agent "${name}" already: choose another name`);
}

function about(organizationId: string, agentId: string) {
  return { organizationId, subject: { type: 'agent', id: agentId } };
}
