import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { eventually } from './eventually.ts';
import type { ServerProcess } from './server.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

export type Step = { name: string; state: string; message: string | null };
export type Replica = { number: number; instance: string; state: string; restarts: number; exitCode: number | null };
export type Deployment = {
  id: string;
  number: number;
  revision: number;
  status: string;
  statusReason: string | null;
  progress: number;
  steps: Step[];
  services: { name: string; state: string; replicas: Replica[] }[];
};
export type Line = { sequence: number; service: string | null; stream: string; message: string };

const DEPLOYMENT = `fragment State on Deployment { id number revision status statusReason progress steps { name state message }
  services { name state replicas { number instance state restarts exitCode } } }`;
const PROBLEM = '... on Error { code message }';
const RETRY_MS = 50;
const OUTAGE_DEADLINE_MS = 60_000;
/** What a request meets while the server, or its database, is away for a moment. */
const AWAY = new Set(['UNAVAILABLE', 'NETWORK']);

/** A request that was answered with a top-level error, by its code; NETWORK: by nobody. */
export class RequestError extends Error {
  override name = 'RequestError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/** A user of a real server, who asks again while it is away. */
export class ServerClient {
  readonly #server: ServerProcess;
  readonly token: string;

  constructor(server: ServerProcess, token: string) {
    this.#server = server;
    this.token = token;
  }

  /** The same user at another server of the same database. */
  at(server: ServerProcess): ServerClient {
    return new ServerClient(server, this.token);
  }

