import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app?.[Symbol.asyncDispose]());

const listed = async (selection: string): Promise<Data> =>
  (await acme.ask(`query ($id: ID!) { organization(id: $id) { ${selection} } }`, { id: acme.organizationId }))
    .organization;

describe('a page whose rows are read only as far as the selected fields need', () => {
  it('should have what a field without a selection of its own is made of', async () => {
    const { organizationId } = acme;
    await acme.mutate('agentCreate', 'Agent { id }', { organizationId, name: 'without' });
    await acme.mutate('agentCreate', 'Agent { id }', { organizationId, name: 'with', credential: 'sk-1' });
    const { agents } = await listed('agents { nodes { name hasCredential } }');
    const known = Object.fromEntries(agents.nodes.map(({ name, hasCredential }: Data) => [name, hasCredential]));
    expect(known).toEqual({ without: false, with: true });
    const definition = { triggers: [{ kind: 'webhook' }], steps: { pause: { kind: 'delay', seconds: 0 } } };
    await acme.mutate('workflowCreate', 'Workflow { id }', { organizationId, name: 'hooked', definition });
    const { workflows } = await listed('workflows { nodes { name webhookPath } }');
    expect(workflows.nodes).toEqual([{ name: 'hooked', webhookPath: null }]);
  });

  it('should have what is selected of each member of a union', async () => {
    const { workflows, agents } = await listed(`
      workflows { nodes { createdBy { __typename ... on User { username } ... on Workflow { name } } } }
      agents { nodes { createdBy { ... on Agent { model } } } }`);
    expect(workflows.nodes).toEqual([{ createdBy: { __typename: 'User', username: expect.any(String) } }]);
    expect(agents.nodes).toEqual([{ createdBy: {} }, { createdBy: {} }]);
  });

  it('should have what a field is made of that asks elsewhere', async () => {
    const { environments } = await listed('environments { nodes { name privileges } }');
    expect(environments.nodes).toEqual([{ name: expect.any(String), privileges: expect.any(Array) }]);
    const { organizationId } = acme;
    const configuration = { webhook: { url: 'https://example.com/' } };
    const values = { organizationId, name: 'told', eventTypes: ['stack.created'], configuration };
    const made = 'NotificationChannelCreated { channel { id } }';
    const { channel } = await acme.mutate('notificationChannelCreate', made, values);
    await acme.newStack('services: { web: { command: [sleep, "1"] } }');
    const query = `query ($id: ID!) { notificationChannel(id: $id) { deliveries(first: 5) { nodes { eventId } } } }`;
    const told = await eventually('it is told', async () => {
      const { notificationChannel } = await acme.ask(query, { id: channel.id });
      return notificationChannel.deliveries.nodes[0] ?? null;
    });
    const node = 'query ($id: ID!) { node(id: $id) { ... on Event { type } } }';
    expect(await acme.ask(node, { id: told.eventId })).toEqual({ node: { type: 'stack.created' } });
  });
});
