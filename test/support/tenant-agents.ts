import type { Caller } from '../../src/modules/services.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import type { Tenants } from './tenants.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

export const AGENT = `id name description organization { id } template { id version } model systemPrompt configuration hasCredential
  createdBy { ... on User { id } }`;
export const TEMPLATE = `id slug version name description type definition organization { id } createdBy { ... on User { id } }`;
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

/** The configuration of an agent that was given none. */
export const DEFAULTS = {
  tools: [],
  withoutApproval: [],
  maxTurns: 10,
  timeoutSeconds: 600,
  retry: { attempts: 3, delaySeconds: 1, factor: 2 },
};

/** Agents and templates of agents, Acme's unless they are said to be another's. */
export class TenantAgents {
  readonly #tenants: Tenants;
  #made = 0;

  constructor(tenants: Tenants) {
    this.#tenants = tenants;
  }

  create(caller: Caller, input: object = {}): Promise<Data> {
    const whole = { organizationId: this.#tenants.acme.globalId, name: `agent ${++this.#made}`, ...input };
    return this.#change(caller, CREATE, { input: whole });
  }

  /** The id of an agent by Acme's developer. */
  async newAgent(input: object = {}): Promise<string> {
    return (await this.create(this.#tenants.acme.developer, input)).id;
  }

  update(caller: Caller, agentId: string, input: object): Promise<Data> {
    return this.#change(caller, UPDATE, { input: { agentId, ...input } });
  }

  remove(caller: Caller, id: string): Promise<Data> {
    return this.#change(caller, DELETE, { id });
  }

  async read(caller: Caller, id: string): Promise<Data> {
    return (await this.#tenants.ask(caller, READ, { id })).data;
  }

  createTemplate(caller: Caller, input: object = {}): Promise<Data> {
    const whole = {
      organizationId: this.#tenants.acme.globalId,
      slug: `template-${++this.#made}`,
      name: 'Reviewer',
      type: 'reviewer',
      definition: {},
      ...input,
    };
    return this.#change(caller, TEMPLATE_CREATE, { input: whole });
  }

  updateTemplate(caller: Caller, agentTemplateId: string, input: object): Promise<Data> {
    return this.#change(caller, TEMPLATE_UPDATE, { input: { agentTemplateId, ...input } });
  }

  async readTemplate(caller: Caller, slug: string, more: object = {}): Promise<Data> {
    const variables = { organizationId: this.#tenants.acme.globalId, slug, ...more };
    return (await this.#tenants.ask(caller, TEMPLATE_READ, variables)).data.agentTemplate;
  }

  /** The events about an agent, or about another subject of that type. */
  async told(id: string, type: string): Promise<{ type: string; subject: string; actor: string; data: object }[]> {
    const { rows } = await this.#tenants.database.pool.query(
      'select type, subject_type as subject, actor_id as actor, data from events where subject_id = $1 order by sequence',
      [decodeIdOf(type, id)],
    );
    return rows;
  }

  /** The payload of the mutation, which is its only field, and the codes of top-level errors. */
  async #change(caller: Caller, mutation: string, variables: Record<string, unknown>): Promise<Data> {
    const { data, codes } = await this.#tenants.ask(caller, mutation, variables);
    return { ...Object.values<Data>(data ?? {})[0], codes };
  }
}
