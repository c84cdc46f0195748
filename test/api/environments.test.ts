import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAX_ENVIRONMENTS_PER_HOST } from '../../src/modules/environments/service.ts';
import { removeDeletedLogs } from '../../src/modules/log-removal.ts';
import type { Caller } from '../../src/modules/services.ts';
import { decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

const CREATE = `mutation ($input: EnvironmentCreateInput!) { environmentCreate(input: $input) {
  __typename ... on Environment { id name slug type runtime organization { id } variables { name } }
  ... on Error { code message } ... on ValidationError { fields { path message } } } }`;
const UPDATE = `mutation ($input: EnvironmentUpdateInput!) { environmentUpdate(input: $input) {
  __typename ... on Environment { name } ... on Error { code } ... on ValidationError { fields { path } } } }`;
const DELETE = `mutation ($id: ID!) { environmentDelete(input: { environmentId: $id }) {
  __typename ... on Deleted { id } ... on Error { code } } }`;
const SET = `mutation ($input: EnvironmentVariableSetInput!) { environmentVariableSet(input: $input) {
  __typename ... on Environment { id variables { name value isSecret } }
  ... on Error { code message } ... on ValidationError { fields { path message } } } }`;
const UNSET = `mutation ($input: EnvironmentVariableDeleteInput!) { environmentVariableDelete(input: $input) {
  __typename ... on Environment { variables { name } } ... on Error { code } } }`;
const READ = 'query ($id: ID!) { environment(id: $id) { id name slug variables { name value isSecret } } }';

describe('environments', () => {
  let tenants: Tenants;
  let acme: Tenant;
  let rival: Tenant;
  beforeAll(async () => {
    tenants = await createTenants();
    ({ acme, rival } = tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  const uuidOf = (globalId: string) => decodeIdOf('Environment', globalId)!;
  const create = (caller: Caller, input: object = {}, tenant = acme) =>
    tenants.ask(caller, CREATE, { input: { organizationId: tenant.globalId, name: 'Test', ...input } });
  const newEnvironment = async (input: object = {}): Promise<string> =>
    (await create(acme.admin, input)).data.environmentCreate.id;
  const set = (caller: Caller, environmentId: string, name: string, value: string, isSecret?: boolean | null) =>
    tenants.ask(caller, SET, { input: { environmentId, name, value, isSecret } });
  const resolve = (id: string) => tenants.services.environments.resolveVariables(uuidOf(id));

  describe('creating', () => {
    it('should make a PROCESS environment on this host with a user id of its own that nobody ever had', async () => {
      const { data, codes } = await create(acme.admin, { name: 'Prod EU', type: 'PRODUCTION' });
      expect(codes).toEqual([]);
      expect(data.environmentCreate).toMatchObject({
        name: 'Prod EU',
        slug: 'prod-eu',
        type: 'PRODUCTION',
        runtime: 'PROCESS',
        organization: { id: acme.globalId },
        variables: [],
      });
      const ids = await Promise.all(Array.from({ length: 6 }, () => newEnvironment()));
      const rows = await tenants.database.prisma.environment.findMany({ orderBy: { uidOffset: 'asc' } });
      expect(rows.map(({ uidOffset }) => uidOffset)).toEqual(rows.map((_, index) => index));
      expect(new Set(rows.map(({ hostId }) => hostId)).size).toBe(1);
      const last = rows.at(-1)!;
      await tenants.ask(acme.admin, DELETE, { id: ids.find((id) => uuidOf(id) === last.id) });
      const next = await newEnvironment();
      expect(
        (await tenants.database.prisma.environment.findUniqueOrThrow({ where: { id: uuidOf(next) } })).uidOffset,
      ).toBe(last.uidOffset! + 1);
    });

    it('should give no user id of another runtime directory on the same machine', async () => {
      const { prisma } = tenants.database;
      const { machineId, nextUidOffset } = await prisma.host.findFirstOrThrow();
      const offset = nextUidOffset + 10;
      const other = { id: newId(), machineId, runtimeDirectory: '/elsewhere', name: 'test', nextUidOffset: offset };
      await prisma.host.create({ data: other });
      const made = await prisma.environment.findUniqueOrThrow({ where: { id: uuidOf(await newEnvironment()) } });
      expect(made.uidOffset).toBe(offset);
      expect(made.hostId).not.toBe(other.id);
    });

    it('should say what to do where a host has given all its user ids', async () => {
      const { prisma } = tenants.database;
      const hosts = await prisma.host.findMany();
      await prisma.host.updateMany({ data: { nextUidOffset: MAX_ENVIRONMENTS_PER_HOST } });
      expect((await create(acme.admin)).data.environmentCreate).toMatchObject({
        code: 'QUOTA_EXCEEDED',
        message: expect.stringContaining('another host'),
      });
      for (const { id, nextUidOffset } of hosts) await prisma.host.update({ where: { id }, data: { nextUidOffset } });
    });

    it('should need an admin of an organization that may use the runtime', async () => {
      expect((await create(acme.developer)).codes).toEqual(['PERMISSION_DENIED']);
      expect((await create(rival.owner)).data.environmentCreate.code).toBe('NOT_FOUND');
      expect((await create(rival.owner, {}, rival)).data.environmentCreate).toMatchObject({
        code: 'VALIDATION_ERROR',
        fields: [{ path: ['runtime'], message: expect.stringContaining('superadmin') }],
      });
      expect((await create(acme.admin, { runtime: 'SWARM' })).data.environmentCreate).toMatchObject({
        code: 'VALIDATION_ERROR',
        fields: [{ path: ['runtime'], message: expect.stringContaining('supported: PROCESS, DOCKER') }],
      });
    });

    it('should refuse configuration, bad slugs and taken ones', async () => {
      const paths = async (input: object) => (await create(acme.admin, input)).data.environmentCreate.fields?.[0].path;
      expect(await paths({ runtimeConfig: { host: 'x' } })).toEqual(['runtimeConfig']);
      expect(await paths({ runtimeConfig: 'x' })).toEqual(['runtimeConfig']);
      expect(await paths({ name: '' })).toEqual(['name']);
      expect(await paths({ slug: 'UPPER' })).toEqual(['slug']);
      expect((await create(acme.admin, { slug: 'taken', runtimeConfig: {} })).data.environmentCreate.slug).toBe(
        'taken',
      );
      expect((await create(acme.admin, { slug: 'taken' })).data.environmentCreate.code).toBe('CONFLICT');
    });

    it('should create once for parallel duplicates with a key', async () => {
      const input = { name: 'Once', idempotencyKey: 'env-1' };
      const answers = await Promise.all(Array.from({ length: 4 }, () => create(acme.admin, input)));
      expect(new Set(answers.map(({ data }) => data.environmentCreate.id)).size).toBe(1);
      expect((await create(acme.admin, { ...input, type: 'STAGING' })).data.environmentCreate.code).toBe('CONFLICT');
    });
  });

  it('should look absent to strangers everywhere', async () => {
    const id = await newEnvironment();
    await set(acme.admin, id, 'TOKEN', 'plain text');
    const NODE = 'query ($id: ID!) { node(id: $id) { id } }';
    for (const foreign of [
      id,
      encodeGlobalId('Environment', newId()),
      encodeGlobalId('Stack', uuidOf(id)),
      'garbage',
    ]) {
      expect(await tenants.ask(rival.owner, READ, { id: foreign })).toMatchObject({
        data: { environment: null },
        codes: [],
      });
      expect((await tenants.ask(rival.owner, NODE, { id: foreign })).data.node).toBeNull();
      expect((await set(rival.owner, foreign, 'A', 'b')).data.environmentVariableSet.code).toBe('NOT_FOUND');
      const update = { environmentId: foreign, name: 'Mine' };
      expect((await tenants.ask(rival.owner, UPDATE, { input: update })).data.environmentUpdate.code).toBe('NOT_FOUND');
      const unset = { environmentId: foreign, name: 'TOKEN' };
      expect((await tenants.ask(rival.owner, UNSET, { input: unset })).data.environmentVariableDelete.code).toBe(
        'NOT_FOUND',
      );
      expect((await tenants.ask(rival.owner, DELETE, { id: foreign })).data.environmentDelete.code).toBe('NOT_FOUND');
    }
    expect((await tenants.ask(acme.viewer, READ, { id })).data.environment.variables).toHaveLength(1);
  });

  it('should be renamed by admins alone', async () => {
    const environmentId = await newEnvironment();
    const update = async (caller: Caller, input: object) =>
      tenants.ask(caller, UPDATE, { input: { environmentId, ...input } });
    expect((await update(acme.developer, { name: 'No' })).codes).toEqual(['PERMISSION_DENIED']);
    expect((await update(acme.admin, { name: 'Renamed' })).data.environmentUpdate.name).toBe('Renamed');
    expect((await update(acme.admin, {})).data.environmentUpdate.name).toBe('Renamed');
    expect((await update(acme.admin, { name: null })).data.environmentUpdate.fields).toEqual([{ path: ['name'] }]);
    expect((await update(acme.admin, { runtimeConfig: { a: 1 } })).data.environmentUpdate.fields).toEqual([
      { path: ['runtimeConfig'] },
    ]);
  });

  describe('variables', () => {
    it('should keep any text as it is', async () => {
      const id = await newEnvironment();
      const values = { EMPTY: '', LINES: 'a\nb\r\n\tc=d\n', EQUALS: 'a=b=c', UNICODE: 'ü😀', _9: '"quoted" $x' };
      for (const [name, value] of Object.entries(values)) await set(acme.admin, id, name, value);
      const { variables } = (await tenants.ask(acme.viewer, READ, { id })).data.environment;
      expect(
        Object.fromEntries(variables.map(({ name, value }: { name: string; value: string }) => [name, value])),
      ).toEqual(values);
      expect(variables.map(({ name }: { name: string }) => name)).toEqual(Object.keys(values).sort());
      expect({ ...(await resolve(id)).plain }).toEqual(values);
    });

    it.each([
      ['', 'x', 'name'],
      ['1A', 'x', 'name'],
      ['A-B', 'x', 'name'],
      ['A\n', 'x', 'name'],
      ['A'.repeat(256), 'x', 'name'],
      ['A', 'a\0b', 'value'],
      ['A', '\udc00', 'value'],
      ['A', 'ü'.repeat(32_769), 'value'],
    ])('should refuse %j = %j', async (name, value, field) => {
      const { data } = await set(acme.admin, await newEnvironment(), name, value);
      expect(data.environmentVariableSet).toMatchObject({ code: 'VALIDATION_ERROR', fields: [{ path: [field] }] });
    });

    it('should be set and deleted by admins alone', async () => {
      const environmentId = await newEnvironment();
      expect((await set(acme.developer, environmentId, 'A', 'b')).codes).toEqual(['PERMISSION_DENIED']);
      await set(acme.admin, environmentId, 'A', 'b');
      const unset = (caller: Caller, name = 'A') => tenants.ask(caller, UNSET, { input: { environmentId, name } });
      expect((await unset(acme.developer)).codes).toEqual(['PERMISSION_DENIED']);
      expect((await unset(acme.admin)).data.environmentVariableDelete.variables).toEqual([]);
      expect((await unset(acme.admin)).data.environmentVariableDelete.code).toBe('NOT_FOUND');
      expect((await unset(acme.admin, '\0')).data.environmentVariableDelete.code).toBe('NOT_FOUND');
    });

    it('should end with one value when many set it at once', async () => {
      const id = await newEnvironment();
      const values = Array.from({ length: 8 }, (_, n) => `value number ${n}`);
      await Promise.all(values.map((value) => set(acme.admin, id, 'RACE', value, true)));
      const { secrets } = await resolve(id);
      expect(values).toContain(secrets.RACE!.value);
    });

    it('should have a limit in number and size', async () => {
      const id = await newEnvironment();
      await tenants.database.pool.query(
        `insert into variables (id, environment_id, name, is_secret, value, version_id)
         select gen_random_uuid(), $1, 'V' || n, false, 'x', gen_random_uuid() from generate_series(1, 500) n`,
        [uuidOf(id)],
      );
      expect((await set(acme.admin, id, 'ONE_MORE', 'x')).data.environmentVariableSet.fields[0].path).toEqual(['name']);
      expect((await set(acme.admin, id, 'V7', 'changed')).codes).toEqual([]);
      const full = await newEnvironment();
      for (let n = 0; n < 4; n++) await set(acme.admin, full, `S${n}`, 'x'.repeat(65_000), true);
      expect((await set(acme.admin, full, 'S4', 'x'.repeat(65_000), true)).data.environmentVariableSet).toMatchObject({
        fields: [{ path: ['value'], message: expect.stringContaining('secrets') }],
      });
      expect((await set(acme.admin, full, 'P', 'x'.repeat(65_000))).data.environmentVariableSet.__typename).toBe(
        'Environment',
      );
    });
  });

  describe('secrets', () => {
    const SECRET = 'correct horse battery';
    const variableOf = async (id: string) =>
      (await tenants.ask(acme.owner, READ, { id })).data.environment.variables[0];

    it('should never be readable, and stay secret unless told otherwise', async () => {
      const id = await newEnvironment();
      const first = await set(acme.admin, id, 'KEY', SECRET, true);
      expect(first.data.environmentVariableSet.variables).toEqual([{ name: 'KEY', value: null, isSecret: true }]);
      for (const isSecret of [undefined, null]) {
        await set(acme.admin, id, 'KEY', `${SECRET} again`, isSecret);
        expect(await variableOf(id)).toEqual({ name: 'KEY', value: null, isSecret: true });
      }
      await set(acme.admin, id, 'KEY', 'public now', false);
      expect(await variableOf(id)).toEqual({ name: 'KEY', value: 'public now', isSecret: false });
      await set(acme.admin, id, 'KEY', 'still public');
      expect(await variableOf(id)).toMatchObject({ isSecret: false });
    });

    it('should have at least 8 bytes, also where it stays a secret', async () => {
      const id = await newEnvironment();
      await set(acme.admin, id, 'KEY', SECRET, true);
      for (const isSecret of [true, undefined]) {
        expect((await set(acme.admin, id, 'KEY', '1234567', isSecret)).data.environmentVariableSet).toMatchObject({
          code: 'VALIDATION_ERROR',
          fields: [{ path: ['value'] }],
        });
      }
      expect((await set(acme.admin, id, 'KEY', 'üüüü', true)).codes).toEqual([]);
    });

    it('should keep every version until the variable goes', async () => {
      const id = await newEnvironment();
      await set(acme.admin, id, 'KEY', 'first value', true);
      const before = (await resolve(id)).secrets.KEY!;
      await set(acme.admin, id, 'KEY', 'second value', true);
      const after = (await resolve(id)).secrets.KEY!;
      expect([before.value, after.value]).toEqual(['first value', 'second value']);
      const both = [before.versionId, after.versionId];
      expect(await tenants.services.environments.secretValues(both)).toEqual({
        [before.versionId]: 'first value',
        [after.versionId]: 'second value',
      });
      await tenants.ask(acme.admin, UNSET, { input: { environmentId: id, name: 'KEY' } });
      expect(await tenants.services.environments.secretValues(both)).toEqual({});
    });

    it('should stand nowhere in the database in the clear, nor in an answer that fails', async () => {
      const id = await newEnvironment();
      const value = 'needle-in-the-haystack-7361';
      await set(acme.admin, id, 'KEY', value, true);
      const { rows } = await tenants.database.pool.query(
        `select v::text as row from variables v union all select s::text from secret_versions s
         union all select e::text from events e union all select k::text from idempotency_keys k`,
      );
      expect(rows.length).toBeGreaterThan(2);
      expect(rows.map(({ row }) => row).join('\n')).not.toContain(value);
      const refused = await tenants.ask(acme.admin, SET, {
        input: { environmentId: id, name: 'KEY', value: `${value}\0`, isSecret: true },
      });
      expect(refused.data.environmentVariableSet.code).toBe('VALIDATION_ERROR');
      expect(JSON.stringify(refused)).not.toContain(value);
    });

    it('should not decrypt where it was moved', async () => {
      const id = await newEnvironment();
      await set(acme.admin, id, 'A', 'value of a', true);
      await set(acme.admin, id, 'B', 'value of b', true);
      const { A, B } = (await resolve(id)).secrets;
      await tenants.database.pool.query(
        'update secret_versions set ciphertext = (select ciphertext from secret_versions where id = $1) where id = $2',
        [A!.versionId, B!.versionId],
      );
      await expect(tenants.services.environments.secretValues([B!.versionId])).rejects.toThrow('another place');
    });
  });

  describe('deleting', () => {
    it('should need an admin, and nothing that is not over', async () => {
      const id = await newEnvironment();
      expect((await tenants.ask(acme.developer, DELETE, { id })).codes).toEqual(['PERMISSION_DENIED']);
      const stack = await tenants.services.stacks.create(acme.owner, {
        organizationId: acme.id,
        name: 'Runs',
        compose: 'services: { web: { image: nginx } }',
      });
      const version = (await tenants.services.stacks.version(stack.id, null))!;
      const { prisma } = tenants.database;
      const placed = { id: newId(), stackId: stack.id, environmentId: uuidOf(id) };
      await prisma.stackEnvironment.create({ data: placed });
      const deployment = await prisma.deployment.create({
        data: {
          id: newId(),
          organizationId: acme.id,
          stackId: stack.id,
          stackVersionId: version.id,
          environmentId: placed.environmentId,
          stackEnvironmentId: placed.id,
          number: 1,
        },
      });
      expect((await tenants.ask(acme.admin, DELETE, { id })).data.environmentDelete.code).toBe('CONFLICT');
      await prisma.deployment.update({
        where: { id: deployment.id },
        data: { status: 'CANCELLED', finishedAt: new Date() },
      });
      await tenants.database.pool.query('insert into log_heads (deployment_id) values ($1)', [deployment.id]);
      expect((await tenants.ask(acme.admin, DELETE, { id })).data.environmentDelete).toEqual({
        __typename: 'Deleted',
        id,
      });
      expect(await removeDeletedLogs(tenants.database.pool, { signal: new AbortController().signal })).toBe(1);
      expect((await tenants.ask(acme.admin, READ, { id })).data.environment).toBeNull();
    });
  });

  it('should cost queries by the page', async () => {
    const LIST =
      'query ($id: ID!) { organization(id: $id) { environments(first: 100) { totalCount nodes { name organization { name } variables { name value } } } } }';
    const count = () =>
      tenants.countQueries(async () =>
        expect((await tenants.ask(acme.viewer, LIST, { id: acme.globalId })).codes).toEqual([]),
      );
    const before = await count();
    for (let n = 0; n < 5; n++) await set(acme.admin, await newEnvironment(), 'A', 'b');
    expect(await count()).toBe(before);
  });

  it('should tell in events what changed, without values', async () => {
    const id = await newEnvironment({ name: 'Told' });
    await set(acme.admin, id, 'KEY', 'a secret value', true);
    await tenants.ask(acme.admin, UNSET, { input: { environmentId: id, name: 'KEY' } });
    await tenants.ask(acme.admin, DELETE, { id });
    const { rows } = await tenants.database.pool.query(
      'select type, data from events where subject_id = $1 order by sequence',
      [uuidOf(id)],
    );
    expect(rows).toEqual([
      { type: 'environment.created', data: { name: 'Told', type: 'DEVELOPMENT', runtime: 'PROCESS' } },
      { type: 'variable.set', data: { name: 'KEY', isSecret: true } },
      { type: 'variable.deleted', data: { name: 'KEY' } },
      { type: 'environment.deleted', data: {} },
    ]);
  });
});

describe('an installation without the PROCESS runtime', () => {
  it('should refuse it everywhere', async () => {
    await using tenants = await createTenants({ processRuntime: false });
    const { acme } = tenants;
    const { data } = await tenants.ask(acme.owner, CREATE, { input: { organizationId: acme.globalId, name: 'Test' } });
    expect(data.environmentCreate.fields[0].message).toContain('WINDFLOW_PROCESS_RUNTIME');
    const ALLOW =
      'mutation ($id: ID!) { organizationRuntimesUpdate(input: { organizationId: $id, allowedRuntimes: [PROCESS] }) { ... on Error { code } } }';
    expect((await tenants.ask(acme.owner, ALLOW, { id: acme.globalId })).data.organizationRuntimesUpdate.code).toBe(
      'VALIDATION_ERROR',
    );
  });
});
