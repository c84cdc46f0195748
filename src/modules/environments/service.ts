import { Prisma, type Transaction } from '../../db/client.ts';
import type { Environment } from '../../db/generated/prisma/client.ts';
import type { RuntimeKind } from '../../db/generated/prisma/enums.ts';
import {
  ConflictError,
  NotFoundError,
  PermissionDeniedError,
  QuotaExceededError,
  ValidationError,
} from '../../shared/errors.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { givenFields } from '../input.ts';
import { announceLogRemoval } from '../log-removal.ts';
import { type Access, type EnvironmentAccess, type OrganizationAccess, readableBy } from '../organizations/access.ts';
import { lockOrganization, membershipsSql } from '../organizations/members.ts';
import { findRelatedPages } from '../related-pages.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { insertWithSlug } from '../slug.ts';
import { removeFromHosts } from '../stack-removal.ts';
import { parseEngineConfig, requireMayUse } from './engine-config.ts';
import { addEngine, moveEngine, readEngine } from './engines.ts';
import {
  type EnvironmentCreateInput,
  type EnvironmentUpdateInput,
  environmentCreateInput,
  environmentUpdateInput,
} from './inputs.ts';
import { createVariables, type Variables } from './variables.ts';

export const MAX_ENVIRONMENTS_PER_ORGANIZATION = 200;
/** Each environment of a host has a user id of its own there; it is never given to another one, also after a deletion. */
export const MAX_ENVIRONMENTS_PER_HOST = 100_000;
const SUPPORTED_RUNTIMES: RuntimeKind[] = ['PROCESS', 'DOCKER'];

const BY_CREATION = orderBy('created', { field: 'createdAt', direction: 'asc', type: 'date' });

export type EnvironmentDependencies = ServiceDependencies & {
  access: Access;
  /** Whether this installation allows the PROCESS runtime at all. */
  processRuntime: boolean;
  /** The id of the `hosts` row that a new PROCESS environment belongs to; null where none can run it. */
  hostForProcess(): Promise<string | null>;
};

export type Environments = Variables & {
  create(caller: Caller | null, input: EnvironmentCreateInput): Promise<Environment>;
  update(caller: Caller | null, input: EnvironmentUpdateInput): Promise<Environment>;
  remove(caller: Caller | null, environmentId: string | null): Promise<void>;
  /** Null where it is absent or another tenant's. */
  find(caller: Caller | null, id: string, query?: object): Promise<Environment | null>;
  findMany(caller: Caller | null, ids: string[], query?: object): Promise<Environment[]>;
  /** The same page of each organization's environments, oldest first, by organization id. */
  pages(
    caller: Caller | null,
    organizationIds: string[],
    page: Page,
    query?: object,
  ): Promise<Map<string, Connection<Environment>>>;
};

