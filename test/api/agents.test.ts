import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCredential } from '../../src/modules/agents/credential.ts';
import { decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { pathsOf } from '../support/field-paths.ts';
import { DEFAULTS, TenantAgents } from '../support/tenant-agents.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

describe('agents', () => {
  let tenants: Tenants;
  let acme: Tenant;
  let rival: Tenant;
  let agents: TenantAgents;
  beforeAll(async () => {
    tenants = await createTenants();
    ({ acme, rival } = tenants);
    agents = new TenantAgents(tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

  describe('creating', () => {
    it('should need a name alone, and fill in the rest', async () => {
      expect(await agents.create(acme.developer, { name: 'plain' })).toEqual({
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
        createdBy: { id: encodeGlobalId('User', acme.developer.userId) },
        codes: [],
      });
    });

    it('should need a developer of the organization', async () => {
      expect((await agents.create(acme.viewer)).codes).toEqual(['PERMISSION_DENIED']);
      expect((await agents.create(rival.owner)).code).toBe('NOT_FOUND');
      expect((await agents.create(acme.developer, { organizationId: 'x' })).code).toBe('NOT_FOUND');
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
      const refused = await agents.create(acme.developer, input);
      expect(refused).toMatchObject({ code: 'VALIDATION_ERROR', codes: [] });
      expect(pathsOf(refused)).toEqual(paths);
    });

    it('should keep names apart within an organization, also when two come at once', async () => {
      const answers = await Promise.all(
        Array.from({ length: 4 }, () => agents.create(acme.developer, { name: 'one' })),
      );
      expect(answers.map(({ __typename: type }) => type).sort()).toEqual([
        'Agent',
        'ConflictError',
        'ConflictError',
        'ConflictError',
      ]);
      const elsewhere = await agents.create(rival.owner, { organizationId: rival.globalId, name: 'one' });
      expect(elsewhere.__typename).toBe('Agent');
    });

    it('should create once for parallel duplicates with a key', async () => {
      const input = { name: 'keyed', credential: 'sk-1', idempotencyKey: 'agent-1' };
      const answers = await Promise.all(Array.from({ length: 4 }, () => agents.create(acme.developer, input)));
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
      expect((await agents.create(acme.developer, { ...input, credential: 'sk-2' })).code).toBe('CONFLICT');
      await agents.remove(acme.developer, answers[0]!.id);
      expect(await agents.create(acme.developer, input)).toMatchObject({ code: 'CONFLICT' });
    });

    it('should take from a template what is not given', async () => {
      const definition = { systemPrompt: 'Review.', configuration: { temperature: 0, tools: ['stacks.read'] } };
      const { id, slug } = await agents.createTemplate(acme.developer, { description: 'Reviews.', definition });
      const taken = { ...DEFAULTS, temperature: 0, tools: ['stacks.read'] };
      expect(await agents.create(acme.developer, { templateSlug: slug })).toMatchObject({
        template: { id, version: 1 },
        description: 'Reviews.',
        model: 'builtin/echo',
        systemPrompt: 'Review.',
        configuration: taken,
      });
      const own = { description: 'Mine', systemPrompt: 'Mine', configuration: { maxTurns: 1 } };
      expect(await agents.create(acme.developer, { templateSlug: slug, ...own })).toMatchObject({
        ...own,
        configuration: { ...DEFAULTS, maxTurns: 1 },
      });
      const next = await agents.updateTemplate(acme.developer, id, { definition: { systemPrompt: 'Again.' } });
      expect(await agents.create(acme.developer, { templateSlug: slug })).toMatchObject({
        template: { id: next.id, version: 2 },
        systemPrompt: 'Again.',
        configuration: DEFAULTS,
      });
    });

    it("should say where a template's model cannot be used, and not take another tenant's template", async () => {
      const { slug } = await agents.createTemplate(acme.developer, { definition: { model: 'openai/gpt-4o' } });
      expect(pathsOf(await agents.create(acme.developer, { templateSlug: slug }))).toEqual(['model']);
      expect((await agents.create(acme.developer, { templateSlug: slug, model: 'builtin/echo' })).model).toBe(
        'builtin/echo',
      );
      const abroad = { organizationId: rival.globalId, templateSlug: slug };
      expect(pathsOf(await agents.create(rival.owner, abroad))).toEqual(['templateSlug']);
    });
  });

  describe('updating', () => {
    it('should change what is given, and clear what is null', async () => {
      const id = await agents.newAgent({
        description: 'text',
        systemPrompt: 'prompt',
        configuration: { temperature: 1 },
      });
      const renamed = await agents.update(acme.developer, id, { name: `${id} renamed`.slice(0, 100) });
      expect(renamed).toMatchObject({ description: 'text', systemPrompt: 'prompt', configuration: { temperature: 1 } });
      const changed = await agents.update(acme.developer, id, {
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
      expect(await agents.told(id, 'Agent')).toMatchObject([
        { type: 'agent.created', subject: 'agent', actor: acme.developer.userId },
        { type: 'agent.updated', data: { fields: ['name'] } },
        { type: 'agent.updated', data: { fields: ['description', 'systemPrompt', 'configuration'] } },
      ]);
    });

    it('should tell of nothing where nothing is given', async () => {
      const id = await agents.newAgent();
      expect((await agents.update(acme.developer, id, {})).id).toBe(id);
      expect(await agents.told(id, 'Agent')).toHaveLength(1);
    });

    it('should refuse a name that is taken, but not its own', async () => {
      await agents.newAgent({ name: 'taken' });
      const id = await agents.newAgent({ name: 'free' });
      expect((await agents.update(acme.developer, id, { name: 'taken' })).code).toBe('CONFLICT');
      expect((await agents.update(acme.developer, id, { name: 'free', model: 'builtin/echo' })).name).toBe('free');
    });

    it('should refuse what cannot be, and change nothing', async () => {
      const id = await agents.newAgent();
      const before = (await agents.read(acme.viewer, id)).agent;
      for (const [input, path] of [
        [{ name: null }, 'name'],
        [{ model: null }, 'model'],
        [{ model: 'openai/gpt-4o' }, 'model'],
        [{ configuration: null }, 'configuration'],
        [{ description: 'new', configuration: { maxTurns: 0 } }, 'configuration.maxTurns'],
      ] as const)
        expect(pathsOf(await agents.update(acme.developer, id, input))).toEqual([path]);
      expect((await agents.read(acme.viewer, id)).agent).toEqual(before);
    });
  });

  it('should keep a credential encrypted, never readable, and let it go', async () => {
    const credential = 'sk-very-secret-4711';
    const id = await agents.newAgent({ credential });
    expect((await agents.read(acme.owner, id)).agent.hasCredential).toBe(true);
    const { prisma } = tenants.database;
    const { keyring } = tenants.dependencies;
    const stored = () => prisma.agent.findUniqueOrThrow({ where: { id: decodeIdOf('Agent', id)! } });
    expect((await stored()).credential).not.toContain(credential);
    expect(openCredential(keyring, await stored())).toBe(credential);
    expect((await agents.update(acme.developer, id, { credential: 'sk-other' })).hasCredential).toBe(true);
    expect(openCredential(keyring, await stored())).toBe('sk-other');
    expect((await agents.update(acme.developer, id, { description: 'text' })).hasCredential).toBe(true);
    expect((await agents.update(acme.developer, id, { credential: null })).hasCredential).toBe(false);
    expect(openCredential(keyring, await stored())).toBeNull();
    expect(JSON.stringify(await agents.told(id, 'Agent'))).not.toContain('sk-');
    const refused = await agents.update(acme.developer, id, { credential: 'sk-very-ünusual' });
    expect(refused.message).not.toContain('sk-');
  });

  it('should look absent to strangers everywhere, and be read by a viewer', async () => {
    const id = await agents.newAgent();
    const template = await agents.createTemplate(acme.developer);
    expect(await agents.read(acme.viewer, id)).toMatchObject({ agent: { id }, node: { id, __typename: 'Agent' } });
    expect((await agents.read(acme.viewer, template.id)).node).toEqual({
      id: template.id,
      __typename: 'AgentTemplate',
    });
    for (const foreign of [id, template.id, encodeGlobalId('Agent', newId()), '']) {
      expect(await agents.read(rival.owner, foreign)).toEqual({ agent: null, node: null });
      expect((await agents.update(rival.owner, foreign, { name: 'Mine' })).code).toBe('NOT_FOUND');
      expect((await agents.updateTemplate(rival.owner, foreign, { name: 'Mine' })).code).toBe('NOT_FOUND');
      expect((await agents.remove(rival.owner, foreign)).code).toBe('NOT_FOUND');
    }
    expect(await agents.readTemplate(rival.owner, template.slug)).toBeNull();
    expect((await agents.update(acme.viewer, id, { name: 'No' })).codes).toEqual(['PERMISSION_DENIED']);
    expect((await agents.updateTemplate(acme.viewer, template.id, { name: 'No' })).codes).toEqual([
      'PERMISSION_DENIED',
    ]);
    expect((await agents.createTemplate(acme.viewer)).codes).toEqual(['PERMISSION_DENIED']);
    expect((await agents.remove(acme.viewer, id)).codes).toEqual(['PERMISSION_DENIED']);
  });

  it('should be deleted only when its executions are over, which stay', async () => {
    const id = await agents.newAgent();
    const { prisma } = tenants.database;
    const agentId = decodeIdOf('Agent', id)!;
    const execution = { id: newId(), organizationId: acme.id, kind: 'AGENT', agentId } as const;
    await prisma.execution.create({ data: { ...execution, definition: {}, deadlineAt: new Date() } });
    expect(await agents.remove(acme.developer, id)).toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(/^1 /),
    });
    const where = { id: execution.id };
    await prisma.execution.update({ where, data: { status: 'COMPLETED', finishedAt: new Date() } });
    expect(await agents.remove(acme.developer, id)).toEqual({ __typename: 'Deleted', id, codes: [] });
    expect((await agents.remove(acme.developer, id)).code).toBe('NOT_FOUND');
    expect((await agents.read(acme.developer, id)).agent).toBeNull();
    expect((await prisma.execution.findUniqueOrThrow({ where })).agentId).toBeNull();
    expect((await agents.told(id, 'Agent')).map(({ type }) => type)).toEqual(['agent.created', 'agent.deleted']);
  });
});
