import type { Role } from '../../src/db/generated/prisma/enums.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import type { Registered } from './api.ts';
import type { TestApp } from './app.ts';
import { eventually } from './eventually.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

export type DeploymentView = {
  id: string;
  number: number;
  revision: number;
  status: string;
  statusReason: string | null;
  progress: number;
  startedAt: string | null;
  liveAt: string | null;
  finishedAt: string | null;
  supersededBy: { id: string } | null;
  services: ServiceView[];
  steps: { name: string; state: string; message: string | null; startedAt: string | null; finishedAt: string | null }[];
};
export type ServiceView = { name: string; state: string; replicas: ReplicaView[] };
export type ReplicaView = {
  number: number;
  instance: string;
  state: string;
  restarts: number;
  exitCode: number | null;
  startedAt: string | null;
  ports: { target: number; published: number; host: string; protocol: string }[];
};
export type LogView = {
  sequence: number;
  cursor: string;
  service: string | null;
  stream: string;
  level: string;
  message: string;
  isPartial: boolean;
};

export const DEPLOYMENT = `id number revision status statusReason progress startedAt liveAt finishedAt supersededBy { id }
  services { name state replicas { number instance state restarts exitCode startedAt ports { target published host protocol } } }
  steps { name state message startedAt finishedAt }`;
export const LINE = 'sequence cursor service stream level message isPartial';

const FINAL = ['STOPPED', 'FAILED', 'CANCELLED', 'SUPERSEDED'];
const SETTLED = ['RUNNING', 'DEGRADED', ...FINAL];
const LOG_PAGE = 100;
/** Far beyond what any of it takes on a machine of its own: tests that run beside others wait for processors too. */
const DEADLINE_MS = 60_000;

/** A member of an organization who deploys in one environment of it, through the public API alone. */
export class Deployer {
  readonly app: TestApp;
  readonly token: string;
  readonly organizationId: string;
  readonly environmentId: string;

  constructor(app: TestApp, token: string, organizationId: string, environmentId: string) {
    this.app = app;
    this.token = token;
    this.organizationId = organizationId;
    this.environmentId = environmentId;
  }

  /** An organization where PROCESS is allowed, with an environment, by its owner: the superadmin where it is the first one. */
  static async create(
    app: TestApp,
    superadmin: Registered | null,
    name: string,
    type = 'DEVELOPMENT',
  ): Promise<Deployer> {
    const owner = superadmin ?? (await app.register());
    const made = await mutate(app, owner.accessToken, 'organizationCreate', 'Organization { id }', { name });
    const environment = await mutate(app, owner.accessToken, 'environmentCreate', 'Environment { id }', {
      organizationId: made.id,
      name: 'dev',
      type,
    });
    return new Deployer(app, owner.accessToken, made.id, environment.id);
  }

  /** Another tenant, by an owner of its own; PROCESS needs the permission of this one, a superadmin. */
  async newTenant(name: string): Promise<Deployer> {
    const { accessToken } = await this.app.register();
    const nobody = new Deployer(this.app, accessToken, '', '');
    const { id } = await nobody.mutate('organizationCreate', 'Organization { id }', { name });
    const input = { organizationId: id, allowedRuntimes: ['PROCESS'] };
    await this.mutate('organizationRuntimesUpdate', 'Organization { id }', input);
    const there = new Deployer(this.app, accessToken, id, '');
    return there.as(accessToken, (await there.newEnvironment('dev')).id);
  }

  as(token: string, environmentId = this.environmentId): Deployer {
    return new Deployer(this.app, token, this.organizationId, environmentId);
  }

  async addMember(role: Role): Promise<Deployer & { userId: string }> {
    const user = await this.app.register();
    const organizationId = decodeIdOf('Organization', this.organizationId)!;
    const userId = decodeIdOf('User', user.userId)!;
    await this.app.database.prisma.organizationMember.create({ data: { id: newId(), organizationId, userId, role } });
    return Object.assign(this.as(user.accessToken), { userId: user.userId });
  }

