import { type Finding, scoreOf } from '../../compose/index.ts';
import { Prisma, type Transaction } from '../../db/client.ts';
import type { Stack, StackVersion } from '../../db/generated/prisma/client.ts';
import type { RuntimeKind } from '../../db/generated/prisma/enums.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import type { Environments } from '../environments/service.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { givenFields } from '../input.ts';
import { announceLogRemoval } from '../log-removal.ts';
import { type Access, isAllowed } from '../organizations/access.ts';
import { lockOrganization } from '../organizations/members.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { insertWithSlug } from '../slug.ts';
import { removeFromHosts } from '../stack-removal.ts';
import { checkForEnvironment, refuseUnreadable, requireStorableStack } from './compose-check.ts';
import { type StackCreateInput, type StackUpdateInput, stackCreateInput, stackUpdateInput } from './inputs.ts';
import { createStackLists, type StackLists } from './lists.ts';

export const MAX_STACKS_PER_ORGANIZATION = 2_000;

export type StackDependencies = ServiceDependencies & { access: Access; environments: Environments };

/** Exactly one of `compose` and `stackId`; null: an id that cannot be one. */
export type StackValidateInput = {
  organizationId: string | null;
  compose?: string | null;
  stackId?: string | null;
  environmentId?: string | null;
  runtime?: RuntimeKind | null;
};
export type StackValidation = { valid: boolean; score: number; findings: Finding[] };

export type Stacks = StackLists & {
  create(caller: Caller | null, input: StackCreateInput): Promise<Stack>;
  /** Another compose file makes another version. */
  update(caller: Caller | null, input: StackUpdateInput): Promise<Stack>;
  remove(caller: Caller | null, stackId: string | null): Promise<void>;
  validate(caller: Caller | null, input: StackValidateInput): Promise<StackValidation>;
  /** A version by its number, null: the current one; null where there is none. For other modules, which have authorized already. */
  version(stackId: string, number: number | null, db?: Transaction): Promise<StackVersion | null>;
  /** The same; throws where there is none. */
  requireVersion(stackId: string, number: number | null): Promise<StackVersion>;
};

