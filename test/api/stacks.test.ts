import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../src/modules/services.ts';
import { decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

const COMPOSE = `# a comment that stays
services:
  web:
    image: nginx:1
    command: ["nginx", "-g", "daemon off;"]
    ports: ["8080:80"]
    depends_on: [db]
  db:
    image: postgres
    deploy: { replicas: 2 }
`;
const CREATE = `mutation ($input: StackCreateInput!) { stackCreate(input: $input) {
  __typename
  ... on Stack { id name slug organization { id } lastDeployedAt currentVersion { id number compose createdBy { ... on User { id } }
    services { name image command ports dependsOn replicas } } }
  ... on Error { code message }
  ... on ValidationError { fields { path message } findings { rule severity message path line column } } } }`;
const UPDATE = `mutation ($input: StackUpdateInput!) { stackUpdate(input: $input) {
  __typename ... on Stack { name description currentVersion { number compose } versions { totalCount nodes { number } } }
  ... on Error { code message } ... on ValidationError { fields { path } findings { line } } } }`;
const DELETE = `mutation ($id: ID!) { stackDelete(input: { stackId: $id }) { __typename ... on Deleted { id } ... on Error { code } } }`;
const READ = 'query ($id: ID!) { stack(id: $id) { id name currentVersion { number } } }';
const VALIDATE = `query ($input: StackValidateInput!) { stackValidate(input: $input) {
  __typename ... on StackValidation { valid score findings { rule severity message path suggestion line } }
  ... on Error { code message } ... on ValidationError { fields { path } } } }`;

describe('stacks', () => {
  let tenants: Tenants;
  let acme: Tenant;
  let rival: Tenant;
  beforeAll(async () => {
    tenants = await createTenants();
    ({ acme, rival } = tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  const create = (caller: Caller, input: object = {}, tenant = acme) =>
    tenants.ask(caller, CREATE, {
      input: { organizationId: tenant.globalId, name: 'Web shop', compose: COMPOSE, ...input },
    });
  const newStack = async (input: object = {}): Promise<string> =>
    (await create(acme.developer, input)).data.stackCreate.id;
  const update = (caller: Caller, stackId: string, input: object) =>
    tenants.ask(caller, UPDATE, { input: { stackId, ...input } });

  describe('creating', () => {
    it('should keep the compose file as it was given and list its services', async () => {
      const { data, codes } = await create(acme.developer);
      expect(codes).toEqual([]);
      expect(data.stackCreate).toMatchObject({
        name: 'Web shop',
        slug: 'web-shop',
        organization: { id: acme.globalId },
        lastDeployedAt: null,
        currentVersion: {
          number: 1,
          compose: COMPOSE,
          createdBy: { id: encodeGlobalId('User', acme.developer.userId) },
        },
      });
      expect(data.stackCreate.currentVersion.services).toEqual([
        { name: 'db', image: 'postgres', command: null, ports: [], dependsOn: [], replicas: 2 },
        {
          name: 'web',
          image: 'nginx:1',
          command: ['nginx', '-g', 'daemon off;'],
          ports: ['8080:80'],
          dependsOn: ['db'],
          replicas: 1,
        },
      ]);
    });

    it('should need a developer of the organization', async () => {
      expect((await create(acme.viewer)).codes).toEqual(['PERMISSION_DENIED']);
      expect((await create(rival.owner)).data.stackCreate.code).toBe('NOT_FOUND');
      expect((await create(acme.developer, { organizationId: 'x' })).data.stackCreate.code).toBe('NOT_FOUND');
    });

    it('should name the line of what no runtime and no variable could mend', async () => {
      const { data } = await create(acme.developer, {
        compose: 'services:\n  web:\n    image: nginx\n    depends_on: [nowhere]\n',
      });
      expect(data.stackCreate).toMatchObject({ code: 'VALIDATION_ERROR', fields: [{ path: ['compose'] }] });
      expect(data.stackCreate.findings).toContainEqual(expect.objectContaining({ severity: 'ERROR', line: 4 }));
      expect(data.stackCreate.message).toContain('line 4');
    });

    it('should take what depends on variables', async () => {
      const compose = 'services: { web: { image: "${IMAGE:?which one}", ports: ["${PORT}:80"] } }';
      expect((await create(acme.developer, { compose })).data.stackCreate.currentVersion.compose).toBe(compose);
    });

    it.each([
      ['a file over 1 MiB', `services: { web: { image: nginx } }\n# ${'x'.repeat(1024 * 1024)}`],
      ['a NUL', 'services: { web: { image: "ngi\0nx" } }'],
      ['an escaped NUL', 'services: { web: { image: nginx, command: ["a\\0b"] } }'],
      ['a lone surrogate', 'services: { web: { image: "\ud800" } }'],
      ['nothing', ''],
      ['a text', 'just text'],
      ['invalid YAML', 'services: ['],
      [
        'an alias bomb',
        `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefghij'].map((n, i) => `${n}: &${n} [${Array(9).fill(`*${'abcdefghij'[i]}`).join(',')}]`).join('\n')}\nservices: { web: { image: nginx } }`,
      ],
      ['deep nesting', `services: ${'['.repeat(5_000)}`],
    ])('should refuse %s', async (_what, compose) => {
      const { data, codes } = await create(acme.developer, { compose });
      expect(codes).toEqual([]);
      expect(data.stackCreate).toMatchObject({ code: 'VALIDATION_ERROR', fields: [{ path: ['compose'] }] });
    });

    it('should create once for parallel duplicates with a key', async () => {
      const input = { name: 'Once', idempotencyKey: 'stack-1' };
      const answers = await Promise.all(Array.from({ length: 4 }, () => create(acme.developer, input)));
      expect(new Set(answers.map(({ data }) => data.stackCreate.id)).size).toBe(1);
      expect((await create(acme.developer, { ...input, compose: `${COMPOSE}\n` })).data.stackCreate.code).toBe(
        'CONFLICT',
      );
    });
  });

  describe('updating', () => {
    it('should add a version only where the file differs', async () => {
      const id = await newStack();
      expect((await update(acme.developer, id, { name: 'Renamed', compose: COMPOSE })).data.stackUpdate).toMatchObject({
        name: 'Renamed',
        currentVersion: { number: 1 },
      });
      const changed = `${COMPOSE}# more\n`;
      expect((await update(acme.developer, id, { compose: changed, description: 'text' })).data.stackUpdate).toEqual({
        __typename: 'Stack',
        name: 'Renamed',
        description: 'text',
        currentVersion: { number: 2, compose: changed },
        versions: { totalCount: 2, nodes: [{ number: 2 }, { number: 1 }] },
      });
      expect((await update(acme.developer, id, { description: null })).data.stackUpdate.description).toBeNull();
      const versions = tenants.services.stacks;
      const uuid = decodeIdOf('Stack', id)!;
      expect((await versions.version(uuid, 1))?.compose).toBe(COMPOSE);
      expect((await versions.version(uuid, null))?.compose).toBe(changed);
      expect(await versions.version(uuid, 3)).toBeNull();
    });

    it('should refuse a change that is based on another version', async () => {
      const id = await newStack();
      const change = (n: number) => update(acme.developer, id, { compose: `${COMPOSE}# ${n}\n`, expectedVersion: 1 });
      const answers = await Promise.all([1, 2, 3, 4].map(change));
      const types = answers.map(({ data }) => data.stackUpdate.__typename).sort();
      expect(types).toEqual(['ConflictError', 'ConflictError', 'ConflictError', 'Stack']);
      expect((await change(5)).data.stackUpdate.message).toContain('2');
    });

    it('should number versions without gaps when many change it at once', async () => {
      const id = await newStack();
      await Promise.all(
        Array.from({ length: 5 }, (_, n) => update(acme.developer, id, { compose: `${COMPOSE}# ${n}\n` })),
      );
      const { data } = await update(acme.developer, id, {});
      expect(data.stackUpdate.versions.nodes.map(({ number }: { number: number }) => number)).toEqual([
        6, 5, 4, 3, 2, 1,
      ]);
    });

    it('should refuse what cannot be stored and change nothing', async () => {
      const id = await newStack();
      const { data } = await update(acme.developer, id, { name: 'Half', compose: 'services:\n  web: {}\n  web: {}\n' });
      expect(data.stackUpdate).toMatchObject({ code: 'VALIDATION_ERROR', fields: [{ path: ['compose'] }] });
      expect((await update(acme.developer, id, { compose: null })).data.stackUpdate.fields).toEqual([
        { path: ['compose'] },
      ]);
      expect((await tenants.ask(acme.viewer, READ, { id })).data.stack).toEqual({
        id,
        name: 'Web shop',
        currentVersion: { number: 1 },
      });
    });
  });

  it('should look absent to strangers everywhere', async () => {
    const id = await newStack();
    const version = (await tenants.services.stacks.version(decodeIdOf('Stack', id)!, null))!;
    const versionId = encodeGlobalId('StackVersion', version.id);
    const NODE = 'query ($id: ID!) { node(id: $id) { id ... on StackVersion { number compose stack { name } } } }';
    expect((await tenants.ask(acme.viewer, NODE, { id: versionId })).data.node).toEqual({
      id: versionId,
      number: 1,
      compose: COMPOSE,
      stack: { name: 'Web shop' },
    });
    expect((await tenants.ask(rival.owner, NODE, { id: versionId })).data.node).toBeNull();
    for (const foreign of [
      id,
      encodeGlobalId('Stack', newId()),
      encodeGlobalId('Environment', decodeIdOf('Stack', id)!),
      '',
    ]) {
      expect(await tenants.ask(rival.owner, READ, { id: foreign })).toMatchObject({ data: { stack: null }, codes: [] });
      expect((await tenants.ask(rival.owner, NODE, { id: foreign })).data.node).toBeNull();
      expect((await update(rival.owner, foreign, { name: 'Mine' })).data.stackUpdate.code).toBe('NOT_FOUND');
      expect((await tenants.ask(rival.owner, DELETE, { id: foreign })).data.stackDelete.code).toBe('NOT_FOUND');
    }
    expect((await update(acme.viewer, id, { name: 'No' })).codes).toEqual(['PERMISSION_DENIED']);
    expect((await tenants.ask(acme.viewer, DELETE, { id })).codes).toEqual(['PERMISSION_DENIED']);
  });

  it('should be deleted with its versions', async () => {
    const id = await newStack();
    expect((await tenants.ask(acme.developer, DELETE, { id })).data.stackDelete).toEqual({ __typename: 'Deleted', id });
    expect((await tenants.ask(acme.developer, DELETE, { id })).data.stackDelete.code).toBe('NOT_FOUND');
    expect(await tenants.services.stacks.version(decodeIdOf('Stack', id)!, 1)).toBeNull();
  });

  describe('lists', () => {
    const LIST = `query ($id: ID!, $filter: StackFilter, $orderBy: StackOrder, $first: Int, $after: String, $last: Int, $before: String) {
      organization(id: $id) { stacks(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
        totalCount edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`;
    let owner: Caller;
    let id: string;
    let uuid: string;
    beforeAll(async () => {
      owner = tenants.superadmin;
      const organization = await tenants.services.organizations.create(owner, { name: 'Lists' });
      uuid = organization.id;
      id = encodeGlobalId('Organization', uuid);
      for (const name of ['delta', 'alpha', 'charlie', 'bravo', 'echo']) {
        await tenants.services.stacks.create(owner, { organizationId: uuid, name, compose: COMPOSE });
      }
      const { pool } = tenants.database;
      for (const [name, day] of [
        ['alpha', 3],
        ['echo', 9],
        ['bravo', 3],
      ]) {
        await pool.query('update stacks set last_deployed_at = $3 where organization_id = $1 and name = $2', [
          uuid,
          name,
          `2026-01-0${day}`,
        ]);
      }
    });
    const list = async (variables: object = {}) =>
      (await tenants.ask(owner, LIST, { id, ...variables })).data.organization.stacks;
    const names = (page: { edges: { node: { name: string } }[] }) => page.edges.map(({ node }) => node.name);

    it.each([
      ['NAME_ASC', ['alpha', 'bravo', 'charlie', 'delta', 'echo']],
      ['NAME_DESC', ['echo', 'delta', 'charlie', 'bravo', 'alpha']],
      ['CREATED_AT_ASC', ['delta', 'alpha', 'charlie', 'bravo', 'echo']],
      ['CREATED_AT_DESC', ['echo', 'bravo', 'charlie', 'alpha', 'delta']],
      ['LAST_DEPLOYED_AT_DESC', ['echo', 'bravo', 'alpha', 'charlie', 'delta']],
    ])('should walk %s in both directions', async (orderBy, expected) => {
      const forward: string[] = [];
      let after: string | null = null;
      do {
        const page = await list({ orderBy, first: 2, after });
        expect(page.totalCount).toBe(5);
        expect(page.pageInfo.hasPreviousPage).toBe(after !== null);
        forward.push(...names(page));
        after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
      } while (after);
      expect(forward).toEqual(expected);
      const backward: string[] = [];
      let before: string | null = null;
      do {
        const page = await list({ orderBy, last: 2, before });
        backward.unshift(...names(page));
        before = page.pageInfo.hasPreviousPage ? page.pageInfo.startCursor : null;
      } while (before);
      expect(backward).toEqual(expected);
    });

    it('should search in names and slugs, literally', async () => {
      expect(names(await list({ filter: { search: 'LPH' } }))).toEqual(['alpha']);
      expect(await list({ filter: { search: '%' } })).toMatchObject({ totalCount: 0, edges: [] });
      expect(names(await list({ filter: { search: 'a\0' } }))).toEqual([]);
      expect((await tenants.ask(owner, LIST, { id, filter: { search: 'x'.repeat(201) } })).codes).toEqual([
        'BAD_REQUEST',
      ]);
    });

    it('should find what runs in an environment', async () => {
      const environment = await tenants.services.environments.create(owner, { organizationId: uuid, name: 'Test' });
      const environmentId = encodeGlobalId('Environment', environment.id);
      expect(names(await list({ filter: { environmentId } }))).toEqual([]);
      const { prisma } = tenants.database;
      const stack = await prisma.stack.findFirstOrThrow({ where: { organizationId: uuid, name: 'bravo' } });
      const placed = { id: newId(), stackId: stack.id, environmentId: environment.id };
      const version = (await tenants.services.stacks.version(stack.id, null))!;
      await prisma.stackEnvironment.create({ data: placed });
      const deployment = {
        id: newId(),
        organizationId: uuid,
        stackVersionId: version.id,
        stackEnvironmentId: placed.id,
        number: 1,
      };
      await prisma.deployment.create({ data: { ...deployment, stackId: stack.id, environmentId: environment.id } });
      await prisma.stackEnvironment.update({ where: { id: placed.id }, data: { liveDeploymentId: deployment.id } });
      expect(names(await list({ filter: { environmentId } }))).toEqual(['bravo']);
      expect(names(await list({ filter: { environmentId: 'garbage' } }))).toEqual([]);
      const STACK_DELETE = (await tenants.ask(owner, DELETE, { id: encodeGlobalId('Stack', stack.id) })).data
        .stackDelete;
      expect(STACK_DELETE.code).toBe('CONFLICT');
    });

    it('should refuse pages that are too large and cursors of another order', async () => {
      const { pageInfo } = await list({ first: 1 });
      for (const bad of [
        { first: 101 },
        { last: 0 },
        { first: 1, last: 1 },
        { after: 'x' },
        { orderBy: 'NAME_DESC', after: pageInfo.endCursor },
      ]) {
        expect((await tenants.ask(owner, LIST, { id, ...bad })).codes).toEqual(['BAD_REQUEST']);
      }
    });

    it('should cost queries by the page, and read compose files only where they are asked for', async () => {
      const NESTED = `query ($id: ID!) { organization(id: $id) { stacks(first: 100) { nodes { name organization { slug }
        currentVersion { number createdBy { ... on User { username } } services { name } } versions(first: 2) { totalCount nodes { number stack { name } } } } } } }`;
      const count = () =>
        tenants.countQueries(async () => expect((await tenants.ask(owner, NESTED, { id })).codes).toEqual([]));
      const before = await count();
      for (let n = 0; n < 5; n++)
        await tenants.services.stacks.create(owner, { organizationId: uuid, name: `more ${n}`, compose: COMPOSE });
      expect(await count()).toBe(before);
    });
  });

  describe('validating', () => {
    const validate = (caller: Caller, input: object) =>
      tenants.ask(caller, VALIDATE, { input: { organizationId: acme.globalId, ...input } });

    it('should check a text or a stored stack, exactly one of them', async () => {
      const clean = 'services: { web: { command: "sleep 1" } }';
      expect((await validate(acme.viewer, { compose: clean })).data.stackValidate).toMatchObject({ valid: true });
      expect((await validate(acme.viewer, { stackId: await newStack() })).data.stackValidate).toMatchObject({
        valid: true,
      });
      const broken = (await validate(acme.viewer, { compose: 'services: [' })).data.stackValidate;
      expect(broken).toMatchObject({ __typename: 'StackValidation', valid: false });
      expect(broken.score).toBeLessThan(100);
      for (const input of [
        {},
        { compose: clean, stackId: await newStack() },
        { compose: 'x'.repeat(1024 * 1024 + 1) },
      ]) {
        expect((await validate(acme.viewer, input)).data.stackValidate).toMatchObject({
          fields: [{ path: ['compose'] }],
        });
      }
    });

    it("should take an environment's runtime and variables", async () => {
      const environment = await tenants.services.environments.create(acme.owner, {
        organizationId: acme.id,
        name: 'Check',
      });
      const environmentId = encodeGlobalId('Environment', environment.id);
      const compose = 'services: { web: { command: "sleep ${SECONDS:?how long}" } }';
      expect((await validate(acme.viewer, { compose, environmentId })).data.stackValidate.valid).toBe(false);
      await tenants.services.environments.setVariable(acme.owner, {
        environmentId: environment.id,
        name: 'SECONDS',
        value: '9',
      });
      expect((await validate(acme.viewer, { compose, environmentId })).data.stackValidate.valid).toBe(true);
      const nothingToRun = { compose: 'services: { web: { image: nginx } }' };
      expect((await validate(acme.viewer, nothingToRun)).data.stackValidate.valid).toBe(true);
      expect((await validate(acme.viewer, { ...nothingToRun, environmentId })).data.stackValidate.valid).toBe(false);
      expect((await validate(acme.viewer, { ...nothingToRun, runtime: 'PROCESS' })).data.stackValidate.valid).toBe(
        false,
      );
      expect((await validate(acme.viewer, { compose, runtime: 'SWARM' })).data.stackValidate.findings).toContainEqual(
        expect.objectContaining({ rule: 'runtime-unsupported', severity: 'ERROR' }),
      );
    });

    it('should never show a secret, nor let those guess at one who could not deploy with it', async () => {
      const environment = await tenants.services.environments.create(acme.owner, {
        organizationId: acme.id,
        name: 'Guarded',
        type: 'PRODUCTION',
      });
      const value = 'swordfish-4711';
      await tenants.services.environments.setVariable(acme.owner, {
        environmentId: environment.id,
        name: 'PASSWORD',
        value,
        isSecret: true,
      });
      const environmentId = encodeGlobalId('Environment', environment.id);
      const places = [
        'ports: ["${PASSWORD}"]',
        'restart: "${PASSWORD}"',
        'depends_on: ["${PASSWORD}"]',
        'stop_signal: "${PASSWORD}"',
      ];
      for (const place of places) {
        const compose = `services:\n  swordfish-4711: { command: x }\n  web:\n    command: x\n    ${place}\n`;
        const compared = await Promise.all(
          [acme.admin, acme.developer, acme.viewer].map((caller) => validate(caller, { compose, environmentId })),
        );
        for (const answer of compared) expect(answer.codes).toEqual([]);
        const guess = `services:\n  other: { command: x }\n  web:\n    command: x\n    ${place}\n`;
        const wrong = await validate(acme.developer, { compose: guess, environmentId });
        expect(wrong.data.stackValidate).toEqual(compared[1]!.data.stackValidate);
        expect(JSON.stringify(await validate(acme.admin, { compose: guess, environmentId }))).not.toContain(value);
      }
    });

    it('should look absent for what belongs to another organization', async () => {
      const { id: rivalStack } = await tenants.services.stacks.create(rival.owner, {
        organizationId: rival.id,
        name: 'x',
        compose: COMPOSE,
      });
      await tenants.database.prisma.organizationMember.create({
        data: { id: newId(), organizationId: rival.id, userId: acme.viewer.userId, role: 'VIEWER' },
      });
      const stackId = encodeGlobalId('Stack', rivalStack);
      expect((await tenants.ask(acme.viewer, READ, { id: stackId })).data.stack.id).toBe(stackId);
      for (const input of [{ stackId }, { stackId: 'x' }, { compose: COMPOSE, environmentId: 'x' }]) {
        expect((await validate(acme.viewer, input)).data.stackValidate.code).toBe('NOT_FOUND');
      }
      expect((await validate(rival.owner, { compose: COMPOSE })).data.stackValidate.code).toBe('NOT_FOUND');
    });
  });
});
