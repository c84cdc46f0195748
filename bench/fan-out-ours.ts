import { request } from 'node:http';
import { createBenchServer } from './server.ts';
import { createStack, deploy, prepareTenant } from './stack.ts';

const USERS = 50;
/** Writes as many lines as it is asked for, all at once. */
const WRITER = `
let written = 0;
require('node:http').createServer((request, response) => {
  const lines = Number(new URL(request.url, 'http://x').searchParams.get('lines'));
  process.stdout.write(Array.from({ length: lines }, () => 'GET /items/' + ++written + ' 200 in 12 ms, 1482 bytes for 192.0.2.17 with a line of ordinary length\\n').join(''));
  response.end();
}).listen(process.env.PORT);`;

const DOCUMENT = `subscription ($id: ID!, $filter: LogFilter) { deploymentLogs(deploymentId: $id, last: 0, filter: $filter) {
  lines { sequence cursor timestamp service replica stream level message isPartial } endCursor live missedLines } }`;

export type LogFixture = AsyncDisposable & {
  /** The server anew, with the service that writes. */
  start(): Promise<
    {
      pid: number;
      url: string;
      subprotocol: string;
      tokens: string[];
      emit(lines: number): Promise<void>;
    } & AsyncDisposable
  >;
  payload(filter: object): object;
};

/** A server with an organization of 50 members in two roles, and a deployment whose service writes on demand. */
export async function createLogFixture(): Promise<LogFixture> {
  const server = await createBenchServer({ WINDFLOW_REGISTRATION: 'open' });
  await server.start();
  const { organizationId, environmentId } = await prepareTenant(server);
  const tokens = await addMembers();
  const stackId = await createStack(
    server,
    organizationId,
    'writer',
    JSON.stringify({ services: { web: { command: ['node', '-e', WRITER.replaceAll('$', '$$')], ports: ['0:3000'] } } }),
  );
  const { id } = await deploy(server, stackId, environmentId);
  const port = await publishedPort();
  await server.stop();

  async function addMembers(): Promise<string[]> {
    const made: string[] = [];
    for (let index = 0; index < USERS; index++) {
      const email = `member-${index}@example.org`;
      const role = index % 2 === 0 ? 'VIEWER' : 'DEVELOPER';
      const { organizationInvite } = await server.ask<{ organizationInvite: { token: string } }>(
        'mutation ($input: OrganizationInviteInput!) { organizationInvite(input: $input) { ... on InvitationCreated { token } ... on Error { message } } }',
        { input: { organizationId, email, role } },
      );
      const { authRegister } = await server.ask<{ authRegister: { accessToken: string } }>(
        'mutation ($input: AuthRegisterInput!) { authRegister(input: $input) { ... on AuthSession { accessToken } ... on Error { message } } }',
        {
          input: {
            username: `member-${index}`,
            email,
            password: 'bench-password',
            invitationToken: organizationInvite.token,
          },
        },
      );
      made.push(authRegister.accessToken);
    }
    return made;
  }

  async function publishedPort(): Promise<number> {
    const { deployment } = await server.ask<{
      deployment: { services: { replicas: { ports: { published: number }[] }[] }[] };
    }>('query ($id: ID!) { deployment(id: $id) { services { replicas { ports { published } } } } }', { id });
    return deployment.services[0]!.replicas[0]!.ports[0]!.published;
  }

  return {
    payload: (filter) => ({ query: DOCUMENT, variables: { id, filter } }),
    async start() {
      await server.start();
      return {
        pid: await server.pid(),
        url: server.url.replace('http', 'ws'),
        subprotocol: 'graphql-transport-ws',
        tokens,
        emit: (lines) => call(port, lines),
        [Symbol.asyncDispose]: () => server.stop(),
      };
    },
    [Symbol.asyncDispose]: async () => {
      await server.start();
      await server.ask('mutation ($input: DeploymentStopInput!) { deploymentStop(input: $input) { __typename } }', {
        input: { deploymentId: id },
      });
      await server[Symbol.asyncDispose]();
    },
  };
}

function call(port: number, lines: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: `/?lines=${lines}` }, (response) => {
      response.resume();
      response.once('end', resolve);
    });
    asked.once('error', reject);
    asked.end();
  });
}
