import { isDeepStrictEqual } from 'node:util';
import type { Prisma, Transaction } from '../../db/client.ts';
import type { AgentTemplate } from '../../db/generated/prisma/client.ts';
import { ConflictError, NotFoundError, QuotaExceededError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import { change, type Recorder } from '../change.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import type { Access } from '../organizations/access.ts';
import { lockOrganization } from '../organizations/members.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import {
  type AgentTemplateCreateInput,
  type AgentTemplateUpdateInput,
  agentTemplateCreateInput,
  agentTemplateUpdateInput,
} from './inputs.ts';
import type { AgentLists } from './lists.ts';

export const MAX_TEMPLATES_PER_ORGANIZATION = 500;

export type AgentTemplates = {
  createTemplate(caller: Caller | null, input: AgentTemplateCreateInput): Promise<AgentTemplate>;
  /** Adds a version to the template, whichever version is named; answers with the newest one. */
  updateTemplate(caller: Caller | null, input: AgentTemplateUpdateInput): Promise<AgentTemplate>;
};

export function createAgentTemplates(
  { prisma, keyring }: Pick<ServiceDependencies, 'prisma' | 'keyring'>,
  access: Access,
  lists: AgentLists,
): AgentTemplates {
  return {
    async createTemplate(caller, input) {
      const { organizationId } = await access.requireOrganization(caller, input.organizationId, 'agent:edit');
      const { idempotencyKey: key, ...values } = parseInput(agentTemplateCreateInput, input);
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'agentTemplateCreate',
          key,
          input: { ...values, organizationId },
        };
        return remember(tx, keyring, request, async (templateId) => {
          await lockOrganization(tx, organizationId);
          const used = await tx.agentTemplate.count({ where: { organizationId, version: 1 } });
          if (used >= MAX_TEMPLATES_PER_ORGANIZATION)
            throw new QuotaExceededError('agent templates', MAX_TEMPLATES_PER_ORGANIZATION, used);
          if (await newestTemplate(tx, organizationId, values.slug))
            throw new ConflictError(`the slug "${values.slug}" is taken: choose another one, or change that template`);
          await addVersion(tx, record, {
            ...values,
            id: templateId,
            organizationId,
            version: 1,
            description: values.description ?? null,
            createdById: caller!.userId,
          });
        });
      });
      const [made] = await lists.findTemplates(caller, [id]);
      if (!made) throw forgottenEntity('agent template');
      return made;
    },

    async updateTemplate(caller, input) {
      const { organizationId, slug } = await access.requireAgentTemplate(caller, input.agentTemplateId, 'agent:edit');
      const values = parseInput(agentTemplateUpdateInput, input);
      return change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        const newest = await newestTemplate(tx, organizationId, slug);
        if (!newest) throw new NotFoundError('agent template');
        const { name = newest.name, description = newest.description, definition = newest.definition } = values;
        const content = { name, description, definition };
        if (isDeepStrictEqual(content, contentOf(newest))) return newest;
        return addVersion(tx, record, {
          ...content,
          id: newId(),
          organizationId,
          slug,
          type: newest.type,
          version: newest.version + 1,
          createdById: caller!.userId,
        });
      });
    },
  };
}

/** Null where the organization has no such template. */
export function newestTemplate(tx: Transaction, organizationId: string, slug: string): Promise<AgentTemplate | null> {
  return tx.agentTemplate.findFirst({ where: { organizationId, slug }, orderBy: { version: 'desc' } });
}

const contentOf = ({ name, description, definition }: AgentTemplate) => ({ name, description, definition });

type NewVersion = Omit<AgentTemplate, 'createdAt' | 'definition'> & { definition: unknown };

async function addVersion(tx: Transaction, record: Recorder, version: NewVersion): Promise<AgentTemplate> {
  const { id, organizationId, slug } = version;
  record.event({
    organizationId,
    subject: { type: 'agentTemplate', id },
    type: 'agentTemplate.created',
    data: { slug, version: version.version },
  });
  return tx.agentTemplate.create({ data: { ...version, definition: version.definition as Prisma.InputJsonObject } });
}
