import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../src/modules/services.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

const CREATE = `mutation ($input: EnvironmentCreateInput!) { environmentCreate(input: $input) {
  __typename ... on Environment { id runtime privileges }
  ... on Error { code message } ... on ValidationError { fields { path message } } } }`;
const UPDATE = `mutation ($input: EnvironmentUpdateInput!) { environmentUpdate(input: $input) {
  __typename ... on Environment { name privileges } ... on Error { code message } ... on ValidationError { fields { path message } } } }`;
const PEM = '-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n';
const REMOTE = {
  endpoint: 'tcp://engine.example.com:2376',
  tls: { cert: PEM, key: PEM },
  registries: { 'registry.example.com': { username: 'me', password: 'pass of a registry' } },
};

describe('environments on a container engine', () => {
  let tenants: Tenants;
  let acme: Tenant;
  let rival: Tenant;
  beforeAll(async () => {
    tenants = await createTenants();
    ({ acme, rival } = tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  const create = (caller: Caller, runtimeConfig?: unknown, tenant = acme) =>
    tenants.ask(caller, CREATE, {
      input: { organizationId: tenant.globalId, name: 'Engine', runtime: 'DOCKER', runtimeConfig },
    });
  const update = (caller: Caller, environmentId: string, input: object) =>
    tenants.ask(caller, UPDATE, { input: { environmentId, ...input } });
  const hostOf = async (environmentId: string) =>
    tenants.database.prisma.host.findFirstOrThrow({
      where: { environments: { some: { id: decodeIdOf('Environment', environmentId)! } } },
    });

  it('should be made by any admin where the engine is elsewhere, and keep what reaches it encrypted', async () => {
    const { data, codes } = await create(acme.admin, REMOTE);
    expect(codes).toEqual([]);
    expect(data.environmentCreate).toMatchObject({ __typename: 'Environment', runtime: 'DOCKER', privileges: [] });
    const host = await hostOf(data.environmentCreate.id);
    expect(host).toMatchObject({ name: REMOTE.endpoint, engineId: null });
    for (const secret of ['BEGIN', 'registry', 'pass']) expect(host.connection).not.toContain(secret);
    const told = await tenants.database.pool.query('select data::text as text from events');
    expect(told.rows.map(({ text }) => text).join()).not.toContain('engine.example.com');
    expect((await create(rival.owner, REMOTE, rival)).data.environmentCreate.runtime).toBe('DOCKER');
  });

  it.each([
    undefined,
    {},
    { endpoint: 'unix:///run/docker.sock' },
  ])("should leave the server's own engine to superadmins: %j", async (config) => {
    expect((await create(acme.admin, config)).codes).toEqual(['PERMISSION_DENIED']);
    expect((await create(rival.owner, config, rival)).codes).toEqual(['PERMISSION_DENIED']);
    expect((await create(tenants.superadmin, config)).data.environmentCreate.runtime).toBe('DOCKER');
  });

  it.each([
    'tcp://127.0.0.1:2375',
    'tcp://127.1.2.3:2375',
    'tcp://2130706433:2375',
    'tcp://localhost:2375',
    'tcp://LOCALHOST:2375',
    'tcp://[::1]:2375',
    'tcp://[::ffff:127.0.0.1]:2375',
    'tcp://0.0.0.0:2375',
    'tcp://169.254.169.254:80',
  ])('should take %s for an engine of the own machine', async (endpoint) => {
    const answer = await create(acme.admin, { endpoint });
    expect(answer.codes.length + (answer.data.environmentCreate?.code === 'VALIDATION_ERROR' ? 1 : 0)).toBe(1);
  });

  it.each([
    [{ endpoint: 'http://engine' }, 'endpoint'],
    [{ endpoint: 'tcp://engine' }, 'endpoint'],
    [{ endpoint: 'unix://relative' }, 'endpoint'],
    [{ endpoint: 'ssh://user:password@engine' }, 'endpoint'],
    [{ endpoint: 'ssh://user@engine' }, 'sshKey'],
    [{ endpoint: 'ssh://user@engine', sshKey: 'no key' }, 'sshKey'],
    [{ ...REMOTE, tls: { cert: PEM } }, 'tls'],
    [{ ...REMOTE, tls: { cert: 'x', key: PEM } }, 'tls'],
    [{ endpoint: 'ssh://user@engine', sshKey: PEM, tls: REMOTE.tls }, 'tls'],
    [{ endpoint: 'ssh://user@engine', sshKey: PEM }, 'sshHostKeys'],
    [{ endpoint: 'ssh://user@engine', sshKey: PEM, sshHostKeys: ['SHA256:short'] }, 'sshHostKeys'],
    [{ ...REMOTE, registries: { 'registry.example.com': 'password' } }, 'registries'],
    [{ ...REMOTE, socket: '/x' }, 'socket'],
  ])('should refuse %j and name what is wrong', async (config, named) => {
    const { data } = await create(tenants.superadmin, config);
    expect(data.environmentCreate.code).toBe('VALIDATION_ERROR');
    const [{ path, message }] = data.environmentCreate.fields;
    expect(`${path.join('.')} ${message}`).toContain(named);
    expect(path[0]).toBe('runtimeConfig');
    expect(message).not.toContain('password@');
  });

  it('should be reached in another way after an update, and be another engine only with nothing on it', async () => {
    const { id } = (await create(acme.admin, REMOTE)).data.environmentCreate;
    const { prisma } = tenants.database;
    const before = await hostOf(id);
    await prisma.host.update({ where: { id: before.id }, data: { engineId: 'ENGINE' } });
    const endpoint = 'tcp://other.example.com:2376';
    expect((await update(acme.admin, id, { runtimeConfig: { endpoint } })).data.environmentUpdate.name).toBe('Engine');
    const after = await hostOf(id);
    expect(after).toMatchObject({ id: before.id, name: endpoint, engineId: null });
    expect(after.connection).not.toBe(before.connection);
    expect((await update(acme.admin, id, { runtimeConfig: {} })).codes).toEqual(['PERMISSION_DENIED']);
  });

  it('should let owners alone say what containers may do beyond their walls', async () => {
    const { id } = (await create(acme.admin, REMOTE)).data.environmentCreate;
    const privileges = ['HOST_PATHS', 'PRIVILEGED', 'HOST_PATHS'];
    expect((await update(acme.admin, id, { privileges })).codes).toEqual(['PERMISSION_DENIED']);
    expect((await update(acme.owner, id, { privileges })).data.environmentUpdate.privileges).toEqual([
      'HOST_PATHS',
      'PRIVILEGED',
    ]);
    expect((await update(acme.owner, id, { privileges: [] })).data.environmentUpdate.privileges).toEqual([]);
    const own = (await create(rival.owner, REMOTE, rival)).data.environmentCreate;
    expect((await update(rival.owner, own.id, { privileges })).data.environmentUpdate.privileges).toHaveLength(2);
    expect((await update(acme.owner, own.id, { privileges })).data.environmentUpdate.code).toBe('NOT_FOUND');
  });
});
