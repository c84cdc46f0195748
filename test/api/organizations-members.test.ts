import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Role } from '../../src/db/generated/prisma/enums.ts';
import type { Caller } from '../../src/modules/services.ts';
import { encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

const INVITE = `mutation ($input: OrganizationInviteInput!) { organizationInvite(input: $input) {
  __typename ... on InvitationCreated { token invitation { id email role } } ... on Error { code message } } }`;
const ACCEPT = `mutation ($token: String!) { invitationAccept(input: { token: $token }) {
  __typename ... on Organization { id viewerRole } ... on Error { code } } }`;
const REVOKE = `mutation ($id: ID!) { invitationRevoke(input: { invitationId: $id }) {
  __typename ... on Deleted { id } ... on Error { code } } }`;
const UPDATE = `mutation ($input: OrganizationMemberUpdateInput!) { organizationMemberUpdate(input: $input) {
  __typename ... on OrganizationMember { role user { id } } ... on Error { code message } } }`;
const REMOVE = `mutation ($input: OrganizationMemberRemoveInput!) { organizationMemberRemove(input: $input) {
  __typename ... on Deleted { id } ... on Error { code message } } }`;

describe('members and invitations', () => {
  let tenants: Tenants;
  let acme: Tenant;
  let rival: Tenant;
  beforeAll(async () => {
    tenants = await createTenants();
    ({ rival, acme } = tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  const userId = (caller: Caller) => encodeGlobalId('User', caller.userId);
  const emailOf = async (caller: Caller) =>
    (await tenants.database.prisma.user.findUniqueOrThrow({ where: { id: caller.userId } })).email;
  const roleOf = async (caller: Caller, tenant = acme) =>
    (
      await tenants.database.prisma.organizationMember.findFirst({
        where: { organizationId: tenant.id, userId: caller.userId },
      })
    )?.role ?? null;
  const setRole = (caller: Caller, target: Caller, role: Role, tenant = acme) =>
    tenants.ask(caller, UPDATE, { input: { organizationId: tenant.globalId, userId: userId(target), role } });
  const remove = (caller: Caller, target: Caller, tenant = acme) =>
    tenants.ask(caller, REMOVE, { input: { organizationId: tenant.globalId, userId: userId(target) } });
  const invite = (caller: Caller, email: string, role?: Role) =>
    tenants.ask(caller, INVITE, { input: { organizationId: acme.globalId, email, role } });

  describe('roles', () => {
    let target: Caller;
    beforeEach(async () => {
      target = await tenants.addMember(acme.id, 'DEVELOPER');
    });

    it('should be changed by admins, up to their own role', async () => {
      expect((await setRole(acme.admin, target, 'ADMIN')).data.organizationMemberUpdate).toEqual({
        __typename: 'OrganizationMember',
        role: 'ADMIN',
        user: { id: userId(target) },
      });
      expect((await setRole(acme.admin, target, 'OWNER')).codes).toEqual(['PERMISSION_DENIED']);
      expect((await setRole(acme.admin, acme.owner, 'VIEWER')).codes).toEqual(['PERMISSION_DENIED']);
      expect((await setRole(acme.developer, target, 'VIEWER')).codes).toEqual(['PERMISSION_DENIED']);
      expect(await roleOf(target)).toBe('ADMIN');
    });

    it('should stay as they are for strangers', async () => {
      expect((await setRole(rival.owner, target, 'VIEWER')).data.organizationMemberUpdate.code).toBe('NOT_FOUND');
      expect((await setRole(acme.owner, rival.viewer, 'OWNER')).data.organizationMemberUpdate.code).toBe('NOT_FOUND');
      expect((await remove(rival.owner, target)).data.organizationMemberRemove.code).toBe('NOT_FOUND');
      const garbage = { organizationId: acme.globalId, userId: 'x', role: 'VIEWER' };
      expect((await tenants.ask(acme.owner, UPDATE, { input: garbage })).data.organizationMemberUpdate.code).toBe(
        'NOT_FOUND',
      );
      expect(await roleOf(target)).toBe('DEVELOPER');
    });

    it('should keep the last owner, also when two owners go at once', async () => {
      expect((await setRole(acme.owner, acme.owner, 'ADMIN')).data.organizationMemberUpdate.code).toBe('CONFLICT');
      expect((await remove(acme.owner, acme.owner)).data.organizationMemberRemove.code).toBe('CONFLICT');
      const second = await tenants.addMember(rival.id, 'OWNER');
      const answers = await Promise.all([remove(second, second, rival), remove(rival.owner, rival.owner, rival)]);
      const types = answers.map(({ data }) => data.organizationMemberRemove.__typename).sort();
      expect(types).toEqual(['ConflictError', 'Deleted']);
      await tenants.database.prisma.organizationMember.createMany({
        data: [{ id: newId(), organizationId: rival.id, userId: rival.owner.userId, role: 'OWNER' }],
        skipDuplicates: true,
      });
    });

    it('should let anyone leave, and admins remove', async () => {
      expect((await remove(target, target)).data.organizationMemberRemove.__typename).toBe('Deleted');
      const other = await tenants.addMember(acme.id, 'VIEWER');
      expect((await remove(acme.developer, other)).codes).toEqual(['PERMISSION_DENIED']);
      expect((await remove(acme.admin, other)).data.organizationMemberRemove.__typename).toBe('Deleted');
      expect(await roleOf(other)).toBeNull();
    });

    it('should wake what the user follows when their access changes', async () => {
      using watch = tenants.dependencies.bus.watch([`access:${target.userId}`]);
      await setRole(acme.admin, target, 'VIEWER');
      expect([...(await watch.wait(5_000))]).toEqual([`access:${target.userId}`]);
    });

    it('should list members with their roles', async () => {
      const LIST =
        'query ($id: ID!, $after: String) { organization(id: $id) { members(first: 2, after: $after) { totalCount nodes { role user { id } } pageInfo { endCursor hasNextPage } } } }';
      const { data } = await tenants.ask(acme.viewer, LIST, { id: acme.globalId });
      const { nodes, pageInfo, totalCount } = data.organization.members;
      expect(nodes[0]).toEqual({ role: 'OWNER', user: { id: userId(acme.owner) } });
      expect(totalCount).toBeGreaterThanOrEqual(4);
      const next = await tenants.ask(acme.viewer, LIST, { id: acme.globalId, after: pageInfo.endCursor });
      expect(next.data.organization.members.nodes).toHaveLength(2);
      expect((await tenants.ask(acme.viewer, LIST, { id: acme.globalId, after: 'no' })).codes).toEqual(['BAD_REQUEST']);
    });
  });

  describe('invitations', () => {
    it('should let the invited e-mail join once', async () => {
      const guest = await tenants.addUser();
      const invited = (await invite(acme.admin, (await emailOf(guest)).toUpperCase(), 'VIEWER')).data
        .organizationInvite;
      expect(invited.invitation).toMatchObject({ role: 'VIEWER' });
      const other = await tenants.addUser();
      expect((await tenants.ask(other, ACCEPT, { token: invited.token })).data.invitationAccept.code).toBe('NOT_FOUND');
      expect((await tenants.ask(guest, ACCEPT, { token: invited.token })).data.invitationAccept).toEqual({
        __typename: 'Organization',
        id: acme.globalId,
        viewerRole: 'VIEWER',
      });
      expect((await tenants.ask(guest, ACCEPT, { token: invited.token })).data.invitationAccept.code).toBe('NOT_FOUND');
      expect(await roleOf(guest)).toBe('VIEWER');
    });

    it('should end after seven days, and when revoked', async () => {
      const guest = await tenants.addUser();
      const email = await emailOf(guest);
      const first = (await invite(acme.admin, email)).data.organizationInvite;
      expect((await invite(acme.admin, email)).data.organizationInvite.code).toBe('CONFLICT');
      await tenants.database.pool.query(
        "update invitations set expires_at = now() - interval '1 second' where email = $1",
        [email],
      );
      expect((await tenants.ask(guest, ACCEPT, { token: first.token })).data.invitationAccept.code).toBe('NOT_FOUND');
      const second = (await invite(acme.admin, email)).data.organizationInvite;
      const { id } = second.invitation;
      expect((await tenants.ask(rival.owner, REVOKE, { id })).data.invitationRevoke.code).toBe('NOT_FOUND');
      expect((await tenants.ask(acme.developer, REVOKE, { id })).codes).toEqual(['PERMISSION_DENIED']);
      expect((await tenants.ask(acme.admin, REVOKE, { id })).data.invitationRevoke).toEqual({
        __typename: 'Deleted',
        id,
      });
      expect((await tenants.ask(guest, ACCEPT, { token: second.token })).data.invitationAccept.code).toBe('NOT_FOUND');
    });

    it('should refuse members, roles above the own, and what is no e-mail', async () => {
      expect((await invite(acme.admin, await emailOf(acme.viewer))).data.organizationInvite.code).toBe('CONFLICT');
      expect((await invite(acme.admin, 'boss@example.org', 'OWNER')).codes).toEqual(['PERMISSION_DENIED']);
      expect((await invite(acme.developer, 'dev@example.org')).codes).toEqual(['PERMISSION_DENIED']);
      for (const email of ['', 'x', 'a@b', 'a@b\0.org', `${'x'.repeat(300)}@example.org`]) {
        expect((await invite(acme.admin, email)).data.organizationInvite.code).toBe('VALIDATION_ERROR');
      }
    });

    it('should be listed to admins alone, without tokens anywhere', async () => {
      const { token } = (await invite(acme.admin, 'listed@example.org')).data.organizationInvite;
      const LIST =
        'query ($id: ID!) { organization(id: $id) { name invitations { totalCount nodes { id email role } } } }';
      const { data } = await tenants.ask(acme.admin, LIST, { id: acme.globalId });
      expect(data.organization.invitations.nodes).toContainEqual(
        expect.objectContaining({ email: 'listed@example.org' }),
      );
      const hidden = await tenants.ask(acme.developer, LIST, { id: acme.globalId });
      expect(hidden).toMatchObject({ data: { organization: { name: 'Acme', invitations: null } }, codes: [] });
      const NODE = 'query ($id: ID!) { node(id: $id) { ... on Invitation { email } } }';
      const { id } = data.organization.invitations.nodes[0];
      expect((await tenants.ask(acme.developer, NODE, { id })).data.node).toBeNull();
      const { rows } = await tenants.database.pool.query(
        'select i::text as row from invitations i union all select e::text from events e',
      );
      expect(rows.map(({ row }) => row).join('\n')).not.toContain(token);
    });
  });

  describe('deleting the organization', () => {
    const DELETE = `mutation ($id: ID!) { organizationDelete(input: { organizationId: $id }) {
      __typename ... on Deleted { id } ... on Error { code } } }`;

    it('should be for owners, and leave nothing but events', async () => {
      const owner = await tenants.addUser();
      const { id } = await tenants.services.organizations.create(owner, { name: 'Short-lived' });
      const globalId = encodeGlobalId('Organization', id);
      const admin = await tenants.addMember(id, 'ADMIN');
      expect((await tenants.ask(admin, DELETE, { id: globalId })).codes).toEqual(['PERMISSION_DENIED']);
      expect((await tenants.ask(rival.owner, DELETE, { id: globalId })).data.organizationDelete.code).toBe('NOT_FOUND');
      expect((await tenants.ask(owner, DELETE, { id: globalId })).data.organizationDelete).toEqual({
        __typename: 'Deleted',
        id: globalId,
      });
      expect((await tenants.ask(owner, DELETE, { id: globalId })).data.organizationDelete.code).toBe('NOT_FOUND');
      const { rows } = await tenants.database.pool.query(
        'select type from events where organization_id = $1 order by sequence',
        [id],
      );
      expect(rows.map(({ type }) => type)).toEqual(['organization.created', 'organization.deleted']);
    });
  });
});
