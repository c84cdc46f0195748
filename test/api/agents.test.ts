import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCredential } from '../../src/modules/agents/credential.ts';
import type { Caller } from '../../src/modules/services.ts';
import { decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

const AGENT = `id name description organization { id } template { id version } model systemPrompt configuration hasCredential
  createdBy { ... on User { id } }`;
const TEMPLATE = `id slug version name description type definition organization { id } createdBy { ... on User { id } }`;
const FAULT = '... on Error { code message } ... on ValidationError { fields { path message } }';
const CREATE = `mutation ($input: AgentCreateInput!) { agentCreate(input: $input) {
  __typename ... on Agent { ${AGENT} } ${FAULT} } }`;
const UPDATE = `mutation ($input: AgentUpdateInput!) { agentUpdate(input: $input) {
  __typename ... on Agent { ${AGENT} } ${FAULT} } }`;
const DELETE = `mutation ($id: ID!) { agentDelete(input: { agentId: $id }) { __typename ... on Deleted { id } ... on Error { code message } } }`;
const READ = `query ($id: ID!) { agent(id: $id) { ${AGENT} } node(id: $id) { id __typename } }`;
const TEMPLATE_CREATE = `mutation ($input: AgentTemplateCreateInput!) { agentTemplateCreate(input: $input) {
  __typename ... on AgentTemplate { ${TEMPLATE} } ${FAULT} } }`;
const TEMPLATE_UPDATE = `mutation ($input: AgentTemplateUpdateInput!) { agentTemplateUpdate(input: $input) {
  __typename ... on AgentTemplate { ${TEMPLATE} } ${FAULT} } }`;
const TEMPLATE_READ = `query ($organizationId: ID!, $slug: String!, $version: Int) {
  agentTemplate(organizationId: $organizationId, slug: $slug, version: $version) { ${TEMPLATE} } }`;
const DEFAULTS = {
  tools: [],
  withoutApproval: [],
  maxTurns: 10,
  timeoutSeconds: 600,
  retry: { attempts: 3, delaySeconds: 1, factor: 2 },
};

describe('agents', () => {
  let tenants: Tenants;
  let acme: Tenant;
  let rival: Tenant;
  beforeAll(async () => {
    tenants = await createTenants();
    ({ acme, rival } = tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  let made = 0;
  const create = async (caller: Caller, input: object = {}) => {
    const whole = { organizationId: acme.globalId, name: `agent ${++made}`, ...input };
    const { data, codes } = await tenants.ask(caller, CREATE, { input: whole });
    return { ...data?.agentCreate, codes };
  };
  const newAgent = async (input: object = {}): Promise<string> => (await create(acme.developer, input)).id;
  const update = async (caller: Caller, agentId: string, input: object) => {
    const { data, codes } = await tenants.ask(caller, UPDATE, { input: { agentId, ...input } });
    return { ...data?.agentUpdate, codes };
  };
  const remove = async (caller: Caller, id: string) => {
    const { data, codes } = await tenants.ask(caller, DELETE, { id });
    return { ...data?.agentDelete, codes };
  };
  const createTemplate = async (caller: Caller, input: object = {}) => {
    const whole = {
      organizationId: acme.globalId,
      slug: `template-${++made}`,
      name: 'Reviewer',
      type: 'reviewer',
      definition: {},
      ...input,
    };
    const { data, codes } = await tenants.ask(caller, TEMPLATE_CREATE, { input: whole });
    return { ...data?.agentTemplateCreate, codes };
  };
  const updateTemplate = async (caller: Caller, agentTemplateId: string, input: object) => {
    const { data, codes } = await tenants.ask(caller, TEMPLATE_UPDATE, { input: { agentTemplateId, ...input } });
    return { ...data?.agentTemplateUpdate, codes };
  };
  const readTemplate = async (caller: Caller, slug: string, more: object = {}) =>
    (await tenants.ask(caller, TEMPLATE_READ, { organizationId: acme.globalId, slug, ...more })).data.agentTemplate;
  const read = async (caller: Caller, id: string) => (await tenants.ask(caller, READ, { id })).data;
  const pathsOf = ({ fields }: { fields?: { path: string[] }[] }) => fields?.map(({ path }) => path.join('.'));
  const told = async (id: string, type: string) => {
    const { rows } = await tenants.database.pool.query<{ type: string; subject: string; actor: string; data: object }>(
      'select type, subject_type as subject, actor_id as actor, data from events where subject_id = $1 order by sequence',
      [decodeIdOf(type, id)],
    );
    return rows;
  };
  const asDeveloper = () => ({ id: encodeGlobalId('User', acme.developer.userId) });

  describe('creating', () => {
    it('should need a name alone, and fill in the rest', async () => {
      expect(await create(acme.developer, { name: 'plain' })).toEqual({
        __typename: 'Agent',
        id: expect.any(String),
        name: 'plain',
        description: null,
        organization: { id: acme.globalId },
        template: null,
        model: 'builtin/echo',
        systemPrompt: null,
        configuration: DEFAULTS,
        hasCredential: false,
        createdBy: asDeveloper(),
        codes: [],
      });
    });

    it('should need a developer of the organization', async () => {
      expect((await create(acme.viewer)).codes).toEqual(['PERMISSION_DENIED']);
      expect((await create(rival.owner)).code).toBe('NOT_FOUND');
      expect((await create(acme.developer, { organizationId: 'x' })).code).toBe('NOT_FOUND');
    });

    it.each([
      ['a name that is empty', { name: ' ' }, ['name']],
      ['a model that no provider has', { model: 'openai/gpt-4o' }, ['model']],
      ['a model that is not built in', { model: 'builtin/none' }, ['model']],
      ['a model that is too long', { model: 'x'.repeat(201) }, ['model']],
      ['a system prompt that is too long', { systemPrompt: 'ä'.repeat(32 * 1024 + 1) }, ['systemPrompt']],
      ['a system prompt with NUL', { systemPrompt: 'a\0' }, ['systemPrompt']],
      ['a credential that is empty', { credential: '' }, ['credential']],
      ['a credential of two lines', { credential: 'sk-1\nsk-2' }, ['credential']],
      ['a template that is not there', { templateSlug: 'nowhere' }, ['templateSlug']],
      ['a template that cannot be', { templateSlug: 'No such' }, ['templateSlug']],
      ['a configuration that is no object', { configuration: [] }, ['configuration']],
      [
        'a configuration that is too long',
        { configuration: { outputSchema: { title: 'x'.repeat(65_536) } } },
        ['configuration'],
      ],
      ['a field that is not known', { configuration: { temprature: 1 } }, ['configuration']],
      [
        'values out of range',
        { configuration: { temperature: 3, tools: ['shell'], retry: { attempts: 0 } } },
        ['configuration.temperature', 'configuration.tools.0', 'configuration.retry.attempts'],
      ],
      [
        'a tool that may act and is not there',
        { configuration: { withoutApproval: ['deployments.create'] } },
        ['configuration.withoutApproval.0'],
      ],
      [
        'a schema that is none',
        { configuration: { outputSchema: { type: 'objekt' } } },
        ['configuration.outputSchema'],
      ],
    ])('should refuse %s', async (_what, input, paths) => {
      const refused = await create(acme.developer, input);
      expect(refused).toMatchObject({ code: 'VALIDATION_ERROR', codes: [] });
      expect(pathsOf(refused)).toEqual(paths);
    });

    it('should keep names apart within an organization, also when two come at once', async () => {
      const answers = await Promise.all(Array.from({ length: 4 }, () => create(acme.developer, { name: 'one' })));
      expect(answers.map(({ __typename: type }) => type).sort()).toEqual([
        'Agent',
        'ConflictError',
        'ConflictError',
        'ConflictError',
      ]);
      const elsewhere = await create(rival.owner, { organizationId: rival.globalId, name: 'one' });
      expect(elsewhere.__typename).toBe('Agent');
    });

    it('should create once for parallel duplicates with a key', async () => {
      const input = { name: 'keyed', credential: 'sk-1', idempotencyKey: 'agent-1' };
      const answers = await Promise.all(Array.from({ length: 4 }, () => create(acme.developer, input)));
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
      expect((await create(acme.developer, { ...input, credential: 'sk-2' })).code).toBe('CONFLICT');
      await remove(acme.developer, answers[0]!.id);
      expect(await create(acme.developer, input)).toMatchObject({ code: 'CONFLICT' });
    });

    it('should take from a template what is not given', async () => {
      const definition = { systemPrompt: 'Review.', configuration: { temperature: 0, tools: ['stacks.read'] } };
      const { id, slug } = await createTemplate(acme.developer, { description: 'Reviews.', definition });
      const taken = { ...DEFAULTS, temperature: 0, tools: ['stacks.read'] };
      expect(await create(acme.developer, { templateSlug: slug })).toMatchObject({
        template: { id, version: 1 },
        description: 'Reviews.',
        model: 'builtin/echo',
        systemPrompt: 'Review.',
        configuration: taken,
      });
      const own = { description: 'Mine', systemPrompt: 'Mine', configuration: { maxTurns: 1 } };
      expect(await create(acme.developer, { templateSlug: slug, ...own })).toMatchObject({
        ...own,
        configuration: { ...DEFAULTS, maxTurns: 1 },
      });
      const next = await updateTemplate(acme.developer, id, { definition: { systemPrompt: 'Again.' } });
      expect(await create(acme.developer, { templateSlug: slug })).toMatchObject({
        template: { id: next.id, version: 2 },
        systemPrompt: 'Again.',
        configuration: DEFAULTS,
      });
    });

    it("should say where a template's model cannot be used, and not take another tenant's template", async () => {
      const { slug } = await createTemplate(acme.developer, { definition: { model: 'openai/gpt-4o' } });
      expect(pathsOf(await create(acme.developer, { templateSlug: slug }))).toEqual(['model']);
      expect((await create(acme.developer, { templateSlug: slug, model: 'builtin/echo' })).model).toBe('builtin/echo');
      const abroad = { organizationId: rival.globalId, templateSlug: slug };
      expect(pathsOf(await create(rival.owner, abroad))).toEqual(['templateSlug']);
    });
  });

  describe('updating', () => {
    it('should change what is given, and clear what is null', async () => {
      const id = await newAgent({ description: 'text', systemPrompt: 'prompt', configuration: { temperature: 1 } });
      const renamed = await update(acme.developer, id, { name: `${id} renamed`.slice(0, 100) });
      expect(renamed).toMatchObject({ description: 'text', systemPrompt: 'prompt', configuration: { temperature: 1 } });
      const changed = await update(acme.developer, id, {
        description: null,
        systemPrompt: null,
        configuration: { maxTurns: 5 },
      });
      expect(changed).toMatchObject({
        name: renamed.name,
        description: null,
        systemPrompt: null,
        configuration: { ...DEFAULTS, maxTurns: 5 },
      });
      expect(changed.configuration).not.toHaveProperty('temperature');
      expect(await told(id, 'Agent')).toMatchObject([
        { type: 'agent.created', subject: 'agent', actor: acme.developer.userId },
        { type: 'agent.updated', data: { fields: ['name'] } },
        { type: 'agent.updated', data: { fields: ['description', 'systemPrompt', 'configuration'] } },
      ]);
    });

    it('should tell of nothing where nothing is given', async () => {
      const id = await newAgent();
      expect((await update(acme.developer, id, {})).id).toBe(id);
      expect(await told(id, 'Agent')).toHaveLength(1);
    });

    it('should refuse a name that is taken, but not its own', async () => {
      await newAgent({ name: 'taken' });
      const id = await newAgent({ name: 'free' });
      expect((await update(acme.developer, id, { name: 'taken' })).code).toBe('CONFLICT');
      expect((await update(acme.developer, id, { name: 'free', model: 'builtin/echo' })).name).toBe('free');
    });

    it('should refuse what cannot be, and change nothing', async () => {
      const id = await newAgent();
      const before = (await read(acme.viewer, id)).agent;
      for (const [input, path] of [
        [{ name: null }, 'name'],
        [{ model: null }, 'model'],
        [{ model: 'openai/gpt-4o' }, 'model'],
        [{ configuration: null }, 'configuration'],
        [{ description: 'new', configuration: { maxTurns: 0 } }, 'configuration.maxTurns'],
      ] as const)
        expect(pathsOf(await update(acme.developer, id, input))).toEqual([path]);
      expect((await read(acme.viewer, id)).agent).toEqual(before);
    });
  });

  it('should keep a credential encrypted, never readable, and let it go', async () => {
    const credential = 'sk-very-secret-4711';
    const id = await newAgent({ credential });
    expect((await read(acme.owner, id)).agent.hasCredential).toBe(true);
    const { prisma } = tenants.database;
    const { keyring } = tenants.dependencies;
    const stored = () => prisma.agent.findUniqueOrThrow({ where: { id: decodeIdOf('Agent', id)! } });
    expect((await stored()).credential).not.toContain(credential);
    expect(openCredential(keyring, await stored())).toBe(credential);
    expect((await update(acme.developer, id, { credential: 'sk-other' })).hasCredential).toBe(true);
    expect(openCredential(keyring, await stored())).toBe('sk-other');
    expect((await update(acme.developer, id, { description: 'text' })).hasCredential).toBe(true);
    expect((await update(acme.developer, id, { credential: null })).hasCredential).toBe(false);
    expect(openCredential(keyring, await stored())).toBeNull();
    expect(JSON.stringify(await told(id, 'Agent'))).not.toContain('sk-');
    const refused = await update(acme.developer, id, { credential: 'sk-very-ünusual' });
    expect(refused.message).not.toContain('sk-');
  });

  it('should look absent to strangers everywhere, and be read by a viewer', async () => {
    const id = await newAgent();
    const template = await createTemplate(acme.developer);
    expect(await read(acme.viewer, id)).toMatchObject({ agent: { id }, node: { id, __typename: 'Agent' } });
    expect((await read(acme.viewer, template.id)).node).toEqual({ id: template.id, __typename: 'AgentTemplate' });
    for (const foreign of [id, template.id, encodeGlobalId('Agent', newId()), '']) {
      expect(await read(rival.owner, foreign)).toEqual({ agent: null, node: null });
      expect((await update(rival.owner, foreign, { name: 'Mine' })).code).toBe('NOT_FOUND');
      expect((await updateTemplate(rival.owner, foreign, { name: 'Mine' })).code).toBe('NOT_FOUND');
      expect((await remove(rival.owner, foreign)).code).toBe('NOT_FOUND');
    }
    expect(await readTemplate(rival.owner, template.slug)).toBeNull();
    expect((await update(acme.viewer, id, { name: 'No' })).codes).toEqual(['PERMISSION_DENIED']);
    expect((await updateTemplate(acme.viewer, template.id, { name: 'No' })).codes).toEqual(['PERMISSION_DENIED']);
    expect((await createTemplate(acme.viewer)).codes).toEqual(['PERMISSION_DENIED']);
    expect((await remove(acme.viewer, id)).codes).toEqual(['PERMISSION_DENIED']);
  });

  it('should be deleted only when its executions are over, which stay', async () => {
    const id = await newAgent();
    const { prisma } = tenants.database;
    const agentId = decodeIdOf('Agent', id)!;
    const execution = { id: newId(), organizationId: acme.id, kind: 'AGENT', agentId } as const;
    await prisma.execution.create({ data: { ...execution, definition: {}, deadlineAt: new Date() } });
    expect(await remove(acme.developer, id)).toMatchObject({ code: 'CONFLICT', message: expect.stringMatching(/^1 /) });
    const where = { id: execution.id };
    await prisma.execution.update({ where, data: { status: 'COMPLETED', finishedAt: new Date() } });
    expect(await remove(acme.developer, id)).toEqual({ __typename: 'Deleted', id, codes: [] });
    expect((await remove(acme.developer, id)).code).toBe('NOT_FOUND');
    expect((await read(acme.developer, id)).agent).toBeNull();
    expect((await prisma.execution.findUniqueOrThrow({ where })).agentId).toBeNull();
    expect((await told(id, 'Agent')).map(({ type }) => type)).toEqual(['agent.created', 'agent.deleted']);
  });

  describe('templates', () => {
    it('should keep a definition as it was given, and every version of it', async () => {
      const definition = { configuration: { maxTurns: 2 }, systemPrompt: 'Review.' };
      const first = await createTemplate(acme.developer, { definition });
      expect(first).toMatchObject({
        version: 1,
        name: 'Reviewer',
        description: null,
        type: 'reviewer',
        definition,
        organization: { id: acme.globalId },
        createdBy: asDeveloper(),
      });
      const second = await updateTemplate(acme.admin, first.id, { description: 'New' });
      expect(second).toMatchObject({ version: 2, name: 'Reviewer', description: 'New', type: 'reviewer', definition });
      expect(second.createdBy.id).toBe(encodeGlobalId('User', acme.admin.userId));
      const third = await updateTemplate(acme.developer, first.id, { description: null, definition: {} });
      expect(third).toMatchObject({ version: 3, description: null, definition: {} });
      expect((await readTemplate(acme.viewer, first.slug)).id).toBe(third.id);
      expect((await readTemplate(acme.viewer, first.slug, { version: 2 })).id).toBe(second.id);
      for (const version of [0, 4]) expect(await readTemplate(acme.viewer, first.slug, { version })).toBeNull();
      for (const slug of ['nowhere', 'a\0b', '']) expect(await readTemplate(acme.viewer, slug)).toBeNull();
      expect(await told(third.id, 'AgentTemplate')).toMatchObject([
        { type: 'agentTemplate.created', subject: 'agentTemplate', data: { slug: first.slug, version: 3 } },
      ]);
    });

    it('should add no version where nothing differs', async () => {
      const definition = { systemPrompt: 'Review.', configuration: {} };
      const { id } = await createTemplate(acme.developer, { definition });
      const same = { name: 'Reviewer', definition: { configuration: {}, systemPrompt: 'Review.' } };
      expect(await updateTemplate(acme.developer, id, same)).toMatchObject({ id, version: 1 });
      expect(await updateTemplate(acme.developer, id, {})).toMatchObject({ id, version: 1 });
    });

    it('should number versions without gaps when many change it at once', async () => {
      const { id } = await createTemplate(acme.developer);
      const answers = await Promise.all(
        [1, 2, 3, 4, 5].map((n) => updateTemplate(acme.developer, id, { name: `name ${n}` })),
      );
      expect(answers.map(({ version }) => version).sort()).toEqual([2, 3, 4, 5, 6]);
    });

    it('should keep slugs apart within an organization, and create once with a key', async () => {
      const { slug } = await createTemplate(acme.developer);
      expect((await createTemplate(acme.developer, { slug })).code).toBe('CONFLICT');
      expect((await createTemplate(rival.owner, { slug, organizationId: rival.globalId })).version).toBe(1);
      const input = { slug: 'keyed', idempotencyKey: 'template-1' };
      const answers = await Promise.all(Array.from({ length: 3 }, () => createTemplate(acme.developer, input)));
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    });

    it.each([
      [{ slug: 'No slug' }, ['slug']],
      [{ type: 'No type' }, ['type']],
      [{ name: '' }, ['name']],
      [{ definition: 'x' }, ['definition']],
      [{ definition: { prompt: 'x' } }, ['definition']],
      [{ definition: { model: '' } }, ['definition.model']],
      [{ definition: { configuration: { maxTurns: 0 } } }, ['definition.configuration.maxTurns']],
    ])('should refuse %j', async (input, paths) => {
      expect(pathsOf(await createTemplate(acme.developer, input))).toEqual(paths);
    });
  });

  describe('lists', () => {
    const AGENTS = `query ($id: ID!, $search: String, $first: Int, $after: String) { organization(id: $id) {
      agents(search: $search, first: $first, after: $after) { totalCount nodes { name } pageInfo { hasNextPage endCursor } } } }`;
    const TEMPLATES = `query ($id: ID!, $search: String) { organization(id: $id) {
      agentTemplates(search: $search) { totalCount nodes { name slug version } } } }`;
    let owner: Caller;
    let id: string;
    beforeAll(async () => {
      owner = tenants.superadmin;
      id = encodeGlobalId('Organization', (await tenants.services.organizations.create(owner, { name: 'Lists' })).id);
      for (const name of ['charlie', 'alpha', 'bravo']) {
        await createTemplate(owner, { organizationId: id, slug: `made-by-${name}`, name });
        await create(owner, { organizationId: id, name, templateSlug: `made-by-${name}` });
      }
      const { data } = await tenants.ask(owner, TEMPLATE_READ, { organizationId: id, slug: 'made-by-alpha' });
      await updateTemplate(owner, data.agentTemplate.id, { name: 'zulu' });
    });
    const agents = async (variables: object = {}) =>
      (await tenants.ask(owner, AGENTS, { id, ...variables })).data.organization.agents;
    const templates = async (variables: object = {}) =>
      (await tenants.ask(owner, TEMPLATES, { id, ...variables })).data.organization.agentTemplates;
    const names = ({ nodes }: { nodes: { name: string }[] }) => nodes.map(({ name }) => name);

    it('should have agents by name', async () => {
      const page = await agents({ first: 2 });
      expect(page).toMatchObject({ totalCount: 3, pageInfo: { hasNextPage: true } });
      expect(names(page)).toEqual(['alpha', 'bravo']);
      expect(names(await agents({ after: page.pageInfo.endCursor }))).toEqual(['charlie']);
      expect(names(await agents({ search: 'LPH' }))).toEqual(['alpha']);
      expect(names(await agents({ search: '%' }))).toEqual([]);
      expect(names(await agents({ search: 'a\0' }))).toEqual([]);
    });

    it('should have templates in their newest version, by name', async () => {
      const page = await templates();
      expect(page.totalCount).toBe(3);
      expect(page.nodes).toEqual([
        { name: 'bravo', slug: 'made-by-bravo', version: 1 },
        { name: 'charlie', slug: 'made-by-charlie', version: 1 },
        { name: 'zulu', slug: 'made-by-alpha', version: 2 },
      ]);
      expect(names(await templates({ search: 'By-Al' }))).toEqual(['zulu']);
      expect(names(await templates({ search: 'ZUL' }))).toEqual(['zulu']);
      expect(names(await templates({ search: 'alpha v1' }))).toEqual([]);
    });

    it('should cost queries by the page', async () => {
      const NESTED = `query ($id: ID!) { organization(id: $id) {
        agents(first: 100) { nodes { ${AGENT} } } agentTemplates(first: 100) { nodes { ${TEMPLATE} } } } }`;
      const count = () =>
        tenants.countQueries(async () => expect((await tenants.ask(owner, NESTED, { id })).codes).toEqual([]));
      const before = await count();
      for (const name of ['delta', 'echo']) {
        await createTemplate(owner, { organizationId: id, slug: `made-by-${name}`, name });
        await create(owner, { organizationId: id, name, templateSlug: `made-by-${name}` });
      }
      expect(await count()).toBe(before);
    });
  });
});