export function createEnvironments(deps: EnvironmentDependencies): Environments {
  const { prisma, pool, keyring, access, processRuntime, hostForProcess } = deps;

  const find: Environments['find'] = async (caller, id, query = {}) =>
    prisma.environment.findFirst({ ...query, where: { id, organization: readableBy(caller) } });

  /** Throws a ValidationError that says what is supported, or who may allow it. */
  function checkRuntime(runtime: RuntimeKind, { allowedRuntimes }: OrganizationAccess): void {
    const supported = SUPPORTED_RUNTIMES.filter((known) => known !== 'PROCESS' || processRuntime);
    if (!supported.includes(runtime)) {
      const reason =
        runtime === 'PROCESS' ? 'switched off on this installation (WINDFLOW_PROCESS_RUNTIME)' : 'not available yet';
      throw ValidationError.field('runtime', `${runtime} is ${reason}; supported: ${supported.join(', ') || 'none'}`);
    }
    if (!allowedRuntimes.includes(runtime)) {
      throw ValidationError.field(
        'runtime',
        `${runtime} is not allowed in this organization: a superadmin allows it with organizationRuntimesUpdate`,
      );
    }
  }

  /** Whether its engine is one of the server's own machine. */
  const isOnOwnMachine = async ({ runtime, hostId }: EnvironmentAccess): Promise<boolean> => {
    const engine = runtime === 'DOCKER' && hostId ? await readEngine(prisma, keyring, hostId) : null;
    return engine === null || engine.isLocal;
  };

  return {
    ...createVariables(deps, access),
    find,

    async create(caller, input) {
      const organization = await access.requireOrganization(caller, input.organizationId, 'environment:create');
      const { organizationId } = organization;
      const values = parseInput(environmentCreateInput, input);
      const runtime = values.runtime ?? 'PROCESS';
      checkRuntime(runtime, organization);
      const engine = runtime === 'DOCKER' ? parseEngineConfig(values.runtimeConfig) : null;
      if (engine) requireMayUse(engine, caller!);
      else requireNoConfig(runtime, values.runtimeConfig);
      const machineId = engine ? null : await hostForProcess();
      if (!engine && !machineId) {
        throw ValidationError.field(
          'runtime',
          'no host of this installation runs PROCESS now: start a server on the host that should',
        );
      }
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'environmentCreate',
          key: values.idempotencyKey,
          input: { ...values, organizationId },
        };
        return remember(tx, keyring, request, async (environmentId) => {
          const used = await tx.environment.count({ where: { organizationId } });
          if (used >= MAX_ENVIRONMENTS_PER_ORGANIZATION) {
            throw new QuotaExceededError('environments', MAX_ENVIRONMENTS_PER_ORGANIZATION, used);
          }
          const hostId = machineId ?? (await addEngine(tx, keyring, engine!));
          const uidOffset = machineId ? await takeUidOffset(tx, organizationId, machineId) : null;
          const row = {
            id: environmentId,
            organizationId,
            name: values.name,
            type: values.type ?? 'DEVELOPMENT',
            runtime,
            hostId,
            uidOffset,
          };
          await insertWithSlug(
            { slug: values.slug, name: values.name, fallback: 'environment' },
            async (slugs) => {
              const where = { organizationId, slug: { in: slugs } };
              return (await tx.environment.findMany({ where, select: { slug: true } })).map(({ slug }) => slug);
            },
            async (slug) => {
              const inserted = await tx.environment.createMany({ data: [{ ...row, slug }], skipDuplicates: true });
              return inserted.count === 1;
            },
          );
          const data = { name: row.name, type: row.type, runtime };
          record.event({ ...about(organizationId, environmentId), type: 'environment.created', data });
        });
      });
      const made = await find(caller, id);
      if (!made) throw forgottenEntity('environment');
      return made;
    },

    async update(caller, input) {
      const environment = await access.requireEnvironment(caller, input.environmentId, 'environment:update');
      const { environmentId: id, organizationId } = environment;
      const values = parseInput(environmentUpdateInput, input);
      const { runtimeConfig, ...columns } = values;
      const isEngine = environment.runtime === 'DOCKER';
      const engine = isEngine && runtimeConfig ? parseEngineConfig(runtimeConfig) : null;
      if (engine) requireMayUse(engine, caller!);
      if (!isEngine) requireNoConfig(environment.runtime, runtimeConfig);
      if (columns.privileges) requireMayGrant(environment, caller!, await isOnOwnMachine(environment));
      const fields = givenFields(values);
      return change(prisma, caller!, async (tx, record) => {
        if (fields.length > 0) {
          const { count } = await tx.environment.updateMany({ where: { id }, data: columns });
          if (count === 0) throw new NotFoundError('environment');
          if (engine) await moveEngine(tx, keyring, environment.hostId!, engine);
          record.event({ ...about(organizationId, id), type: 'environment.updated', data: { fields } });
        }
        return tx.environment.findUniqueOrThrow({ where: { id } });
      });
    },

    async remove(caller, environmentId) {
      const { environmentId: id, organizationId } = await access.requireEnvironment(
        caller,
        environmentId,
        'environment:delete',
      );
      await change(prisma, caller!, async (tx, record) => {
        // One deletion at a time: two that overlap would wait for each other's rows.
        await lockOrganization(tx, organizationId);
        // Waits for deployments that are being created: they lock the row they refer to.
        const locked = await tx.$queryRaw<unknown[]>`select 1 from environments where id = ${id}::uuid for update`;
        if (locked.length === 0) throw new NotFoundError('environment');
        const running = await tx.deployment.count({ where: { environmentId: id, finishedAt: null } });
        if (running > 0) {
          throw new ConflictError(`${running} deployments in the environment are not over: stop or cancel them first`);
        }
        await removeFromHosts(tx, Prisma.sql`se.environment_id = ${id}::uuid`);
        await announceLogRemoval(tx);
        await tx.environment.delete({ where: { id } });
        record.event({ ...about(organizationId, id), type: 'environment.deleted' });
      });
    },

    async findMany(caller, ids, query = {}) {
      return prisma.environment.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async pages(caller, organizationIds, page, query = {}) {
      const list = {
        parents: membershipsSql(caller, organizationIds),
        model: 'Environment' as const,
        parentColumn: Prisma.sql`organization_id`,
        order: BY_CREATION,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },
  };
}

/** PROCESS has nothing to configure. */
function requireNoConfig(runtime: RuntimeKind, config: Record<string, unknown> | null | undefined): void {
  if (config && Object.keys(config).length > 0) {
    throw ValidationError.field('runtimeConfig', `${runtime} takes no configuration: leave it out`);
  }
}

/** The host's next offset: allocations on one host wait for each other, and for none that the organization's deletion holds up. */
async function takeUidOffset(tx: Transaction, organizationId: string, hostId: string): Promise<number> {
  const present = await tx.$queryRaw<unknown[]>`
    select 1 from organizations where id = ${organizationId}::uuid for key share`;
  if (present.length === 0) throw new NotFoundError('organization');
  // Runtime directories of one machine share its user ids: the highest counter among them counts.
  const [taken] = await tx.$queryRaw<{ offset: number }[]>`
    with machine as materialized (
      select next_uid_offset from hosts where machine_id = (select machine_id from hosts where id = ${hostId}::uuid)
      order by id for no key update)
    update hosts set next_uid_offset = next.free + 1 from (select max(next_uid_offset) as free from machine) next
    where id = ${hostId}::uuid and next.free < ${MAX_ENVIRONMENTS_PER_HOST} returning next.free as "offset"`;
  if (!taken) {
    throw new QuotaExceededError(
      'environments that a host ever had',
      MAX_ENVIRONMENTS_PER_HOST,
      MAX_ENVIRONMENTS_PER_HOST,
      'run a server on another host for new ones, a user id is never given twice',
    );
  }
  return taken.offset;
}

/** Throws PermissionDeniedError. What a container may do on the server's own machine is not for a tenant to decide. */
function requireMayGrant({ role }: EnvironmentAccess, caller: Caller, isOnOwnMachine: boolean): void {
  if (role !== 'OWNER') throw new PermissionDeniedError('only an owner of the organization may change "privileges"');
  if (isOnOwnMachine && !caller.isSuperadmin)
    throw new PermissionDeniedError(
      'the environment runs on the server\'s own machine: only a superadmin who owns the organization may change "privileges"',
    );
}

function about(organizationId: string, environmentId: string) {
  return { organizationId, subject: { type: 'environment', id: environmentId } };
}
