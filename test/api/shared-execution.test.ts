import { type GraphQLObjectType, getNamedType, isObjectType, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';
import { isViewerIndependent, selectsOnlyShared } from '../../src/graphql/viewer-independence.ts';
import { encodeEventCursor } from '../../src/realtime/cursor.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { type Heard, listen, openEventStream, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack, ticking } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { readMetric } from '../support/metrics.ts';
import { SERVERS } from '../support/server-choice.ts';

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
let live: string;
/** Over, so that nothing is added to its log. */
let over: string;
/** Over too, with a turn and a call that a person had to approve. */
let execution: string;
const clients: SocketClient[] = [];
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
  live = (await acme.deployNew(stack(ticking('web', 'good')))).id;
  over = (await acme.deployNew(stack(ticking('web', 'good'), service('job', 'echo done', 'restart: "no"')))).id;
  await acme.stop(over);
  execution = await endedExecution();
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.dispose()));
  await app[Symbol.asyncDispose]();
});

const member = async (role: 'VIEWER' | 'DEVELOPER' | 'ADMIN') => {
  const made = await acme.addMember(role);
  const client = app.connect(made.token);
  clients.push(client);
  return { ...made, client };
};

async function endedExecution(): Promise<string> {
  const { organizationId, app: at } = acme;
  const agent = { organizationId, name: 'echo', model: 'builtin/echo' };
  const { id: agentId } = await acme.mutate('agentCreate', 'Agent { id }', agent);
  const { id } = await acme.mutate('agentExecute', 'Execution { id }', { agentId, input: 'say it again' });
  const read = () => acme.ask('query ($id: ID!) { execution(id: $id) { status } }', { id });
  await eventually('it has ended', async () => (await read()).execution.status === 'COMPLETED');
  const asked = { kind: 'tool', state: 'SUCCEEDED', approval: { message: 'May I?', role: 'DEVELOPER' } } as const;
  const executionId = decodeIdOf('Execution', id)!;
  await at.database.prisma.executionStep.create({
    data: { ...asked, id: newId(), executionId, key: 'turn1.call1', position: 2, dependsOn: ['turn1'], output: [1] },
  });
  return id;
}

/** Every field of a type that is marked, and of those that it leads to. */
function markedFields(type: GraphQLObjectType, above: readonly string[] = []): string {
  const fields = Object.values(type.getFields()).filter(isViewerIndependent);
  const selected = fields.flatMap(({ name, type: of }) => {
    const named = getNamedType(of);
    if (!isObjectType(named)) return [name];
    return above.includes(named.name) ? [] : [`${name} { ${markedFields(named, [...above, named.name])} }`];
  });
  return ['__typename', ...selected].join(' ');
}
const markedOf = (field: string) =>
  markedFields(getNamedType(schema.getSubscriptionType()!.getFields()[field]!.type) as GraphQLObjectType);
const shared = () => Object.values(schema.getSubscriptionType()!.getFields()).filter(isViewerIndependent);

const ARGUMENTS: Record<string, string> = {
  deploymentLogs: 'deploymentId: $deployment',
  deploymentStatus: 'deploymentId: $deployment',
  deploymentsChanged: 'organizationId: $organization, after: $after',
  events: 'organizationId: $organization, after: $after',
  executionOutput: 'executionId: $execution',
  executionStatus: 'executionId: $execution',
  serviceStats: 'deploymentId: $deployment',
};

