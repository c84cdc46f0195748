import { readFileSync } from 'node:fs';
import { decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import type { TestDatabase } from '../support/database.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import type { HttpReceiver } from '../support/http-receiver.ts';
import type { Answer, AskedRequest, ModelServer } from '../support/model-server.ts';
import type { ServerProcess } from '../support/server.ts';
import { serverApp } from '../support/server-app.ts';
import { CountedStack } from './counted-stack.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

/** How a release ends: well, with a production that answers wrongly, or with one that does not come up. */
export type Ending = 'well' | 'bad-check' | 'bad-service';

const DEFINITION = new URL('../../examples/workflows/release.yaml', import.meta.url);
/** In a compose file it becomes the variable that each environment has a value of. */
const STAGE = '@STAGE@';
const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];
const EXECUTION = 'id status statusReason output steps(first: 100) { nodes { key kind state error output } }';
/** Fields whose values are of one run alone. */
const OF_ONE_RUN = new Set(['id', 'deploymentId', 'deliveryId']);

type Parts = { server: ServerProcess; models: ModelServer; web: HttpReceiver; database: TestDatabase };

/** A server process, and all that releases need around it. */
export class ReleaseWorld {
  readonly parts: Parts;
  readonly staging: Deployer;
  readonly production: Deployer;
  readonly ids: { reviewerId: string; workflowId: string };
  #stacks = 0;

  private constructor(parts: Parts, staging: Deployer, production: Deployer, ids: ReleaseWorld['ids']) {
    this.parts = parts;
    this.staging = staging;
    this.production = production;
    this.ids = ids;
  }

  static async create(parts: Parts): Promise<ReleaseWorld> {
    const staging = await Deployer.create(serverApp(parts.server, parts.database), null, 'Acme');
    const production = staging.as(staging.token, (await staging.newEnvironment('production')).id);
    await staging.setVariable('STAGE', 'staging');
    await production.setVariable('STAGE', 'production');
    const { organizationId } = staging;
    const reviewer = { organizationId, name: 'reviewer', configuration: { tools: ['logs.search'] } };
    const release = { organizationId, name: 'release', definition: readFileSync(DEFINITION, 'utf8') };
    const { id: reviewerId } = await staging.mutate('agentCreate', 'Agent { id }', reviewer);
    const { id: workflowId } = await staging.mutate('workflowCreate', 'Workflow { id }', release);
    parts.models.answers = [review];
    parts.web.statusOf = (path) => (/^\/bad-check\/.*\/check$/.test(path) ? 500 : 200);
    return new ReleaseWorld(parts, staging, production, { reviewerId, workflowId });
  }

  /** A stack whose first generation is live in production, and whose second one is to be released. */
  async newRelease(ending: Ending): Promise<Release> {
    const name = `s${++this.#stacks}`;
    const stackOf = (stage: string) => new CountedStack(this.parts.server.place.ground, `${name}-${stage}`, 0);
    const [staging, production] = [stackOf('staging'), stackOf('production')];
    production.open('a', 1);
    const stackId = await this.staging.newStack(composeOf(stackOf(STAGE), 1, false), name);
    await this.production.deploy(stackId);
    await this.staging.changeStack(stackId, composeOf(stackOf(STAGE), 2, ending === 'bad-service'));
    for (const stack of [staging, production]) stack.open('a', 2);
    return new Release(this, { staging, production, stackId, path: `/${ending}/${name}` });
  }
}

type Subject = { staging: CountedStack; production: CountedStack; stackId: string; path: string };

/** One run of the workflow on a stack of its own, and what is seen of it everywhere. */
export class Release {
  readonly world: ReleaseWorld;
  readonly staging: CountedStack;
  readonly production: CountedStack;
  /** Of what the run asks the web for. */
  readonly checkPath: string;
  readonly tellPath: string;
  readonly #stackId: string;
  #id = '';
  /** Once it is over; the first one is that of staging, which is named "dev". */
  #deploymentIds: string[] = [];

  constructor(world: ReleaseWorld, { staging, production, stackId, path }: Subject) {
    this.world = world;
    this.staging = staging;
    this.production = production;
    this.checkPath = `${path}/check`;
    this.tellPath = `${path}/tell`;
    this.#stackId = stackId;
  }