  /** Data of an operation that has no errors. */
  async ask(query: string, variables: object = {}): Promise<Data> {
    const { data, errors } = await this.app.execute(query, variables, { token: this.token });
    if (errors.length > 0) throw new Error(JSON.stringify(errors));
    return data;
  }

  /** The code of the top-level error of an operation that has one. */
  async refusal(query: string, variables: object = {}): Promise<string | undefined> {
    const { errors } = await this.app.execute(query, variables, { token: this.token });
    return errors[0]?.extensions.code;
  }

  newEnvironment(name: string, type = 'DEVELOPMENT', more: object = {}): Promise<{ id: string }> {
    const { organizationId } = this;
    return this.mutate('environmentCreate', 'Environment { id }', { organizationId, name, type, ...more });
  }

  async newStack(compose: string, name = 'web'): Promise<string> {
    const { organizationId } = this;
    return (await this.mutate('stackCreate', 'Stack { id }', { organizationId, name, compose })).id;
  }

  async changeStack(stackId: string, compose: string): Promise<void> {
    await this.mutate('stackUpdate', 'Stack { id }', { stackId, compose });
  }

  async setVariable(name: string, value: string, isSecret = false): Promise<void> {
    const { environmentId } = this;
    await this.mutate('environmentVariableSet', 'Environment { id }', { environmentId, name, value, isSecret });
  }

  /** The answer as it is: a deployment or an error. */
  async tryDeploy(stackId: string, input: object = {}): Promise<Data> {
    const { environmentId } = this;
    return this.try('deploymentCreate', `Deployment { ${DEPLOYMENT} }`, { stackId, environmentId, ...input });
  }

  async begin(stackId: string, input: object = {}): Promise<DeploymentView> {
    const made = await this.tryDeploy(stackId, input);
    if (made.__typename !== 'Deployment') throw new Error(JSON.stringify(made));
    return made;
  }

  /** Deploys and waits until it is live or final. */
  async deploy(stackId: string, input: object = {}): Promise<DeploymentView> {
    return this.until((await this.begin(stackId, input)).id, SETTLED);
  }

  /** A new stack with that compose file, deployed. */
  async deployNew(compose: string, input: object = {}): Promise<DeploymentView & { stackId: string }> {
    const stackId = await this.newStack(compose);
    return { ...(await this.deploy(stackId, input)), stackId };
  }

  async stop(deploymentId: string): Promise<DeploymentView> {
    await this.mutate('deploymentStop', 'Deployment { id }', { deploymentId });
    return this.until(deploymentId, FINAL);
  }

  tryStop(deploymentId: string): Promise<Data> {
    return this.try('deploymentStop', 'Deployment { id status }', { deploymentId });
  }

  tryCancel(deploymentId: string): Promise<Data> {
    return this.try('deploymentCancel', 'Deployment { id status }', { deploymentId });
  }

  async read(deploymentId: string): Promise<DeploymentView> {
    const { deployment } = await this.ask(`query ($id: ID!) { deployment(id: $id) { ${DEPLOYMENT} } }`, {
      id: deploymentId,
    });
    return deployment;
  }