  /** Asks once. Throws RequestError. */
  execute(query: string, variables: object = {}): Promise<Data> {
    return post(this.#server.url, query, variables, this.token);
  }

  /** Asks until somebody answers: mutations carry idempotency keys, or may be repeated. */
  async ask(query: string, variables: object = {}): Promise<Data> {
    const deadline = Date.now() + OUTAGE_DEADLINE_MS;
    for (;;) {
      try {
        return await this.execute(query, variables);
      } catch (error) {
        if (!(error instanceof RequestError && AWAY.has(error.code)) || Date.now() > deadline) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  async #mutate(field: string, input: object, selection: string): Promise<Data> {
    const type = `${field[0]!.toUpperCase()}${field.slice(1)}Input`;
    const fragment = selection.includes('...State') ? DEPLOYMENT : '';
    const answer = await this.ask(
      `mutation ($input: ${type}!) { ${field}(input: $input) { __typename ${selection} ${PROBLEM} } } ${fragment}`,
      { input },
    );
    if (answer[field].code) throw new Error(`${field}: ${JSON.stringify(answer[field])}`);
    return answer[field];
  }

  /** An organization with one environment. */
  async createEnvironment(name = 'dev'): Promise<{ organizationId: string; environmentId: string }> {
    const organization = await this.#mutate(
      'organizationCreate',
      { name: `crash ${randomUUID().slice(0, 8)}`, idempotencyKey: randomUUID() },
      '... on Organization { id }',
    );
    const environment = await this.#mutate(
      'environmentCreate',
      { organizationId: organization.id, name, idempotencyKey: randomUUID() },
      '... on Environment { id }',
    );
    return { organizationId: organization.id, environmentId: environment.id };
  }

  async createStack(organizationId: string, name: string, compose: string): Promise<string> {
    const input = { organizationId, name, compose, idempotencyKey: randomUUID() };
    return (await this.#mutate('stackCreate', input, '... on Stack { id }')).id;
  }

  async updateStack(stackId: string, compose: string): Promise<void> {
    await this.#mutate('stackUpdate', { stackId, compose }, '... on Stack { id }');
  }

  async deploy(stackId: string, environmentId: string, options: object = {}): Promise<string> {
    const input = { stackId, environmentId, idempotencyKey: randomUUID(), ...options };
    return (await this.#mutate('deploymentCreate', input, '... on Deployment { id }')).id;
  }

  async cancel(deploymentId: string): Promise<Deployment> {
    return this.#mutate('deploymentCancel', { deploymentId }, '... on Deployment { ...State }');
  }

  async stop(deploymentId: string): Promise<Deployment> {
    return this.#mutate('deploymentStop', { deploymentId }, '... on Deployment { ...State }');
  }

  async deployment(id: string): Promise<Deployment> {
    const answer = await this.ask(`query ($id: ID!) { deployment(id: $id) { ...State } } ${DEPLOYMENT}`, { id });
    return answer.deployment;
  }

  /** The deployment once its status is one of these; rejects with what it is instead after the deadline. */
  async until(id: string, statuses: readonly string[], deadlineMs = OUTAGE_DEADLINE_MS): Promise<Deployment> {
    let last: Deployment | null = null;
    const reached = async (): Promise<Deployment | null> => {
      last = await this.deployment(id);
      return statuses.includes(last.status) ? last : null;
    };
    try {
      return await eventually(`the deployment is ${statuses.join(' or ')}`, reached, { deadlineMs, pollMs: 30 });
    } catch (error) {
      throw new Error(`it stays ${JSON.stringify(last)}\n${this.#server.log.slice(-6_000)}`, { cause: error });
    }
  }

  /** Every stored line of a deployment, page by page. */
  async storedLines(deploymentId: string): Promise<Line[]> {
    const lines: Line[] = [];
    const query = `query ($id: ID!, $after: String) { deployment(id: $id) { logs(first: 100, after: $after) {
      nodes { sequence service stream message } pageInfo { hasNextPage endCursor } } } }`;
    for (let after: string | null = null; ; ) {
      const answer: Data = await this.ask(query, { id: deploymentId, after });
      const { nodes, pageInfo } = answer.deployment.logs;
      lines.push(...nodes);
      if (!pageInfo.hasNextPage) return lines;
      after = pageInfo.endCursor;
    }
  }

  /** Follows a deployment's log over graphql-ws from the first line on; after a lost connection it goes on at its cursor. */
  followLog(deploymentId: string): LogSubscriber {
    return new LogSubscriber(this.#server, this.token, deploymentId);
  }
}

/** What one subscriber was told, across all of its connections. */
export class LogSubscriber implements Disposable {
  readonly lines: Line[] = [];
  missed = 0;
  /** How often it had to go on at its cursor. */
  resumed = 0;
  isComplete = false;
  readonly #over = new AbortController();
  #cursor: string | null = null;

  constructor(server: ServerProcess, token: string, deploymentId: string) {
    void this.#follow(server, token, deploymentId);
  }

  async #follow(server: ServerProcess, token: string, deploymentId: string): Promise<void> {
    while (!this.#over.signal.aborted) {
      const client = createClient({
        url: server.url.replace('http', 'ws'),
        webSocketImpl: WebSocket,
        connectionParams: { authorization: `Bearer ${token}` },
        retryAttempts: 0,
      });
      const end = () => void client.dispose();
      this.#over.signal.addEventListener('abort', end, { once: true });
      try {
        const query = `subscription ($id: ID!, $after: String) { deploymentLogs(deploymentId: $id, after: $after) {
          missedLines endCursor lines { sequence service stream message } } }`;
        for await (const { data, errors } of client.iterate<Data>({
          query,
          variables: { id: deploymentId, after: this.#cursor },
        })) {
          if (errors) break;
          this.lines.push(...data.deploymentLogs.lines);
          this.missed += data.deploymentLogs.missedLines;
          this.#cursor = data.deploymentLogs.endCursor;
        }
        this.isComplete = true;
        return;
      } catch {
        this.resumed++;
        await sleep(RETRY_MS);
      } finally {
        this.#over.signal.removeEventListener('abort', end);
        end();
      }
    }
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }
}

const REGISTER = `mutation ($input: AuthRegisterInput!) {
  authRegister(input: $input) { ... on AuthSession { accessToken } ... on Error { code message } } }`;

/** A new user of the server: the first one is the superadmin. */
export async function registerAt(server: ServerProcess): Promise<ServerClient> {
  const username = `user-${randomUUID().slice(0, 12)}`;
  const input = { username, email: `${username}@example.com`, password: `password of ${username}` };
  const { authRegister } = await post(server.url, REGISTER, { input }, null);
  if (!authRegister.accessToken) throw new Error(`registration failed: ${JSON.stringify(authRegister)}`);
  return new ServerClient(server, authRegister.accessToken);
}

async function post(url: string, query: string, variables: object, token: string | null): Promise<Data> {
  let body: Data;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify({ query, variables }),
    });
    body = await response.json();
  } catch (error) {
    throw new RequestError('NETWORK', (error as Error).message);
  }
  if (body.errors) throw new RequestError(body.errors[0].extensions?.code ?? '?', body.errors[0].message);
  return body.data;
}