  async begin(): Promise<void> {
    const { parts, staging, production, ids } = this.world;
    const { channel } = await staging.mutate(
      'notificationChannelCreate',
      'NotificationChannelCreated { channel { id } }',
      {
        ...{ organizationId: staging.organizationId, name: this.tellPath },
        configuration: { webhook: { url: parts.web.url + this.tellPath } },
      },
    );
    const input = {
      ...{ stackId: this.#stackId, reviewerId: ids.reviewerId, channelId: channel.id },
      ...{ stagingId: staging.environmentId, productionId: production.environmentId },
      checkUrl: parts.web.url + this.checkPath,
    };
    this.#id = (await staging.mutate('workflowRun', 'Execution { id }', { workflowId: ids.workflowId, input })).id;
  }

  isAt(step: string, state: string): Promise<unknown> {
    return eventually(`${step} is ${state}`, async () => {
      const { status, steps } = await this.#read(this.#id);
      if (FINAL.includes(status)) throw new Error(`it is over: ${JSON.stringify(steps.nodes)}`);
      return steps.nodes.some((each: Data) => each.key === step && each.state === state);
    });
  }

  /** A generation of the service `a`, which waits behind its gate, was started so often. */
  isStarted(stack: CountedStack, generation: number, times = 1): Promise<unknown> {
    return eventually(`a${generation} is started in ${stack.name}`, () => stack.counts()[`a${generation}`] === times);
  }

  async approve(): Promise<void> {
    await this.isAt('approval', 'WAITING');
    const input = { executionId: this.#id, step: 'approval', approved: true };
    await this.world.staging.mutate('executionApprove', 'Execution { id }', input);
  }

  /** What a server that was killed had in hand to send is not sent by another one before a minute has gone by: here it has. */
  async letClaimsEnd(): Promise<void> {
    await this.world.parts.database.pool.query('update notification_deliveries set claimed_until = now()');
  }

  /** Lets what it deployed end some time: the health checks of stacks that stay up would slow down all that come after them. */
  async stop(): Promise<void> {
    for (const deploymentId of this.#deploymentIds) await this.world.staging.tryStop(deploymentId);
  }

  /** How often the model was asked for the first turn of the review, and for the second. */
  asked(): [number, number] {
    const id = this.#deploymentIds[0]!;
    const ours = this.world.parts.models.requests.filter(({ body }) => JSON.stringify(body).includes(id));
    const seconds = ours.filter(({ body }) => hasLog(body)).length;
    return [ours.length - seconds, seconds];
  }

  /** All that can be seen of it once it is over, less what is of this run alone. */
  async end(): Promise<object> {
    const release = await eventually('the release is over', async () => {
      const read = await this.#read(this.#id);
      return FINAL.includes(read.status) ? read : null;
    });
    const deployments = await this.#deployments();
    this.#deploymentIds = deployments.map(({ id }) => id);
    return {
      release: visible(release),
      review: visible(await this.#review()),
      deployments: deployments.map(({ id: _, ...each }) => each),
      starts: [this.staging.counts(), this.production.counts()],
      running: [this.staging.running(), this.production.running()],
      // However often it was asked: a receiver tells a repetition by its key.
      effects: [this.checkPath, this.tellPath].map((path) => this.#keysOf(path)),
    };
  }

  async #read(id: string): Promise<Data> {
    return (await this.world.staging.ask(`query ($id: ID!) { execution(id: $id) { ${EXECUTION} } }`, { id })).execution;
  }

  async #review(): Promise<Data> {
    const { staging, ids } = this.world;
    const { executions } = await staging.ask(
      `query ($org: ID!, $agent: ID) { executions(organizationId: $org, agentId: $agent, first: 100) { nodes { id parent { id } } } }`,
      { org: staging.organizationId, agent: ids.reviewerId },
    );
    const ours = executions.nodes.filter(({ parent }: Data) => parent.id === this.#id);
    if (ours.length !== 1) throw new Error(`${ours.length} reviews`);
    return this.#read(ours[0].id);
  }

  async #deployments() {
    const { rows } = await this.world.parts.database.pool.query<Data>(
      `select d.id, e.name as environment, d.number, d.status::text as status, d.trigger::text as trigger, v.number as version
       from deployments d join environments e on e.id = d.environment_id join stack_versions v on v.id = d.stack_version_id
       where d.stack_id = $1 order by e.name, d.number`,
      [decodeIdOf('Stack', this.#stackId)],
    );
    return rows.map(({ id, ...each }) => ({ id: encodeGlobalId('Deployment', id), ...each }));
  }

  #keysOf(path: string): number {
    return new Set(this.world.parts.web.of(path).map(({ key }) => key)).size;
  }
}

const hasLog = ({ messages }: AskedRequest['body']): boolean => messages.at(-1)?.role === 'tool';

/** A reviewer reads the log of the deployment that it is told of, and likes it. */
export function review(asked: AskedRequest['body']): Answer {
  if (hasLog(asked)) return { text: 'Nothing speaks against it.' };
  const [, deploymentId] = /deployment (\S+) and/.exec(JSON.stringify(asked.messages))!;
  return { text: 'I look.', toolCalls: [{ name: 'logs_search', arguments: JSON.stringify({ deploymentId }) }] };
}

/** Two services, the first of which becomes healthy as its gate says; and one that production is too much for. */
function composeOf(stack: CountedStack, generation: number, hasBad: boolean): string {
  const services = { a: { generation, gated: true }, b: { generation, dependsOn: ['a'] } };
  const { web: _, ...counted } = JSON.parse(stack.compose(services)).services;
  const script = `if [ ${STAGE} = production ]; then exit 3; fi; while :; do sleep 3600 & wait $$!; done`;
  const bad = { command: ['sh', '-c', script], restart: 'no', depends_on: { b: { condition: 'service_started' } } };
  return JSON.stringify({ services: { ...counted, ...(hasBad && { bad }) } }).replaceAll(STAGE, '${STAGE}');
}

function visible({ status, statusReason, output, steps }: Data): object {
  const plain = (value: unknown) =>
    JSON.parse(JSON.stringify(value, (name, each) => (OF_ONE_RUN.has(name) ? name : each)) ?? 'null');
  return {
    ...{ status, statusReason, output },
    steps: steps.nodes.map(({ key, kind, state, error, output: made }: Data) => ({
      ...{ key, kind, state, error },
      // What is in the log by then depends on the moment.
      output: kind === 'tool' ? Array.isArray(made) : plain(made),
    })),
  };
}