describe('fields that are marked as the same for all of a role', () => {
  it('should be known to this test, subscription by subscription', () => {
    expect(
      shared()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(Object.keys(ARGUMENTS).sort());
  });

  it.each(Object.keys(ARGUMENTS))('should be the same for two members of each role: %s', async (field) => {
    const asked = ARGUMENTS[field]!;
    const variables = {
      deployment: over,
      execution,
      organization: acme.organizationId,
      after: encodeEventCursor(decodeIdOf('Organization', acme.organizationId)!, 0),
    };
    const declared = Object.entries({ deployment: 'ID!', execution: 'ID!', organization: 'ID!', after: 'String' })
      .filter(([name]) => asked.includes(`$${name}`))
      .map(([name, type]) => `$${name}: ${type}`);
    const document = `subscription (${declared.join(', ')}) { ${field}(${asked}) { ${markedOf(field)} } }`;
    const given = Object.fromEntries(Object.entries(variables).filter(([name]) => asked.includes(`$${name}`)));
    for (const role of ['VIEWER', 'DEVELOPER', 'ADMIN'] as const) {
      const pair = await Promise.all([member(role), member(role)]);
      // What was before is read and executed for each by itself.
      const replays = pair.map(({ client }) => listen(client, document, given));
      await eventually('both replays', () => replays.every(({ heard }) => heard.results.length > 0));
      const [one, other] = replays.map(({ heard }) => heard.results[0]);
      expect(one.errors).toBeUndefined();
      expect(one).toEqual(other);
      for (const { stop } of replays) stop();
    }
  });

  it('should be the same for two members of each role: the steps of an execution', async () => {
    const of = (type: string) => markedFields(schema.getType(type) as GraphQLObjectType);
    const document = `query ($id: ID!) { execution(id: $id) { ${of('Execution')} } }`;
    for (const type of ['ExecutionUsage', 'ExecutionApproval', 'PageInfo']) expect(document).toContain(of(type));
    for (const role of ['VIEWER', 'DEVELOPER', 'ADMIN'] as const) {
      const pair = await Promise.all([acme.addMember(role), acme.addMember(role)]);
      const [one, other] = await Promise.all(pair.map((each) => each.ask(document, { id: execution })));
      expect(one.execution.steps.nodes).toMatchObject([{ kind: 'turn' }, { approval: { role: 'DEVELOPER' } }]);
      expect(one).toEqual(other);
    }
  });

  it.each([
    ['{ executionOutput(executionId: "x") { chunks { sequence text } endCursor live } }', true],
    ['{ executionStatus(executionId: "x") { status output usage { inputTokens } } }', true],
    ['{ executionStatus(executionId: "x") { steps(first: 9) { nodes { key state } pageInfo { endCursor } } } }', true],
    ['{ executionStatus(executionId: "x") { createdBy { __typename } } }', false],
    ['{ deploymentStatus(deploymentId: "x") { id status } }', true],
    ['{ deploymentStatus(deploymentId: "x") { id createdBy { __typename } } }', false],
    ['{ deploymentStatus(deploymentId: "x") { services { usage { name } } } }', false],
    ['{ serviceStats(deploymentId: "x") { sampledAt services { name replicas { cpuPercent } } } }', true],
    ['{ events(organizationId: "x") { events { type subject { id } } } }', false],
    ['{ deploymentStatus(deploymentId: "x") { ...Named } } fragment Named on Deployment { stack { name } }', true],
    [
      '{ deploymentStatus(deploymentId: "x") { ...Named } } fragment Named on Deployment { stack { description } }',
      false,
    ],
    ['{ deploymentStatus(deploymentId: "x") { ... on Node { id } } }', false],
  ])('should be all that a shared execution selects: %s', (selection, isShared) => {
    expect(selectsOnlyShared(schema, parse(`subscription ${selection}`))).toBe(isShared);
  });
});

describe('subscribers who are told the same', () => {
  const LOG = `subscription ($id: ID!, $after: String, $last: Int, $filter: LogFilter) {
    deploymentLogs(deploymentId: $id, after: $after, last: $last, filter: $filter) {
      lines { sequence message service } live endCursor missedLines } }`;
  type Batch = {
    lines: { sequence: number; message: string; service: string | null }[];
    live: boolean;
    endCursor: string;
  };
  const batches = ({ results }: Heard): Batch[] => results.map(({ data }) => data.deploymentLogs);
  const lines = (heard: Heard) => batches(heard).flatMap((batch) => batch.lines);
  /** Where one server has all subscribers. */
  const areExecuted = (times: number) =>
    eventually(
      `${times} executions`,
      async () => SERVERS > 1 || (await readMetric(app.url, 'windflow_shared_executions')) === times,
    );

  it('should share an execution wherever they began, over WebSockets and server-sent events, and hear every line once', async () => {
    const viewers = await Promise.all([member('VIEWER'), member('VIEWER'), member('VIEWER')]);
    const first = listen(viewers[0]!.client, LOG, { id: live });
    await eventually('a first batch that is live', () => batches(first.heard).some((batch) => batch.live));
    const after = batches(first.heard)[0]!.endCursor;
    const others = [
      listen(viewers[1]!.client, LOG, { id: live, last: 2 }),
      listen(viewers[2]!.client, LOG, { id: live, after }),
    ];
    const stream = await openEventStream(app.url, {
      method: 'POST',
      headers: {
        accept: 'text/event-stream',
        'content-type': 'application/json',
        authorization: `Bearer ${viewers[2]!.token}`,
      },
      body: JSON.stringify({ query: LOG, variables: { id: live, after } }),
    });
    const streamed = () =>
      stream.events.flatMap(({ data }) => (data.data.deploymentLogs as Batch).lines.map(({ sequence }) => sequence));
    const newest = lines(first.heard).at(-1)!.sequence + 5;
    await eventually(
      'lines for all',
      () =>
        [first, ...others].every(({ heard }) => (lines(heard).at(-1)?.sequence ?? 0) >= newest) &&
        (streamed().at(-1) ?? 0) >= newest,
    );
    await areExecuted(1);
    for (const { heard } of [first, ...others]) {
      const [{ sequence: begin }] = lines(heard) as unknown as [{ sequence: number }];
      expect(lines(heard).map(({ sequence }) => sequence)).toEqual(lines(heard).map((_, index) => begin + index));
    }
    expect(streamed()).toEqual(streamed().map((_, index) => streamed()[0]! + index));
    for (const { stop } of [first, ...others]) stop();
    stream.abort();
    await areExecuted(0);
  });

  it('should not share across roles, filters and selections', async () => {
    const [viewer, developer] = await Promise.all([member('VIEWER'), member('DEVELOPER')]);
    const following = [
      listen(viewer.client, LOG, { id: live, last: 0 }),
      listen(viewer.client, LOG, { id: live, last: 0, filter: { services: ['web'] } }),
      listen(developer.client, LOG, { id: live, last: 0 }),
      listen(viewer.client, LOG.replace('service }', '}'), { id: live, last: 0 }),
    ];
    await eventually('all to be live', () => following.every(({ heard }) => batches(heard).some(({ live: is }) => is)));
    await areExecuted(4);
    for (const { stop } of following) stop();
    await areExecuted(0);
  });

  it('should end with NOT_FOUND for a member who is removed, and go on for the others', async () => {
    const [removed, other] = await Promise.all([member('VIEWER'), member('VIEWER')]);
    const [one, two] = [removed, other].map(({ client }) => listen(client, LOG, { id: live, last: 0 }));
    await eventually('both live', () => [one, two].every((each) => batches(each!.heard).some((batch) => batch.live)));
    await areExecuted(1);
    await acme.mutate('organizationMemberRemove', 'Deleted { id }', {
      organizationId: acme.organizationId,
      userId: removed.userId,
    });
    await eventually('the end', () => one!.heard.end !== null);
    expect(one!.heard.end).toMatchObject({ errors: [{ extensions: { code: 'NOT_FOUND' } }] });
    const heard = lines(two!.heard).length;
    await eventually('more lines', () => lines(two!.heard).length > heard + 3);
    expect(two!.heard.end).toBeNull();
    two!.stop();
  });

  it('should go on without a seam for a member whose role changes', async () => {
    const one = await member('VIEWER');
    const { heard, stop } = listen(one.client, LOG, { id: live, last: 0 });
    await eventually('lines', () => lines(heard).length > 2);
    await acme.mutate('organizationMemberUpdate', 'OrganizationMember { role }', {
      organizationId: acme.organizationId,
      userId: one.userId,
      role: 'DEVELOPER',
    });
    const known = lines(heard).length;
    await eventually('more lines', () => lines(heard).length > known + 3);
    const [{ sequence: begin }] = lines(heard) as unknown as [{ sequence: number }];
    expect(lines(heard).map(({ sequence }) => sequence)).toEqual(lines(heard).map((_, index) => begin + index));
    stop();
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
