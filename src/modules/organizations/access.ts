import type { Privilege } from '../../compose/index.ts';
import type { PrismaClient, Transaction } from '../../db/client.ts';
import { Prisma } from '../../db/client.ts';
import type { EnvironmentType, Role, RuntimeKind } from '../../db/generated/prisma/enums.ts';
import { NotFoundError, PermissionDeniedError, UnauthenticatedError } from '../../shared/errors.ts';
import type { Caller } from '../services.ts';

/** From the least to the most. */
export const ROLES = ['VIEWER', 'DEVELOPER', 'ADMIN', 'OWNER'] as const satisfies Role[];

const LEAST_ROLE = {
  'organization:read': 'VIEWER',
  'organization:update': 'ADMIN',
  'organization:activate': 'ADMIN',
  'organization:delete': 'OWNER',
  'member:read': 'VIEWER',
  'member:manage': 'ADMIN',
  'member:leave': 'VIEWER',
  'invitation:read': 'ADMIN',
  'invitation:manage': 'ADMIN',
  'environment:read': 'VIEWER',
  'environment:create': 'ADMIN',
  'environment:update': 'ADMIN',
  'environment:delete': 'ADMIN',
  'variable:set': 'ADMIN',
  'variable:delete': 'ADMIN',
  'stack:read': 'VIEWER',
  'stack:edit': 'DEVELOPER',
  'stack:delete': 'DEVELOPER',
  'deployment:read': 'VIEWER',
  'deployment:plan': 'DEVELOPER',
  'plan:read': 'DEVELOPER',
  'deployment:create': 'DEVELOPER',
  'deployment:cancel': 'DEVELOPER',
  'deployment:stop': 'DEVELOPER',
  'agent:read': 'VIEWER',
  'agent:edit': 'DEVELOPER',
  'agent:delete': 'DEVELOPER',
  'agent:execute': 'DEVELOPER',
  'workflow:read': 'VIEWER',
  'workflow:edit': 'DEVELOPER',
  'workflow:delete': 'DEVELOPER',
  'workflow:run': 'DEVELOPER',
  'execution:read': 'VIEWER',
  'execution:retry': 'DEVELOPER',
  'execution:cancel': 'DEVELOPER',
  'execution:approve': 'DEVELOPER',
  'notification:read': 'DEVELOPER',
  'notification:manage': 'ADMIN',
} as const satisfies Record<string, Role>;

export type Permission = keyof typeof LEAST_ROLE;

const LEAST_ROLE_IN_PRODUCTION: Partial<Record<Permission, Role>> = {
  'deployment:plan': 'ADMIN',
  'plan:read': 'ADMIN',
  'deployment:create': 'ADMIN',
  'deployment:cancel': 'ADMIN',
  'deployment:stop': 'ADMIN',
};

/** What an organization that is not active still allows, beside everything that only reads. */
const ALLOWED_WHILE_INACTIVE = new Set<Permission>(['organization:activate', 'organization:delete', 'member:leave']);

/** What the gate found out on its way. */
export type OrganizationAccess = {
  organizationId: string;
  role: Role;
  isActive: boolean;
  allowedRuntimes: RuntimeKind[];
};
export type EnvironmentAccess = OrganizationAccess & {
  environmentId: string;
  type: EnvironmentType;
  runtime: RuntimeKind;
  hostId: string | null;
  uidOffset: number | null;
  environmentSlug: string;
  /** What its containers may do beyond their own walls. */
  privileges: Privilege[];
};
export type StackAccess = OrganizationAccess & { stackId: string; stackSlug: string; currentNumber: number };
export type InvitationAccess = OrganizationAccess & { invitationId: string; invitedRole: Role };
export type DeploymentAccess = EnvironmentAccess & { deploymentId: string; stackId: string };
export type AgentAccess = OrganizationAccess & { agentId: string };
export type AgentTemplateAccess = OrganizationAccess & { slug: string };
export type WorkflowAccess = OrganizationAccess & { workflowId: string };
export type ExecutionAccess = OrganizationAccess & { executionId: string };
export type NotificationChannelAccess = OrganizationAccess & { channelId: string };
export type NotificationDeliveryAccess = NotificationChannelAccess & { deliveryId: string };