export function createStacks(deps: StackDependencies): Stacks {
  const { prisma, keyring, access, environments } = deps;
  const lists = createStackLists(deps);

  const version: Stacks['version'] = async (stackId, number, db = prisma) => {
    if (number !== null) return db.stackVersion.findUnique({ where: { stackId_number: { stackId, number } } });
    return db.stackVersion.findFirst({ where: { stackId }, orderBy: { number: 'desc' } });
  };

  return {
    ...lists,
    version,

    async requireVersion(stackId, number) {
      const found = await version(stackId, number);
      if (found) return found;
      // The current one is there as long as the stack is.
      if (number === null) throw new NotFoundError('stack');
      throw ValidationError.field('stackVersion', `the stack has no version ${number}`);
    },

    async create(caller, input) {
      const { organizationId } = await access.requireOrganization(caller, input.organizationId, 'stack:edit');
      const values = parseInput(stackCreateInput, input);
      const services = requireStorableStack(values.compose);
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'stackCreate',
          key: values.idempotencyKey,
          input: { ...values, organizationId },
        };
        return remember(tx, keyring, request, async (stackId) => {
          const used = await tx.stack.count({ where: { organizationId } });
          if (used >= MAX_STACKS_PER_ORGANIZATION) {
            throw new QuotaExceededError('stacks', MAX_STACKS_PER_ORGANIZATION, used);
          }
          const { name } = values;
          const row = { id: stackId, organizationId, name, description: values.description ?? null, currentNumber: 1 };
          await insertWithSlug(
            { slug: values.slug, name, fallback: 'stack' },
            async (slugs) => {
              const where = { organizationId, slug: { in: slugs } };
              return (await tx.stack.findMany({ where, select: { slug: true } })).map(({ slug }) => slug);
            },
            async (slug) => (await tx.stack.createMany({ data: [{ ...row, slug }], skipDuplicates: true })).count === 1,
          );
          await addVersion(tx, { stackId, number: 1, compose: values.compose, services, createdById: caller!.userId });
          record.event({ ...about(organizationId, stackId), type: 'stack.created', data: { name } });
        });
      });
      const made = await lists.find(caller, id);
      if (!made) throw forgottenEntity('stack');
      return made;
    },

    async update(caller, input) {
      const { stackId: id, organizationId } = await access.requireStack(caller, input.stackId, 'stack:edit');
      const { expectedVersion, compose, ...columns } = parseInput(stackUpdateInput, input);
      const services = compose === undefined ? [] : requireStorableStack(compose);
      return change(prisma, caller!, async (tx, record) => {
        const number = await lockStack(tx, id);
        if (expectedVersion != null && expectedVersion !== number) {
          throw new ConflictError(
            `the current version is ${number}, not ${expectedVersion}: read it, then change that`,
          );
        }
        const isNew = compose !== undefined && compose !== (await version(id, number, tx))?.compose;
        const fields = [...givenFields(columns), ...(isNew ? ['compose'] : [])];
        if (fields.length === 0) return tx.stack.findUniqueOrThrow({ where: { id } });
        const currentNumber = isNew ? number + 1 : number;
        if (isNew)
          await addVersion(tx, { stackId: id, number: currentNumber, compose, services, createdById: caller!.userId });
        const data = { fields, version: currentNumber };
        record.event({ ...about(organizationId, id), type: 'stack.updated', data });
        return tx.stack.update({ where: { id }, data: { ...columns, currentNumber } });
      });
    },

    async remove(caller, stackId) {
      const { stackId: id, organizationId } = await access.requireStack(caller, stackId, 'stack:delete');
      await change(prisma, caller!, async (tx, record) => {
        // One deletion at a time: two that overlap would wait for each other's rows.
        await lockOrganization(tx, organizationId);
        // Waits for deployments that are being created: they lock the row they refer to.
        const locked = await tx.$queryRaw<unknown[]>`select 1 from stacks where id = ${id}::uuid for update`;
        if (locked.length === 0) throw new NotFoundError('stack');
        const running = await tx.deployment.count({ where: { stackId: id, finishedAt: null } });
        if (running > 0) {
          throw new ConflictError(`${running} deployments of the stack are not over: stop or cancel them first`);
        }
        await removeFromHosts(tx, Prisma.sql`se.stack_id = ${id}::uuid`);
        await announceLogRemoval(tx);
        await tx.stack.delete({ where: { id } });
        record.event({ ...about(organizationId, id), type: 'stack.deleted' });
      });
    },

    async validate(caller, input) {
      const { organizationId, role } = await access.requireOrganization(caller, input.organizationId, 'stack:read');
      if ((input.compose == null) === (input.stackId === undefined)) {
        throw ValidationError.field('compose', 'give either "compose" or "stackId"');
      }
      const compose = input.compose ?? (await composeOf(caller, input.stackId ?? null, organizationId));
      refuseUnreadable(compose);
      if (input.environmentId === undefined)
        return validation(compose, { runtime: input.runtime ?? null, variables: null, useSecrets: false });

      const environment = await access.requireEnvironment(caller, input.environmentId, 'environment:read');
      if (environment.organizationId !== organizationId) throw new NotFoundError('environment');
      return validation(compose, {
        runtime: input.runtime ?? environment.runtime,
        variables: await environments.resolveVariables(environment.environmentId),
        useSecrets: isAllowed(role, 'deployment:create', environment.type),
      });
    },
  };

  async function composeOf(caller: Caller | null, stackId: string | null, organizationId: string): Promise<string> {
    const stack = await access.requireStack(caller, stackId, 'stack:read');
    if (stack.organizationId !== organizationId) throw new NotFoundError('stack');
    return (await version(stack.stackId, stack.currentNumber))!.compose;
  }
}

function validation(compose: string, options: Parameters<typeof checkForEnvironment>[1]): StackValidation {
  const findings = checkForEnvironment(compose, options);
  return { valid: findings.every(({ severity }) => severity !== 'ERROR'), score: scoreOf(findings), findings };
}

/** The current version's number; changes of a stack wait for each other, deployments go on beside them. */
async function lockStack(tx: Transaction, stackId: string): Promise<number> {
  const [stack] = await tx.$queryRaw<{ number: number }[]>`
    select current_number as number from stacks where id = ${stackId}::uuid for no key update`;
  if (!stack) throw new NotFoundError('stack');
  return stack.number;
}

type NewVersion = Pick<StackVersion, 'stackId' | 'number' | 'compose' | 'createdById'> & {
  services: Prisma.InputJsonArray;
};

async function addVersion(tx: Transaction, version: NewVersion): Promise<void> {
  await tx.stackVersion.create({ data: { id: newId(), ...version } });
}

function about(organizationId: string, stackId: string) {
  return { organizationId, subject: { type: 'stack', id: stackId } };
}