  /** Waits until the deployment is in one of the states, or as the condition says. */
  async until(
    deploymentId: string,
    wanted: readonly string[] | ((deployment: DeploymentView) => boolean),
    deadlineMs = DEADLINE_MS,
    pollMs?: number,
  ): Promise<DeploymentView> {
    const waitsForFinal = typeof wanted !== 'function' && wanted.some((status) => FINAL.includes(status));
    const isSo = typeof wanted === 'function' ? wanted : ({ status }: DeploymentView) => wanted.includes(status);
    let last: DeploymentView | null = null;
    const what = typeof wanted === 'function' ? 'what was wanted of the deployment' : wanted.join(' or ');
    const found = eventually(
      what,
      async () => {
        const read = await this.read(deploymentId).catch(ifUnavailable);
        if (!read) return null;
        last = read;
        if (isSo(last)) return last;
        if (FINAL.includes(last.status) && !waitsForFinal) throw new Error(`it ended: ${JSON.stringify(last)}`);
        return null;
      },
      { deadlineMs, pollMs },
    );
    return found.catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}`);
    });
  }

  /** The whole log, page by page. */
  async log(deploymentId: string, filter: object = {}): Promise<LogView[]> {
    const lines: LogView[] = [];
    for (let after: string | null = null; ; ) {
      const { deployment } = await this.ask(
        `query ($id: ID!, $after: String, $filter: LogFilter) { deployment(id: $id) {
           logs(first: ${LOG_PAGE}, after: $after, filter: $filter) { nodes { ${LINE} } pageInfo { hasNextPage endCursor } } } }`,
        { id: deploymentId, after, filter },
      );
      lines.push(...deployment.logs.nodes);
      if (!deployment.logs.pageInfo.hasNextPage) return lines;
      after = deployment.logs.pageInfo.endCursor;
    }
  }

  /** What services wrote, as one text a line: "web: hello". */
  async output(deploymentId: string): Promise<string[]> {
    const lines = await this.log(deploymentId, { streams: ['STDOUT', 'STDERR'] });
    return lines.map(({ service, message }) => `${service}: ${message}`);
  }

  /** Waits for a line of a service that has this text in it. */
  untilLogged(deploymentId: string, search: string, deadlineMs = DEADLINE_MS): Promise<LogView> {
    return eventually(
      `"${search}" in the log`,
      async () => (await this.log(deploymentId, { search, streams: ['STDOUT', 'STDERR'] }))[0],
      { deadlineMs },
    );
  }

  /** What is not taken away of a stack, by service: nothing, once its deployments are final. */
  async present(stackId: string): Promise<string[]> {
    const { rows } = await this.app.database.pool.query<{ service: string }>(
      `select i.service from instances i join stack_environments se on se.id = i.stack_environment_id
       where se.stack_id = $1 and i.removed_at is null order by 1`,
      [decodeIdOf('Stack', stackId)],
    );
    return rows.map(({ service }) => service);
  }

  mutate(field: string, selection: string, input: object): Promise<Data> {
    return mutate(this.app, this.token, field, selection, input);
  }

  try(field: string, selection: string, input: object): Promise<Data> {
    return attempt(this.app, this.token, field, selection, input);
  }
}

/** Where a machine is too busy for its database to answer in time, who asks is to try again. */
function ifUnavailable(error: Error): null {
  if (error.message.includes('"code":"UNAVAILABLE"')) return null;
  throw error;
}

async function mutate(app: TestApp, token: string, field: string, selection: string, input: object): Promise<Data> {
  const result = await attempt(app, token, field, selection, input);
  if (result.__typename !== selection.split(' ')[0]) throw new Error(`${field}: ${JSON.stringify(result)}`);
  return result;
}

async function attempt(app: TestApp, token: string, field: string, selection: string, input: object): Promise<Data> {
  const type = `${field[0]!.toUpperCase()}${field.slice(1)}Input!`;
  const query = `mutation ($input: ${type}) { ${field}(input: $input) { __typename ... on ${selection} ... on Error { code message }
    ${/Create|Update|Set|Plan|Rollback|Redeploy/.test(field) ? '... on ValidationError { fields { path message } findings { message line } }' : ''} } }`;
  const { data, errors } = await app.execute(query, { input }, { token });
  if (errors.length > 0)
    return { __typename: 'TopLevelError', code: errors[0]!.extensions.code, message: errors[0]!.message };
  return data[field];
}

/** The service of that name. */
export function serviceOf({ services }: { services: ServiceView[] }, name: string): ServiceView {
  const found = services.find((service) => service.name === name);
  if (!found) throw new Error(`no service ${name} in ${JSON.stringify(services)}`);
  return found;
}

/** The ids of the first replica of each service: what changes when it is started anew. */
export function instancesOf({ services }: { services: ServiceView[] }): Record<string, string | undefined> {
  return Object.fromEntries(services.map(({ name, replicas }) => [name, replicas[0]?.instance]));
}
