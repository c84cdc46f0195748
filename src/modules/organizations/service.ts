import { Prisma } from '../../db/client.ts';
import type { Organization } from '../../db/generated/prisma/client.ts';
import type { RuntimeKind } from '../../db/generated/prisma/enums.ts';
import { ConflictError, NotFoundError, ValidationError } from '../../shared/errors.ts';
import { findPage } from '../../shared/keyset.ts';
import { type Connection, type Order, orderBy, type Page } from '../../shared/pagination.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { givenFields, isStorable, searchPattern } from '../input.ts';
import { announceLogRemoval } from '../log-removal.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { insertWithSlug } from '../slug.ts';
import { removeFromHosts } from '../stack-removal.ts';
import { type Access, createAccess, readableBy, requireCaller, requireSuperadmin } from './access.ts';
import {
  type OrganizationCreateInput,
  type OrganizationRuntimesInput,
  type OrganizationUpdateInput,
  organizationCreateInput,
  organizationRuntimesInput,
  organizationUpdateInput,
} from './inputs.ts';
import { createInvitations, type Invitations } from './invitations.ts';
import { addMember, createMembers, lockOrganization, type Members } from './members.ts';

/** Prisma's `select` or `include` for what an operation selects. */
export type Selection = object;

export type OrganizationFilter = { search?: string | null; isActive?: boolean | null };
export type OrganizationOrder = keyof typeof ORDERS;

const ORDERS = {
  NAME_ASC: orderBy('name', { field: 'name', direction: 'asc', type: 'text' }),
  NAME_DESC: orderBy('-name', { field: 'name', direction: 'desc', type: 'text' }),
  CREATED_AT_ASC: orderBy('created', { field: 'createdAt', direction: 'asc', type: 'date' }),
  CREATED_AT_DESC: orderBy('-created', { field: 'createdAt', direction: 'desc', type: 'date' }),
} satisfies Record<string, Order>;

/** PROCESS runs commands on the host: a superadmin's organizations alone begin with it. */
const RUNTIMES_OF_ANYONE: RuntimeKind[] = ['DOCKER', 'SWARM', 'KUBERNETES'];

export type OrganizationDependencies = ServiceDependencies & {
  /** Whether this installation allows the PROCESS runtime at all. */
  processRuntime: boolean;
};

export type Organizations = Members &
  Invitations & {
    access: Access;
    create(caller: Caller | null, input: OrganizationCreateInput): Promise<Organization>;
    update(caller: Caller | null, input: OrganizationUpdateInput): Promise<Organization>;
    remove(caller: Caller | null, organizationId: string | null): Promise<void>;
    /** Superadmins, for any organization. */
    updateRuntimes(caller: Caller | null, input: OrganizationRuntimesInput): Promise<Organization>;
    /** By id or slug; null where the caller is no member. */
    find(caller: Caller | null, by: { id: string } | { slug: string }, query?: Selection): Promise<Organization | null>;
    findMany(caller: Caller | null, ids: string[], query?: Selection): Promise<Organization[]>;
    page(
      caller: Caller | null,
      list: { filter?: OrganizationFilter | null; order?: OrganizationOrder | null; page: Page; query?: Selection },
    ): Promise<Connection<Organization>>;
  };