type MaybeCaller = Caller | null;
type MaybeId = string | null;

export type Access = {
  /** Throws UnauthenticatedError, NotFoundError (not a member, absent, malformed: id null) or PermissionDeniedError. So do the others. */
  requireOrganization(
    caller: MaybeCaller,
    organizationId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<OrganizationAccess>;
  requireInvitation(
    caller: MaybeCaller,
    invitationId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<InvitationAccess>;
  requireEnvironment(
    caller: MaybeCaller,
    environmentId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<EnvironmentAccess>;
  requireStack(caller: MaybeCaller, stackId: MaybeId, permission: Permission, db?: Transaction): Promise<StackAccess>;
  requireDeployment(
    caller: MaybeCaller,
    deploymentId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<DeploymentAccess>;
  requireAgent(caller: MaybeCaller, agentId: MaybeId, permission: Permission, db?: Transaction): Promise<AgentAccess>;
  /** By the id of any of its versions. */
  requireAgentTemplate(
    caller: MaybeCaller,
    agentTemplateId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<AgentTemplateAccess>;
  requireWorkflow(
    caller: MaybeCaller,
    workflowId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<WorkflowAccess>;
  requireExecution(
    caller: MaybeCaller,
    executionId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<ExecutionAccess>;
  requireNotificationChannel(
    caller: MaybeCaller,
    channelId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<NotificationChannelAccess>;
  requireNotificationDelivery(
    caller: MaybeCaller,
    deliveryId: MaybeId,
    permission: Permission,
    db?: Transaction,
  ): Promise<NotificationDeliveryAccess>;
};

/** Whether a role has a right in an organization that is active; `type` where the right is one in an environment. */
export function isAllowed(role: Role, permission: Permission, type?: EnvironmentType): boolean {
  return isAtLeast(role, leastRole(permission, type));
}

export function isAtLeast(role: Role, least: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(least);
}

/** The organizations that the caller reads: a condition for queries that load what belongs to one. */
export function readableBy(caller: MaybeCaller): { members: { some: { userId: string } } } {
  return { members: { some: { userId: requireCaller(caller).userId } } };
}

export function requireCaller(caller: MaybeCaller): Caller {
  if (!caller) throw new UnauthenticatedError();
  return caller;
}

export function requireSuperadmin(caller: MaybeCaller): Caller {
  if (!requireCaller(caller).isSuperadmin) {
    throw new PermissionDeniedError("only this installation's superadmin (its first user) may do this");
  }
  return caller!;
}

const ORGANIZATION_COLUMNS = Prisma.sql`
  o.id as "organizationId", m.role::text as "role", o.is_active as "isActive", o.allowed_runtimes::text[] as "allowedRuntimes"`;
const environmentColumns = (e: string): string => `
  ${e}.id as "environmentId", ${e}.type::text as "type", ${e}.runtime::text as "runtime", ${e}.host_id as "hostId",
  ${e}.uid_offset as "uidOffset", ${e}.slug as "environmentSlug", ${e}.privileges`;

function memberOf(organizationId: Prisma.Sql, caller: Caller): Prisma.Sql {
  return Prisma.sql`
    join organizations o on o.id = ${organizationId}
    join organization_members m on m.organization_id = o.id and m.user_id = ${caller.userId}::uuid`;
}

/** The one gate: membership, role and the object itself, in one query. Tenants are separate for superadmins too. */
export function createAccess({ prisma }: { prisma: PrismaClient }): Access {
  async function pass<T extends OrganizationAccess & { type?: EnvironmentType }>(
    caller: MaybeCaller,
    what: string,
    id: MaybeId,
    permission: Permission,
    db: Transaction | undefined,
    query: (caller: Caller, id: string) => Prisma.Sql,
  ): Promise<T> {
    const known = requireCaller(caller);
    const found = id === null ? [] : await (db ?? prisma).$queryRaw<T[]>(query(known, id));
    const access = found[0];
    if (!access) throw new NotFoundError(what);
    checkRole(access, permission);
    return access;
  }

  /** For what lies in a table of its own, `x`, with its organization's id; `columns`: what is found out of it. */
  function gateOf<T extends OrganizationAccess>(what: string, table: string, columns: string) {
    return (caller: MaybeCaller, id: MaybeId, permission: Permission, db?: Transaction): Promise<T> =>
      pass(
        caller,
        what,
        id,
        permission,
        db,
        (known, rowId) => Prisma.sql`
          select ${ORGANIZATION_COLUMNS}, ${Prisma.raw(columns)}
          from ${Prisma.raw(table)} x ${memberOf(Prisma.sql`x.organization_id`, known)} where x.id = ${rowId}::uuid`,
      );
  }

  return {
    requireOrganization: (caller, id, permission, db) =>
      pass(caller, 'organization', id, permission, db, (known, organizationId) => {
        const organization = Prisma.sql`${organizationId}::uuid`;
        return Prisma.sql`select ${ORGANIZATION_COLUMNS} from (select 1) as one ${memberOf(organization, known)}`;
      }),
    requireInvitation: gateOf('invitation', 'invitations', 'x.id as "invitationId", x.role::text as "invitedRole"'),
    requireEnvironment: gateOf('environment', 'environments', environmentColumns('x')),
    requireStack: gateOf(
      'stack',
      'stacks',
      'x.id as "stackId", x.slug as "stackSlug", x.current_number as "currentNumber"',
    ),
    requireDeployment: (caller, id, permission, db) =>
      pass(
        caller,
        'deployment',
        id,
        permission,
        db,
        (known, deploymentId) => Prisma.sql`
          select ${ORGANIZATION_COLUMNS}, ${Prisma.raw(environmentColumns('e'))}, d.id as "deploymentId", d.stack_id as "stackId"
          from deployments d join environments e on e.id = d.environment_id ${memberOf(Prisma.sql`d.organization_id`, known)}
          where d.id = ${deploymentId}::uuid`,
      ),
    requireAgent: gateOf('agent', 'agents', 'x.id as "agentId"'),
    requireAgentTemplate: gateOf('agent template', 'agent_templates', 'x.slug'),
    requireWorkflow: gateOf('workflow', 'workflows', 'x.id as "workflowId"'),
    requireExecution: gateOf('execution', 'executions', 'x.id as "executionId"'),
    requireNotificationChannel: gateOf('notification channel', 'notification_channels', 'x.id as "channelId"'),
    requireNotificationDelivery: (caller, id, permission, db) =>
      pass(
        caller,
        'notification delivery',
        id,
        permission,
        db,
        (known, deliveryId) => Prisma.sql`
          select ${ORGANIZATION_COLUMNS}, c.id as "channelId", d.id as "deliveryId"
          from notification_deliveries d join notification_channels c on c.id = d.channel_id
            ${memberOf(Prisma.sql`c.organization_id`, known)} where d.id = ${deliveryId}::uuid`,
      ),
  };
}

function checkRole(access: OrganizationAccess & { type?: EnvironmentType }, permission: Permission): void {
  const least = leastRole(permission, access.type);
  if (!isAtLeast(access.role, least)) {
    const where = least === leastRole(permission) ? '' : ' in a PRODUCTION environment';
    throw new PermissionDeniedError(
      `"${permission}"${where} needs the role ${least}, yours is ${access.role}: ask an admin of the organization`,
    );
  }
  if (!access.isActive && !permission.endsWith(':read') && !ALLOWED_WHILE_INACTIVE.has(permission)) {
    throw new PermissionDeniedError(
      'the organization is not active: everything stays readable, nothing can be changed until an admin sets isActive',
    );
  }
}

function leastRole(permission: Permission, type?: EnvironmentType): Role {
  return (type === 'PRODUCTION' ? LEAST_ROLE_IN_PRODUCTION[permission] : undefined) ?? LEAST_ROLE[permission];
}
