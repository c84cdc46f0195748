import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeGlobalId } from '../../src/shared/global-id.ts';
import { pathsOf } from '../support/field-paths.ts';
import { TenantAgents } from '../support/tenant-agents.ts';
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

  describe('templates', () => {
    it('should keep a definition as it was given, and every version of it', async () => {
      const definition = { configuration: { maxTurns: 2 }, systemPrompt: 'Review.' };
      const first = await agents.createTemplate(acme.developer, { definition });
      expect(first).toMatchObject({
        version: 1,
        name: 'Reviewer',
        description: null,
        type: 'reviewer',
        definition,
        organization: { id: acme.globalId },
        createdBy: { id: encodeGlobalId('User', acme.developer.userId) },
      });
      const second = await agents.updateTemplate(acme.admin, first.id, { description: 'New' });
      expect(second).toMatchObject({ version: 2, name: 'Reviewer', description: 'New', type: 'reviewer', definition });
      expect(second.createdBy.id).toBe(encodeGlobalId('User', acme.admin.userId));
      const third = await agents.updateTemplate(acme.developer, first.id, { description: null, definition: {} });
      expect(third).toMatchObject({ version: 3, description: null, definition: {} });
      expect((await agents.readTemplate(acme.viewer, first.slug)).id).toBe(third.id);
      expect((await agents.readTemplate(acme.viewer, first.slug, { version: 2 })).id).toBe(second.id);
      for (const version of [0, 4]) expect(await agents.readTemplate(acme.viewer, first.slug, { version })).toBeNull();
      for (const slug of ['nowhere', 'a\0b', '']) expect(await agents.readTemplate(acme.viewer, slug)).toBeNull();
      expect(await agents.told(third.id, 'AgentTemplate')).toMatchObject([
        { type: 'agentTemplate.created', subject: 'agentTemplate', data: { slug: first.slug, version: 3 } },
      ]);
    });

    it('should add no version where nothing differs', async () => {
      const definition = { systemPrompt: 'Review.', configuration: {} };
      const { id } = await agents.createTemplate(acme.developer, { definition });
      const same = { name: 'Reviewer', definition: { configuration: {}, systemPrompt: 'Review.' } };
      expect(await agents.updateTemplate(acme.developer, id, same)).toMatchObject({ id, version: 1 });
      expect(await agents.updateTemplate(acme.developer, id, {})).toMatchObject({ id, version: 1 });
    });

    it('should number versions without gaps when many change it at once', async () => {
      const { id } = await agents.createTemplate(acme.developer);
      const answers = await Promise.all(
        [1, 2, 3, 4, 5].map((n) => agents.updateTemplate(acme.developer, id, { name: `name ${n}` })),
      );
      expect(answers.map(({ version }) => version).sort()).toEqual([2, 3, 4, 5, 6]);
    });

    it('should keep slugs apart within an organization, and create once with a key', async () => {
      const { slug } = await agents.createTemplate(acme.developer);
      expect((await agents.createTemplate(acme.developer, { slug })).code).toBe('CONFLICT');
      expect((await agents.createTemplate(rival.owner, { slug, organizationId: rival.globalId })).version).toBe(1);
      const input = { slug: 'keyed', idempotencyKey: 'template-1' };
      const answers = await Promise.all(Array.from({ length: 3 }, () => agents.createTemplate(acme.developer, input)));
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
      expect(pathsOf(await agents.createTemplate(acme.developer, input))).toEqual(paths);
    });
  });
});