export function createOrganizations(deps: OrganizationDependencies): Organizations {
  const { prisma, keyring, processRuntime } = deps;
  const access = createAccess(deps);

  const find: Organizations['find'] = async (caller, by, query = {}) => {
    const readable = readableBy(caller);
    if ('slug' in by && !isStorable(by.slug)) return null;
    return prisma.organization.findFirst({ ...query, where: { ...by, ...readable } });
  };

  return {
    access,
    ...createMembers(deps, access),
    ...createInvitations(deps, access),

    async create(caller, input) {
      const creator = requireCaller(caller);
      const values = parseInput(organizationCreateInput, input);
      const { id } = await change(prisma, creator, (tx, record) => {
        const request = { caller: creator, operation: 'organizationCreate', key: values.idempotencyKey, input: values };
        return remember(tx, keyring, request, async (organizationId) => {
          const slugs = (candidates: string[]) =>
            tx.organization.findMany({ where: { slug: { in: candidates } }, select: { slug: true } });
          await insertWithSlug(
            { slug: values.slug, name: values.name, fallback: 'organization' },
            async (candidates) => (await slugs(candidates)).map(({ slug }) => slug),
            async (slug) => {
              const row = {
                id: organizationId,
                slug,
                name: values.name,
                description: values.description ?? null,
                settings: (values.settings ?? {}) as Prisma.InputJsonObject,
                allowedRuntimes: runtimesFor(creator, processRuntime),
              };
              return (await tx.organization.createMany({ data: [row], skipDuplicates: true })).count === 1;
            },
          );
          await addMember(tx, organizationId, creator.userId, 'OWNER');
          record.event({ ...about(organizationId), type: 'organization.created', data: { name: values.name } });
          record.accessChanged(creator.userId);
        });
      });
      const made = await find(creator, { id });
      if (!made) throw forgottenEntity('organization');
      return made;
    },

    async update(caller, input) {
      const right = input.isActive === true ? 'organization:activate' : 'organization:update';
      const { organizationId } = await access.requireOrganization(caller, input.organizationId, right);
      const values = parseInput(organizationUpdateInput, input);
      const fields = givenFields(values);
      return change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        if (fields.length === 0) return tx.organization.findUniqueOrThrow({ where: { id: organizationId } });
        const { settings, ...columns } = values;
        const updated = await tx.organization.update({
          where: { id: organizationId },
          data: { ...columns, ...(settings && { settings: settings as Prisma.InputJsonObject }) },
        });
        record.event({ ...about(organizationId), type: 'organization.updated', data: { fields } });
        return updated;
      });
    },

    async remove(caller, organizationId) {
      const { organizationId: id } = await access.requireOrganization(caller, organizationId, 'organization:delete');
      await change(prisma, caller!, async (tx, record) => {
        // Waits for whatever is being created in it, deployments above all: they lock the row they refer to.
        const locked = await tx.$queryRaw<unknown[]>`select 1 from organizations where id = ${id}::uuid for update`;
        if (locked.length === 0) throw new NotFoundError('organization');
        const running = await tx.deployment.count({ where: { organizationId: id, finishedAt: null } });
        if (running > 0) {
          throw new ConflictError(`${running} deployments of the organization are not over: stop or cancel them first`);
        }
        const members = await tx.organizationMember.findMany({
          where: { organizationId: id },
          select: { userId: true },
        });
        await removeFromHosts(tx, Prisma.sql`e.organization_id = ${id}::uuid`);
        await announceLogRemoval(tx);
        await tx.organization.delete({ where: { id } });
        for (const { userId } of members) record.accessChanged(userId);
        record.event({ ...about(id), type: 'organization.deleted' });
      });
    },

    async updateRuntimes(caller, input) {
      const superadmin = requireSuperadmin(caller);
      const { allowedRuntimes } = parseInput(organizationRuntimesInput, input);
      if (allowedRuntimes.includes('PROCESS') && !processRuntime) {
        throw ValidationError.field(
          'allowedRuntimes',
          'PROCESS is switched off on this installation: set WINDFLOW_PROCESS_RUNTIME=on first, or leave it out',
        );
      }
      return change(prisma, superadmin, async (tx, record) => {
        const id = input.organizationId;
        const changed = id
          ? await tx.organization.updateMany({ where: { id }, data: { allowedRuntimes } })
          : { count: 0 };
        if (!id || changed.count === 0) throw new NotFoundError('organization');
        record.event({
          ...about(id),
          type: 'organization.updated',
          data: { fields: ['allowedRuntimes'], allowedRuntimes },
        });
        return tx.organization.findUniqueOrThrow({ where: { id } });
      });
    },

    find,

    async findMany(caller, ids, query = {}) {
      return prisma.organization.findMany({ ...query, where: { id: { in: ids }, ...readableBy(caller) } });
    },

    async page(caller, { filter, order, page, query }) {
      const where: Prisma.OrganizationWhereInput = {
        ...readableBy(caller),
        ...(filter?.isActive != null && { isActive: filter.isActive }),
        ...nameOrSlugContains(filter?.search),
      };
      return findPage<Organization>(prisma.organization, { page, order: ORDERS[order ?? 'NAME_ASC'], where, query });
    },
  };
}

function runtimesFor(creator: Caller, processRuntime: boolean): RuntimeKind[] {
  return creator.isSuperadmin && processRuntime ? ['PROCESS', ...RUNTIMES_OF_ANYONE] : RUNTIMES_OF_ANYONE;
}

function about(organizationId: string) {
  return { organizationId, subject: { type: 'organization', id: organizationId } };
}

function nameOrSlugContains(search: string | null | undefined): Prisma.OrganizationWhereInput {
  const contains = searchPattern(search);
  if (contains === undefined) return {};
  if (contains === null) return { id: { in: [] } };
  return { OR: [{ name: { contains, mode: 'insensitive' } }, { slug: { contains, mode: 'insensitive' } }] };
}
