import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../src/modules/services.ts';
import { encodeGlobalId } from '../../src/shared/global-id.ts';
import { AGENT, TEMPLATE, TenantAgents } from '../support/tenant-agents.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

describe('agents', () => {
  let tenants: Tenants;
  let agents: TenantAgents;
  beforeAll(async () => {
    tenants = await createTenants();
    agents = new TenantAgents(tenants);
  });
  afterAll(() => tenants[Symbol.asyncDispose]());

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
        await agents.createTemplate(owner, { organizationId: id, slug: `made-by-${name}`, name });
        await agents.create(owner, { organizationId: id, name, templateSlug: `made-by-${name}` });
      }
      const alpha = await agents.readTemplate(owner, 'made-by-alpha', { organizationId: id });
      await agents.updateTemplate(owner, alpha.id, { name: 'zulu' });
    });
    const listAgents = async (variables: object = {}) =>
      (await tenants.ask(owner, AGENTS, { id, ...variables })).data.organization.agents;
    const listTemplates = async (variables: object = {}) =>
      (await tenants.ask(owner, TEMPLATES, { id, ...variables })).data.organization.agentTemplates;
    const names = ({ nodes }: { nodes: { name: string }[] }) => nodes.map(({ name }) => name);

    it('should have agents by name', async () => {
      const page = await listAgents({ first: 2 });
      expect(page).toMatchObject({ totalCount: 3, pageInfo: { hasNextPage: true } });
      expect(names(page)).toEqual(['alpha', 'bravo']);
      expect(names(await listAgents({ after: page.pageInfo.endCursor }))).toEqual(['charlie']);
      expect(names(await listAgents({ search: 'LPH' }))).toEqual(['alpha']);
      expect(names(await listAgents({ search: '%' }))).toEqual([]);
      expect(names(await listAgents({ search: 'a\0' }))).toEqual([]);
    });

    it('should have templates in their newest version, by name', async () => {
      const page = await listTemplates();
      expect(page.totalCount).toBe(3);
      expect(page.nodes).toEqual([
        { name: 'bravo', slug: 'made-by-bravo', version: 1 },
        { name: 'charlie', slug: 'made-by-charlie', version: 1 },
        { name: 'zulu', slug: 'made-by-alpha', version: 2 },
      ]);
      expect(names(await listTemplates({ search: 'By-Al' }))).toEqual(['zulu']);
      expect(names(await listTemplates({ search: 'ZUL' }))).toEqual(['zulu']);
      expect(names(await listTemplates({ search: 'alpha v1' }))).toEqual([]);
    });

    it('should cost queries by the page', async () => {
      const NESTED = `query ($id: ID!) { organization(id: $id) {
        agents(first: 100) { nodes { ${AGENT} } } agentTemplates(first: 100) { nodes { ${TEMPLATE} } } } }`;
      const count = () =>
        tenants.countQueries(async () => expect((await tenants.ask(owner, NESTED, { id })).codes).toEqual([]));
      const before = await count();
      for (const name of ['delta', 'echo']) {
        await agents.createTemplate(owner, { organizationId: id, slug: `made-by-${name}`, name });
        await agents.create(owner, { organizationId: id, name, templateSlug: `made-by-${name}` });
      }
      expect(await count()).toBe(before);
    });
  });
});
