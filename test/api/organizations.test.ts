import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

const CREATE = `mutation ($input: OrganizationCreateInput!) {
  organizationCreate(input: $input) {
    __typename
    ... on Organization { id slug name description settings isActive allowedRuntimes viewerRole userCount environmentCount }
    ... on Error { code message }
    ... on ValidationError { fields { path message } }
  }
}`;
const UPDATE = `mutation ($input: OrganizationUpdateInput!) {
  organizationUpdate(input: $input) {
    __typename
    ... on Organization { id name description settings isActive }
    ... on Error { code message }
    ... on ValidationError { fields { path message } }
  }
}`;

describe('organizations', () => {
  let tenants: Tenants;
  beforeAll(async () => {
    tenants = await createTenants();
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  const eventsOf = async (organizationId: string) => {
    const { rows } = await tenants.database.pool.query(
      'select type, actor_id, data from events where organization_id = $1 order by sequence',
      [organizationId],
    );
    return rows;
  };

  describe('creating', () => {
    it('should make the creator its owner and tell so in an event', async () => {
      const user = await tenants.addUser();
      const { data, codes } = await tenants.ask(user, CREATE, {
        input: { name: '  Größe & Co. ', description: 'We\nship', settings: { theme: { dark: true } } },
      });
      expect(codes).toEqual([]);
      expect(data.organizationCreate).toMatchObject({
        slug: 'grosse-co',
        name: 'Größe & Co.',
        settings: { theme: { dark: true } },
        isActive: true,
        viewerRole: 'OWNER',
        userCount: 1,
        environmentCount: 0,
      });
      const [row] = await tenants.services.organizations.findMany(
        user,
        (await tenants.database.prisma.organization.findMany({ where: { slug: 'grosse-co' } })).map(({ id }) => id),
      );
      expect(await eventsOf(row!.id)).toEqual([
        { type: 'organization.created', actor_id: user.userId, data: { name: 'Größe & Co.' } },
      ]);
    });

    it('should allow PROCESS only where a superadmin creates', async () => {
      const create = async (caller: Parameters<Tenants['ask']>[0]) =>
        (await tenants.ask(caller, CREATE, { input: { name: 'Runtimes' } })).data.organizationCreate.allowedRuntimes;
      expect(await create(tenants.superadmin)).toContain('PROCESS');
      expect(await create(await tenants.addUser())).not.toContain('PROCESS');
    });

    it('should number a slug made from a name, also when many come at once, and refuse a given one that is taken', async () => {
      const user = await tenants.addUser();
      const made = await Promise.all(
        Array.from({ length: 6 }, () => tenants.ask(user, CREATE, { input: { name: 'Same Name' } })),
      );
      const slugs = made.map(({ data }) => data.organizationCreate.slug).sort();
      expect(slugs).toEqual(['same-name', 'same-name-2', 'same-name-3', 'same-name-4', 'same-name-5', 'same-name-6']);
      const taken = await tenants.ask(user, CREATE, { input: { name: 'Other', slug: 'same-name' } });
      expect(taken.data.organizationCreate).toMatchObject({ __typename: 'ConflictError', code: 'CONFLICT' });
    });

    it.each([
      [{ name: 'x' }, ['name']],
      [{ name: '𝔘'.repeat(101) }, ['name']],
      [{ name: 'a\nb' }, ['name']],
      [{ name: 'a\0b' }, ['name']],
      [{ name: 'ok', slug: 'Not OK' }, ['slug']],
      [{ name: 'ok', settings: [1] }, ['settings']],
      [{ name: 'ok', settings: 'text' }, ['settings']],
      [{ name: 'ok', settings: { text: 'x'.repeat(70_000) } }, ['settings']],
      [{ name: 'ok', settings: { nul: '\0' } }, ['settings']],
      [{ name: 'ok', settings: { half: '\ud800' } }, ['settings']],
      ...[0, 3651, 1.5, '30', null].map((logRetentionDays): [object, string[]] => [
        { name: 'ok', settings: { logRetentionDays } },
        ['settings', 'logRetentionDays'],
      ]),
      [{ name: 'ok', idempotencyKey: '' }, ['idempotencyKey']],
      [{ name: 'ok', idempotencyKey: 'x'.repeat(129) }, ['idempotencyKey']],
    ])('should refuse %j and name the field', async (input, path) => {
      const { data } = await tenants.ask(await tenants.addUser(), CREATE, { input });
      expect(data.organizationCreate).toMatchObject({ code: 'VALIDATION_ERROR', fields: [{ path }] });
    });

    it('should take text that only looks dangerous', async () => {
      const settings = { text: 'a \\u0000 b \\ud800', quote: "'; drop table users; --" };
      const { data } = await tenants.ask(await tenants.addUser(), CREATE, { input: { name: 'Fine', settings } });
      expect(data.organizationCreate.settings).toEqual(settings);
    });

    it('should need a caller', async () => {
      const { data, codes } = await tenants.ask(null, CREATE, { input: { name: 'Nobody' } });
      expect(data).toEqual({ organizationCreate: null });
      expect(codes).toEqual(['UNAUTHENTICATED']);
    });
  });

  describe('idempotency', () => {
    it('should return the same entity as it is now, also to parallel duplicates', async () => {
      const user = await tenants.addUser();
      const input = { name: 'Once', settings: { a: 1, b: 2 }, idempotencyKey: 'k1' };
      const answers = await Promise.all(Array.from({ length: 5 }, () => tenants.ask(user, CREATE, { input })));
      const ids = new Set(answers.map(({ data }) => data.organizationCreate.id));
      expect(ids.size).toBe(1);
      const [id] = ids;
      await tenants.ask(user, UPDATE, { input: { organizationId: id, name: 'Renamed' } });
      const again = await tenants.ask(user, CREATE, { input: { ...input, settings: { b: 2, a: 1 } } });
      expect(again.data.organizationCreate).toMatchObject({ id, name: 'Renamed' });
    });

    it('should refuse another input under the same key, and keep keys per user', async () => {
      const user = await tenants.addUser();
      const create = (caller: typeof user, name: string) =>
        tenants.ask(caller, CREATE, { input: { name, idempotencyKey: 'k2' } });
      const first = await create(user, 'First');
      expect((await create(user, 'Second')).data.organizationCreate.code).toBe('CONFLICT');
      const other = await create(await tenants.addUser(), 'First');
      expect(other.data.organizationCreate.id).not.toBe(first.data.organizationCreate.id);
    });

    it('should not remember a failure', async () => {
      const user = await tenants.addUser();
      const create = (slug: string) =>
        tenants.ask(user, CREATE, { input: { name: 'Retry', slug, idempotencyKey: 'k3' } });
      expect((await create('acme')).data.organizationCreate.code).toBe('CONFLICT');
      expect((await create('retry-free')).data.organizationCreate.slug).toBe('retry-free');
    });

    it('should forget after 24 hours', async () => {
      const user = await tenants.addUser();
      const create = (name: string) => tenants.ask(user, CREATE, { input: { name, idempotencyKey: 'k4' } });
      const first = await create('Old');
      await tenants.database.pool.query(
        "update idempotency_keys set created_at = now() - interval '25 hours' where key = 'k4'",
      );
      const second = await create('New');
      expect(second.data.organizationCreate.name).toBe('New');
      expect(second.data.organizationCreate.id).not.toBe(first.data.organizationCreate.id);
    });

    it('should say so when the entity is gone', async () => {
      const user = await tenants.addUser();
      const create = () => tenants.ask(user, CREATE, { input: { name: 'Gone', idempotencyKey: 'k5' } });
      const { id } = (await create()).data.organizationCreate;
      await tenants.ask(
        user,
        'mutation ($input: OrganizationDeleteInput!) { organizationDelete(input: $input) { __typename } }',
        {
          input: { organizationId: id },
        },
      );
      expect((await create()).data.organizationCreate).toMatchObject({ code: 'CONFLICT' });
    });
  });

  describe('updating', () => {
    it('should keep absent fields, clear by null, and refuse null where there must be a value', async () => {
      const { rival } = tenants;
      const update = async (input: object) =>
        (await tenants.ask(rival.admin, UPDATE, { input: { organizationId: rival.globalId, ...input } })).data
          .organizationUpdate;
      expect(await update({ description: 'Text', settings: { x: 1 } })).toMatchObject({
        name: 'Rival',
        settings: { x: 1 },
      });
      expect(await update({ description: null })).toMatchObject({ description: null, settings: { x: 1 } });
      for (const field of ['name', 'settings', 'isActive']) {
        expect(await update({ [field]: null })).toMatchObject({
          code: 'VALIDATION_ERROR',
          fields: [{ path: [field] }],
        });
      }
    });

    it('should need an admin, and look absent to strangers and for malformed ids', async () => {
      const { acme, rival } = tenants;
      const update = (caller: typeof acme.owner, organizationId: string) =>
        tenants.ask(caller, UPDATE, { input: { organizationId, name: 'Taken over' } });
      for (const caller of [acme.viewer, acme.developer]) {
        const { data, codes, messages } = await update(caller, acme.globalId);
        expect(data.organizationUpdate).toBeNull();
        expect(codes).toEqual(['PERMISSION_DENIED']);
        expect(messages[0]).toContain('ADMIN');
      }
      const ids = [
        acme.globalId,
        encodeGlobalId('Organization', newId()),
        encodeGlobalId('Stack', acme.id),
        'garbage',
        '',
      ];
      const answers = await Promise.all(ids.map((id) => update(rival.owner, id)));
      for (const { data } of answers) {
        expect(data.organizationUpdate).toEqual(answers[0]!.data.organizationUpdate);
        expect(data.organizationUpdate.code).toBe('NOT_FOUND');
      }
    });

    it('should keep an inactive organization readable and unchanged until it is active again', async () => {
      const owner = await tenants.addUser();
      const { id } = (await tenants.ask(owner, CREATE, { input: { name: 'Sleepy' } })).data.organizationCreate;
      const update = (input: object) => tenants.ask(owner, UPDATE, { input: { organizationId: id, ...input } });
      expect((await update({ isActive: false })).data.organizationUpdate.isActive).toBe(false);
      expect((await update({ name: 'Awake' })).codes).toEqual(['PERMISSION_DENIED']);
      const { data } = await tenants.ask(owner, 'query ($id: ID!) { organization(id: $id) { name isActive } }', { id });
      expect(data.organization).toEqual({ name: 'Sleepy', isActive: false });
      expect((await update({ isActive: true, name: 'Awake' })).data.organizationUpdate).toMatchObject({
        name: 'Awake',
      });
    });
  });

  describe('reading', () => {
    const READ = 'query ($id: ID, $slug: String) { organization(id: $id, slug: $slug) { id name viewerRole } }';

    it('should find by id and by slug, for members alone, superadmins included', async () => {
      const { acme, rival, superadmin } = tenants;
      const expected = { id: acme.globalId, name: 'Acme', viewerRole: 'VIEWER' };
      expect((await tenants.ask(acme.viewer, READ, { id: acme.globalId })).data.organization).toEqual(expected);
      expect((await tenants.ask(acme.viewer, READ, { slug: 'acme' })).data.organization).toEqual(expected);
      for (const by of [{ id: rival.globalId }, { slug: 'rival' }, { slug: 'a\0' }, { id: 'x' }]) {
        expect(await tenants.ask(superadmin, READ, by)).toMatchObject({ data: { organization: null }, codes: [] });
      }
      expect((await tenants.ask(acme.viewer, READ, {})).codes).toEqual(['BAD_REQUEST']);
      expect((await tenants.ask(acme.viewer, READ, { id: acme.globalId, slug: 'acme' })).codes).toEqual([
        'BAD_REQUEST',
      ]);
    });

    it('should resolve node under the same permission', async () => {
      const { acme, rival } = tenants;
      const NODE = 'query ($id: ID!) { node(id: $id) { id ... on Organization { name userCount viewerRole } } }';
      const { data } = await tenants.ask(acme.viewer, NODE, { id: acme.globalId });
      expect(data.node).toEqual({ id: acme.globalId, name: 'Acme', userCount: 4, viewerRole: 'VIEWER' });
      expect((await tenants.ask(rival.owner, NODE, { id: acme.globalId })).data.node).toBeNull();
    });

    it('should page, filter and order what the caller belongs to', async () => {
      const user = await tenants.addUser();
      for (const name of ['Cherry', 'apple_1', 'Banana', 'apple%2'])
        await tenants.ask(user, CREATE, { input: { name } });
      const LIST = `query ($filter: OrganizationFilter, $orderBy: OrganizationOrder, $first: Int, $after: String, $last: Int, $before: String) {
        organizations(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
          nodes { name } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
      }`;
      const list = async (variables: object) => (await tenants.ask(user, LIST, { ...variables })).data.organizations;
      const names = (page: { nodes: { name: string }[] }) => page.nodes.map(({ name }) => name);
      const created = await list({ orderBy: 'CREATED_AT_ASC' });
      expect(names(created)).toEqual(['Cherry', 'apple_1', 'Banana', 'apple%2']);
      const first = await list({ orderBy: 'CREATED_AT_DESC', first: 3 });
      expect(first).toMatchObject({ totalCount: 4, pageInfo: { hasNextPage: true, hasPreviousPage: false } });
      const rest = await list({ orderBy: 'CREATED_AT_DESC', first: 3, after: first.pageInfo.endCursor });
      expect([...names(first), ...names(rest)]).toEqual(['apple%2', 'Banana', 'apple_1', 'Cherry']);
      const back = await list({ orderBy: 'CREATED_AT_DESC', last: 2, before: rest.pageInfo.startCursor });
      expect(names(back)).toEqual(['Banana', 'apple_1']);
      expect(names(await list({ filter: { search: 'E_1' } }))).toEqual(['apple_1']);
      expect(names(await list({ filter: { search: 'E%' } }))).toEqual(['apple%2']);
      expect(names(await list({ filter: { search: '\0' } }))).toEqual([]);
      expect(names(await list({ filter: { isActive: false } }))).toEqual([]);
      for (const bad of [
        { first: 101 },
        { first: 0 },
        { first: 1, last: 1 },
        { after: 'x' },
        { after: first.pageInfo.endCursor },
      ]) {
        expect((await tenants.ask(user, LIST, bad)).codes).toEqual(['BAD_REQUEST']);
      }
    });

    it('should cost queries by the page, whatever is nested in it', async () => {
      const user = await tenants.addUser();
      const NESTED = `query ($first: Int) { organizations(first: $first) { totalCount nodes {
        name viewerRole userCount environmentCount
        members(first: 2) { totalCount nodes { role user { username email } organization { slug } } }
        invitations { nodes { email } }
        environments(first: 1) { totalCount nodes { name variables { name } organization { slug } } }
        stacks(first: 1) { totalCount nodes { name currentVersion { number createdBy { ... on User { username } } } versions(first: 1) { nodes { number } } } }
      } } }`;
      const count = () =>
        tenants.countQueries(async () => expect((await tenants.ask(user, NESTED, { first: 50 })).codes).toEqual([]));
      const fill = async (from: number, to: number) => {
        for (let n = from; n < to; n++) {
          const { id } = await tenants.services.organizations.create(user, { name: `Nested ${n}` });
          await tenants.services.organizations.access.requireOrganization(user, id, 'stack:edit');
          await tenants.services.stacks.create(user, {
            organizationId: id,
            name: 'Web',
            compose: 'services: { web: { image: nginx } }',
          });
        }
      };
      await fill(0, 2);
      const few = await count();
      await fill(2, 12);
      expect(await count()).toBe(few);
    });
  });

  describe('runtimes', () => {
    const RUNTIMES = `mutation ($input: OrganizationRuntimesUpdateInput!) { organizationRuntimesUpdate(input: $input) {
      __typename ... on Organization { allowedRuntimes viewerRole members { nodes { role } } invitations { nodes { email } } } ... on Error { code } } }`;

    it('should be set by a superadmin alone, who sees no more of the tenant for it', async () => {
      const { rival, superadmin } = tenants;
      const input = { organizationId: rival.globalId, allowedRuntimes: ['DOCKER', 'PROCESS', 'PROCESS'] };
      expect((await tenants.ask(rival.owner, RUNTIMES, { input })).codes).toEqual(['PERMISSION_DENIED']);
      const { data, codes } = await tenants.ask(superadmin, RUNTIMES, { input });
      expect(codes).toEqual([]);
      expect(data.organizationRuntimesUpdate).toEqual({
        __typename: 'Organization',
        allowedRuntimes: ['PROCESS', 'DOCKER'],
        viewerRole: null,
        members: null,
        invitations: null,
      });
      const absent = { organizationId: encodeGlobalId('Organization', newId()), allowedRuntimes: [] };
      expect((await tenants.ask(superadmin, RUNTIMES, { input: absent })).data.organizationRuntimesUpdate.code).toBe(
        'NOT_FOUND',
      );
    });
  });
});
